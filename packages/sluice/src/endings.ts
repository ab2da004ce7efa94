/**
 * Resolves callers when their jobs end. One look at the store serves all who wait; hints make it prompt, polling makes it sure.
 */
import type { Clock } from "./clock.js";
import { isRetryable, JobsError } from "./errors.js";
import { hasEnded, type JobId, type JobRecord } from "./job.js";
import type { Store } from "./store.js";

interface Waiter {
  readonly resolve: (job: JobRecord) => void;
  readonly reject: (error: unknown) => void;
}

/** Hints come with every commit; a look for each of them would cost more than the wait it saves. */
const hintPauseMs = 10;
const pollMs = 500;

export class Endings {
  readonly #store: Store<unknown>;
  readonly #clock: Clock;
  readonly #waiters = new Map<JobId, Set<Waiter>>();
  #unsubscribe: (() => void) | null = null;
  #cancelTimer: (() => void) | null = null;
  #isLooking = false;
  #hintCame = false;

  constructor(store: Store<unknown>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** @throws {JobsError} WAIT_TIMEOUT, JOB_NOT_FOUND */
  async ended(id: JobId, timeoutMs: number): Promise<JobRecord> {
    let waiter: Waiter | null = null;
    let cancelTimeout = () => {};
    try {
      return await new Promise<JobRecord>((resolve, reject) => {
        waiter = { resolve, reject };
        this.#waiters.set(id, (this.#waiters.get(id) ?? new Set()).add(waiter));
        cancelTimeout = this.#clock.setTimer(timeoutMs, () =>
          reject(
            new JobsError("WAIT_TIMEOUT", `Job ${id} did not end within ${timeoutMs} ms. It goes on.`, {
              id,
              timeoutMs,
            }),
          ),
        );
        this.#unsubscribe ??= this.#store.subscribe((hint) => hint.ended && this.#hint());
        void this.#look();
      });
    } finally {
      cancelTimeout();
      const waiters = this.#waiters.get(id);
      waiters?.delete(waiter!);
      if (waiters?.size === 0) this.#waiters.delete(id);
      if (this.#waiters.size === 0) this.stop();
    }
  }

  /** Nobody waits any longer. */
  close(): void {
    for (const waiters of this.#waiters.values()) {
      for (const { reject } of waiters) reject(new JobsError("STORE_CLOSED", "The queue was closed; the job goes on."));
    }
    this.stop();
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#hintCame = false;
  }

  /** The first hint sets the time of the look; those that follow must not put it off. */
  #hint(): void {
    if (this.#hintCame) return;
    this.#hintCame = true;
    if (!this.#isLooking) this.#lookIn(hintPauseMs);
  }

  #lookIn(ms: number): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#clock.setTimer(ms, () => void this.#look());
  }

  async #look(): Promise<void> {
    if (this.#isLooking) {
      this.#hintCame = true;
      return;
    }
    this.#isLooking = true;
    this.#hintCame = false;
    const ids = [...this.#waiters.keys()];
    try {
      const records = await this.#store.get(ids);
      ids.forEach((id, index) => {
        const record = records[index];
        for (const waiter of this.#waiters.get(id) ?? []) {
          if (!record) waiter.reject(new JobsError("JOB_NOT_FOUND", `No job ${id}. It may have been pruned.`, { id }));
          else if (hasEnded(record.state)) waiter.resolve(record);
        }
      });
    } catch (error) {
      // A store that is busy for a moment does not end the wait; the timeout does, if it lasts.
      if (!isRetryable(error))
        for (const id of ids) for (const waiter of this.#waiters.get(id) ?? []) waiter.reject(error);
    }
    this.#isLooking = false;
    if (this.#waiters.size > 0) this.#lookIn(this.#hintCame ? hintPauseMs : pollMs);
  }
}
