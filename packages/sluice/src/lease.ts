/**
 * Keeps one worker's lease: registers it, renews it, and says when it is lost. Renewal runs in the store's own thread
 * where it has one (`keepLease`), so that a handler that blocks the event loop does not lose its jobs.
 */
import { hostname } from "node:os";
import type { Clock } from "./clock.js";
import type { Hold } from "./job.js";
import type { BeatAnswer, Store, WorkedType, WorkerBeat } from "./store.js";

export interface LeaseOptions {
  readonly store: Store<unknown>;
  readonly clock: Clock;
  readonly workerId: string;
  readonly types: readonly WorkedType[];
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly stuckAfterMs: number;
  /** Called once: the jobs of this worker are somebody else's. */
  readonly onLost: () => void;
  readonly onCancels: (holds: readonly Hold[]) => void;
  readonly onTrouble: (during: string, error: unknown) => void;
}

export class Lease {
  readonly workerId: string;
  readonly #options: LeaseOptions;
  readonly #beat: WorkerBeat;
  /** The last moment at which the store said that the lease is held. */
  #heldAt = 0;
  #isOver = false;
  #isAsking = false;
  #stopKeeping: (() => void) | null = null;
  #cancelTimer: (() => void) | null = null;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.workerId = options.workerId;
    this.#beat = {
      workerId: options.workerId,
      leaseMs: options.leaseMs,
      host: hostname(),
      pid: process.pid,
      types: options.types,
      concurrency: options.concurrency,
    };
  }

  /** Registers the worker. Rejects when the store does. */
  async start(): Promise<void> {
    const { store, leaseMs, stuckAfterMs } = this.#options;
    this.#heard(await store.heartbeat(this.#beat));
    this.#stopKeeping =
      store.keepLease?.({
        beat: this.#beat,
        everyMs: leaseMs / 3,
        stuckAfterMs,
        onBeat: (answer) => {
          if (answer instanceof Error) this.#options.onTrouble("renewing the lease", answer);
          else this.#heard(answer);
        },
      }) ?? null;
    this.#watch();
  }

  /** Stops renewing. With `retire`, also takes the worker off the list: it holds no job any more. */
  async stop({ retire }: { retire: boolean }): Promise<void> {
    this.#isOver = true;
    this.#stopKeeping?.();
    this.#cancelTimer?.();
    if (retire) await this.#options.store.retire(this.workerId);
  }

  /**
   * Renews here when nobody else does, or when the thread that should has not been heard of. When that fails or hangs for as
   * long as the lease lasts, the worker must take its jobs for lost, without waiting to be told.
   */
  #watch(): void {
    const { clock, leaseMs } = this.#options;
    this.#cancelTimer = clock.setTimer(leaseMs / 3, () => {
      const quietMs = clock.now() - this.#heldAt;
      if (!this.#stopKeeping || quietMs > leaseMs / 2) {
        // Not before one renewal was tried: after a blocked event loop, silence says nothing about the lease.
        if (this.#isAsking && quietMs >= leaseMs) return this.#lose();
        if (!this.#isAsking) void this.#ask();
      }
      if (!this.#isOver) this.#watch();
    });
  }

  async #ask(): Promise<void> {
    const { clock, leaseMs, store, onTrouble } = this.#options;
    this.#isAsking = true;
    // The lease counts from when the store renewed it: not later than the answer, perhaps as early as the question.
    const askedAt = clock.now();
    try {
      this.#heard(await store.heartbeat(this.#beat), askedAt);
    } catch (error) {
      onTrouble("renewing the lease", error);
      if (clock.now() - this.#heldAt >= leaseMs) this.#lose();
    }
    this.#isAsking = false;
  }

  #heard(answer: BeatAnswer, renewedAt = this.#options.clock.now()): void {
    if (this.#isOver) return;
    if (answer.lease === "lost") return this.#lose();
    this.#heldAt = Math.max(this.#heldAt, renewedAt);
    if (answer.cancels.length > 0) this.#options.onCancels(answer.cancels);
  }

  #lose(): void {
    if (this.#isOver) return;
    void this.stop({ retire: false });
    this.#options.onLost();
  }
}
