/**
 * A clock that moves only when a test says so. Its present lies in shared memory, so that a store thread reads the same time.
 */
import type { Clock } from "../clock.js";

interface Timer {
  at: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  readonly sharedNow = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT);
  readonly #present = new BigInt64Array(this.sharedNow);
  readonly #timers = new Set<Timer>();

  /** @param startAt Milliseconds since the Unix epoch. */
  constructor(startAt: number = Date.UTC(2026, 0, 1)) {
    this.#moveTo(startAt);
  }

  now(): number {
    return Number(Atomics.load(this.#present, 0));
  }

  /** Fires during `advance`, never by itself. A part of a millisecond counts as a whole one. */
  setTimer(ms: number, run: () => void): () => void {
    const timer: Timer = { at: this.now() + Math.ceil(Math.max(0, ms)), run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Lets `ms` whole milliseconds pass. Fires each timer at its own instant, in order, also those that timers set on the way. */
  advance(ms: number): void {
    const end = this.now() + ms;
    for (let timer = this.#next(end); timer !== undefined; timer = this.#next(end)) {
      this.#timers.delete(timer);
      this.#moveTo(Math.max(timer.at, this.now()));
      timer.run();
    }
    this.#moveTo(end);
  }

  /** Goes to an instant: forwards like `advance`; backwards as if the system's time were corrected, and waits keep their length. */
  set(instant: number): void {
    const passedMs = instant - this.now();
    if (passedMs >= 0) return this.advance(passedMs);
    for (const timer of this.#timers) timer.at += passedMs;
    this.#moveTo(instant);
  }

  /** The first timer due by `end`; of two at one instant, the one set first. */
  #next(end: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.at <= end && (first === undefined || timer.at < first.at)) first = timer;
    }
    return first;
  }

  #moveTo(instant: number): void {
    Atomics.store(this.#present, 0, BigInt(instant));
  }
}
