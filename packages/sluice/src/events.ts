/**
 * What happened, for whoever wants to log, count or trace it. Emitted after the fact is durable.
 * Logging is a subscriber; a subscriber that throws harms nobody.
 */
import type { AttemptError, Correlation, FailReason, JobId, Progress } from "./job.js";
import type { LogLine } from "./store.js";

/** The job an event speaks of. Never its payload: that may be secret. */
export interface JobSubject {
  readonly id: JobId;
  readonly type: string;
  readonly correlation: Correlation | null;
}

type AboutAttempt<More = unknown> = {
  readonly job: JobSubject;
  readonly attempt: number;
  readonly workerId: string;
} & More;

export interface EventMap {
  "job.enqueued": { readonly job: JobSubject; readonly outcome: "created" | "duplicate" | "replaced" };
  /** A feature flag could not be asked while enqueueing, and the stored rollout decided; or counts could not be brought to the store. */
  "queue.troubled": { readonly during: string; readonly error: unknown };
  "job.started": AboutAttempt<{ readonly waitMs: number }>;
  "job.progressed": AboutAttempt<{ readonly progress: Progress }>;
  "job.logged": AboutAttempt<{ readonly line: LogLine }>;
  "job.completed": AboutAttempt<{ readonly runMs: number }>;
  "job.retried": AboutAttempt<{ readonly runMs: number; readonly delayMs: number; readonly error: AttemptError }>;
  "job.failed": AboutAttempt<{ readonly runMs: number; readonly reason: FailReason; readonly error: AttemptError }>;
  "job.snoozed": AboutAttempt<{ readonly delayMs: number }>;
  "job.cancelled": AboutAttempt<{ readonly reason: string }>;
  "job.released": AboutAttempt;
  /** The attempt ended, but its job had been taken away: nothing it settled counted. */
  "job.leaseLost": AboutAttempt;
  /** The handler ignored its signal; its slot was freed while it still runs. */
  "job.abandoned": AboutAttempt<{ readonly reason: string }>;
  "worker.started": { readonly workerId: string };
  "worker.stopped": { readonly workerId: string };
  "worker.leaseLost": { readonly workerId: string };
  /** Another worker died; its jobs were brought back. */
  "worker.rescued": { readonly workerIds: readonly string[]; readonly jobs: number };
  /** Something failed in the background and is being tried again, or a hook or subscriber threw. */
  "worker.troubled": { readonly during: string; readonly error: unknown };
}

export type EventName = keyof EventMap;

export class Events {
  readonly #listeners = new Map<EventName, Set<(event: never) => void>>();

  /** Calls `listener` on each event of this name. The answer unsubscribes. */
  on<Name extends EventName>(name: Name, listener: (event: EventMap[Name]) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** True when emitting would reach somebody: lets a hot path skip building the event. */
  hasListener(name: EventName): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  emit<Name extends EventName>(name: Name, event: EventMap[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        const running: unknown = (listener as (event: EventMap[Name]) => unknown)(event);
        if (running instanceof Promise) running.catch((error: unknown) => this.#report(name, error));
      } catch (error) {
        this.#report(name, error);
      }
    }
  }

  /** A subscriber observes; what it throws is reported once and goes no further, so that it can never undo a job. */
  #report(name: EventName, error: unknown): void {
    if (name !== "worker.troubled") this.emit("worker.troubled", { during: `a subscriber of ${name}`, error });
  }
}
