/**
 * Time as the core sees it: the present, and a call in the future. Tests bring their own (testing/manual-clock.ts).
 */

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /**
   * Calls `run` once after `ms` milliseconds; the answer cancels it. Any length is allowed. One in the background does not keep the
   * process alive.
   */
  setTimer(ms: number, run: () => void, options?: { readonly isBackground?: boolean }): () => void;
  /**
   * A clock that does not follow the system's time keeps its present here (one BigInt64, milliseconds),
   * so that a store thread can read it too. Undefined: threads read the system's time.
   */
  readonly sharedNow?: SharedArrayBuffer;
}

/** setTimeout fires at once beyond 2^31-1 ms (24.8 days); longer waits are cut into pieces. */
const longestTimeoutMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(ms, run, { isBackground = false } = {}) {
    let timer: NodeJS.Timeout;
    const arm = (left: number) => {
      timer =
        left > longestTimeoutMs
          ? setTimeout(() => arm(left - longestTimeoutMs), longestTimeoutMs)
          : setTimeout(run, Math.max(0, left));
      if (isBackground) timer.unref();
    };
    arm(ms);
    return () => clearTimeout(timer);
  },
};
