/**
 * What a handler holds while it runs: its signal, its place in the job's life, and the four tools against doing work twice.
 * Every write goes through the hold; once the hold is lost, every tool refuses with LEASE_LOST.
 */
import { subjectOf } from "./announce.js";
import { withRetry } from "./batcher.js";
import type { Clock } from "./clock.js";
import { toNewJob, type EnqueueOptions, type JobDefinition } from "./definition.js";
import type { Events } from "./events.js";
import { JobsError } from "./errors.js";
import type { Hold, JobId, Progress } from "./job.js";
import type { ClaimedJob, LogLine, NewJob, Returned, Settlement, Store } from "./store.js";

/** Why a signal fired. `AbortSignal.reason` is an `AttemptAborted` that carries it. */
export type AbortReason = "timeout" | "cancelled" | "lease_lost" | "shutdown";

export class AttemptAborted extends Error {
  override readonly name = "AttemptAborted";

  constructor(readonly reason: AbortReason) {
    super(abortMessages[reason]);
  }
}

const abortMessages: Record<AbortReason, string> = {
  timeout: "The attempt ran longer than the timeoutMs of its type.",
  cancelled: "Somebody asked to cancel the job.",
  lease_lost: "The worker lost its lease; the job may be running elsewhere.",
  shutdown: "The worker is shutting down.",
};

/** What contexts need from their worker. */
export interface ContextDeps {
  readonly store: Store<unknown>;
  readonly clock: Clock;
  readonly events: Events;
  readonly newId: () => JobId;
  readonly workerId: string;
  /** How long a step whose effect has happened tries to be remembered. */
  readonly retryForMs: number;
}

/** What a context tells its attempt. */
export interface ContextOwner {
  /** A write was refused: the hold is gone. */
  leaseLost(): void;
  progressed(progress: Progress): void;
}

export type ContextLog = Readonly<Record<LogLine["level"], (message: string) => void>>;

const nothing: Promise<unknown> = Promise.resolve();

/** Progress and log lines are written at most this often; the last ones always before the job settles. */
const annotateEveryMs = 250;

export class Context<out Tx = unknown> {
  readonly #job: ClaimedJob;
  readonly #deps: ContextDeps;
  readonly #owner: ContextOwner;
  readonly #hold: Hold;
  readonly #children: NewJob[] = [];
  readonly #steps = new Map<string, Promise<unknown>>();
  #recalled: ReadonlyMap<string, string | null> = new Map();
  #controller: AbortController | null = null;
  #aborted: AbortReason | null = null;
  #hasCommitted = false;
  #progress: Progress | null = null;
  #lines: LogLine[] = [];
  #cancelAnnotateTimer: (() => void) | null = null;
  #annotating: Promise<unknown> = nothing;

  /** @internal */
  constructor(job: ClaimedJob, deps: ContextDeps, owner: ContextOwner) {
    this.#job = job;
    this.#deps = deps;
    this.#owner = owner;
    this.#hold = { id: job.id, epoch: job.epoch };
  }

  /** Fires when the attempt should stop; its `reason` is an `AttemptAborted`. Pass it on to whatever takes one. */
  get signal(): AbortSignal {
    // Made on first use: most short handlers never look, and a controller costs more than the rest of an attempt.
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#aborted !== null) this.#controller.abort(new AttemptAborted(this.#aborted));
    }
    return this.#controller.signal;
  }

  /** 1 for the first execution. */
  get attempt(): number {
    return this.#job.attempt;
  }

  /**
   * Grows with every claim of the job, never goes back. Store it beside your side effect and write only where it is larger
   * than the stored one: a late attempt then changes nothing. It does not stop the late attempt from doing other things.
   */
  get epoch(): number {
    return this.#job.epoch;
  }

  /**
   * The same in every attempt of this job: for other people's APIs that take an idempotency key. It promises nothing where
   * the other side does not honour it, or forgets it before the last retry.
   */
  get idempotencyKey(): string {
    return this.#job.id;
  }

  /** Lines kept with the job and emitted as `job.logged`. Never put secrets in them. */
  get log(): ContextLog {
    return {
      debug: (message) => this.#addLine("debug", message),
      info: (message) => this.#addLine("info", message),
      warn: (message) => this.#addLine("warn", message),
      error: (message) => this.#addLine("error", message),
    };
  }

  /** Says how far the work is. Durable within a quarter of a second, and before the job ends. */
  progress(done: number, total: number | null = null): void {
    this.#progress = { done, total };
    this.#owner.progressed(this.#progress);
    this.#scheduleAnnotate();
  }

  /**
   * Runs `fn` once per job and remembers its result: a later attempt gets the remembered one. What it returns is what JSON
   * keeps of it, in the first attempt too. If the process dies after the effect of `fn` and before its result is durable,
   * `fn` runs again: combine it with `idempotencyKey` or `transactionStep` where that must not be.
   * @throws {JobsError} LEASE_LOST
   */
  step<T>(name: string, fn: () => T | Promise<T>): Promise<T> {
    return this.#once(name, async () => {
      const output = encodeStep(name, await fn());
      // The effect has happened: a store that is busy for a moment must not make it happen again.
      const remember = () => this.#deps.store.remember([{ hold: this.#hold, name, output }]);
      const [kept] = await withRetry(remember, this.#deps);
      if (kept!.result === "lease_lost") throw this.#leaseLost();
      return kept!.result === "known" ? kept!.output : output;
    });
  }

  /**
   * Like `step`, with `work` in a transaction of the store's database: its writes and the memory of the step commit
   * together, so its effect happens exactly once. On SQLite `work` must be synchronous.
   * @throws {JobsError} LEASE_LOST, TRANSACTIONS_UNSUPPORTED, TRANSACTION_NOT_SYNCHRONOUS; and what `work` throws.
   */
  transactionStep<T, Given extends Tx = Tx>(
    name: string,
    work: (tx: Given) => Returned<Given, T>,
  ): Promise<Awaited<T>> {
    return this.#once(name, async () => {
      const answer = await this.#transact(work, (value) => ({
        write: "remember",
        step: { hold: this.#hold, name, output: encodeStep(name, value) },
      }));
      if (answer.result === "lease_lost") throw this.#leaseLost();
      // Not always what `work` has just returned: where the step was remembered already, the first answer stands.
      return encodeStep(name, answer.value);
    });
  }

  /** What a step of this name returned in an earlier attempt, or undefined. */
  recall<T>(name: string): T | undefined {
    const output = this.#recalled.get(name);
    return output === undefined ? undefined : decodeStep<T>(output);
  }

  /**
   * Your writes and the job's completion commit together, or not at all; `work`'s result becomes the job's output. The
   * handler should return right after: nothing it does later can change the job. The result schema of the type is not applied:
   * a transaction has no second thoughts. On SQLite `work` must be synchronous.
   * @throws {JobsError} LEASE_LOST, TRANSACTIONS_UNSUPPORTED, TRANSACTION_NOT_SYNCHRONOUS; and what `work` throws.
   */
  async transaction<T, Given extends Tx = Tx>(work: (tx: Given) => Returned<Given, T>): Promise<Awaited<T>> {
    if (this.#aborted === "lease_lost") throw this.#leaseLost();
    await this.flushNotes();
    const answer = await this.#transact(work, (value) => ({
      write: "settle",
      settlement: this.#completion(value),
    }));
    if (answer.result === "lease_lost") throw this.#leaseLost();
    this.#hasCommitted = true;
    return answer.value as Awaited<T>;
  }

  /**
   * Enqueues a child when, and only when, this job completes: in the same transaction. Use `queue.enqueue(…, { tx })` in a
   * `transactionStep` for jobs that must exist whatever becomes of this one.
   */
  async enqueue<Input, Payload>(
    definition: JobDefinition<Input, Payload>,
    payload: Input,
    options: Omit<EnqueueOptions, "idempotency"> = {},
  ): Promise<JobId> {
    const child = await toNewJob(definition, payload, options, this.#deps.newId());
    this.#children.push(child);
    return child.id;
  }

  // ── for the attempt ───────────────────────────────────────────────────────

  /** @internal */
  get hasCommitted(): boolean {
    return this.#hasCommitted;
  }

  /** @internal */
  get abortReason(): AbortReason | null {
    return this.#aborted;
  }

  /** @internal */
  get children(): readonly NewJob[] {
    return this.#children;
  }

  /** @internal The first reason stands. */
  abort(reason: AbortReason): void {
    if (this.#aborted !== null) return;
    this.#aborted = reason;
    this.#controller?.abort(new AttemptAborted(reason));
  }

  /** @internal */
  async loadSteps(): Promise<void> {
    const steps = await this.#deps.store.recall(this.#job.id);
    this.#recalled = new Map(steps.map((step) => [step.name, step.output]));
  }

  /** @internal Writes the progress and lines that still wait. */
  async flushNotes(): Promise<void> {
    this.#cancelAnnotateTimer?.();
    this.#cancelAnnotateTimer = null;
    if (this.#progress === null && this.#lines.length === 0) return void (await this.#annotating);
    const note = { hold: this.#hold, progress: this.#progress, lines: this.#lines };
    this.#progress = null;
    this.#lines = [];
    const writing = this.#annotating.then(() => this.#deps.store.annotate([note]));
    // In order, so that the last progress is the one that stays; what could not be written goes with the next note.
    this.#annotating = writing.catch(() => {
      this.#progress ??= note.progress;
      this.#lines.unshift(...note.lines);
    });
    await writing;
  }

  // ── helpers ───────────────────────────────────────────────────────────────

  /** The same name in one attempt is the same step, even when both calls run at once. */
  #once<T>(name: string, run: () => Promise<string | null>): Promise<T> {
    if (name.length === 0 || name.length > 200 || name.includes("\0")) return Promise.reject(stepNameRefused(name));
    if (this.#aborted === "lease_lost") return Promise.reject(this.#leaseLost());
    const known = this.#recalled.get(name);
    if (known !== undefined) return Promise.resolve(decodeStep<T>(known));
    const running = this.#steps.get(name);
    if (running) return running as Promise<T>;
    const step = run().then(decodeStep<T>);
    this.#steps.set(name, step);
    // A step that failed may be called again in the same attempt.
    step.catch(() => this.#steps.delete(name));
    return step;
  }

  #transact<T, Tx>(
    work: (tx: Tx) => T,
    outcome: Parameters<NonNullable<Store<Tx>["transact"]>>[1],
  ): Promise<{ result: "applied"; value: Awaited<T> } | { result: "lease_lost" }> {
    const store = this.#deps.store as unknown as Store<Tx>;
    if (!store.transact) {
      throw new JobsError(
        "TRANSACTIONS_UNSUPPORTED",
        `The ${store.name} store has no transactions. Use ctx.step, or a store whose database holds your tables.`,
        { store: store.name },
      );
    }
    return store.transact(work, outcome);
  }

  #completion(value: unknown): Settlement {
    const output = encodeOutput(this.#job.type, value);
    return { hold: this.#hold, kind: "complete", output, children: this.#children };
  }

  #leaseLost(): JobsError {
    this.#owner.leaseLost();
    return new JobsError(
      "LEASE_LOST",
      `Attempt ${this.#job.attempt} of job ${this.#job.id} no longer holds it; its write was refused. Stop working on it.`,
      { id: this.#job.id, epoch: this.#job.epoch },
    );
  }

  #addLine(level: LogLine["level"], message: string): void {
    const line = { at: this.#deps.clock.now(), level, message: String(message).slice(0, 4_000) };
    this.#lines.push(line);
    if (this.#lines.length > 1_000) this.#lines.shift();
    if (this.#deps.events.hasListener("job.logged")) {
      const { workerId, events } = this.#deps;
      events.emit("job.logged", { job: subjectOf(this.#job), attempt: this.attempt, workerId, line });
    }
    this.#scheduleAnnotate();
  }

  #scheduleAnnotate(): void {
    if (this.#cancelAnnotateTimer) return;
    this.#cancelAnnotateTimer = this.#deps.clock.setTimer(annotateEveryMs, () => {
      this.#cancelAnnotateTimer = null;
      this.flushNotes().catch((error: unknown) =>
        this.#deps.events.emit("worker.troubled", { during: "writing progress", error }),
      );
    });
  }
}

/** JSON text for a result; null for undefined. */
export function encodeOutput(type: string, value: unknown): string | null {
  if (value === undefined) return null;
  try {
    return JSON.stringify(value) ?? null;
  } catch (cause) {
    throw new JobsError("INVALID_RESULT", `The result of ${type} cannot be written as JSON: ${String(cause)}.`, {
      type,
      cause,
    });
  }
}

function stepNameRefused(name: string): JobsError {
  return new JobsError(
    "STEP_FAILED",
    `A step needs a name of 1 to 200 characters, none of them NUL; this one has ${name.length}.`,
    {
      name: name.slice(0, 200),
    },
  );
}

function encodeStep(name: string, value: unknown): string | null {
  try {
    return value === undefined ? null : (JSON.stringify(value) ?? null);
  } catch (cause) {
    throw new JobsError("STEP_FAILED", `The result of step "${name}" cannot be written as JSON: ${String(cause)}.`, {
      name,
      cause,
    });
  }
}

function decodeStep<T>(output: string | null): T {
  return (output === null ? undefined : JSON.parse(output)) as T;
}
