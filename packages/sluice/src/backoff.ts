/**
 * How long to wait before another attempt. Pure: randomness comes in.
 */
import { JobsError } from "./errors.js";

export interface RetryPolicy {
  /** Executions in all, the first included. */
  readonly attempts: number;
  /**
   * Milliseconds to wait after the given attempt (1 is the first) failed.
   * @param random A number in [0, 1), fresh for each call.
   */
  readonly delayMs: (attempt: number, random: () => number) => number;
}

/**
 * Doubles the wait with each attempt, up to a cap, and draws the actual wait uniformly below it ("full jitter"), so that
 * jobs that failed together do not come back together.
 * Formula: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 * @param options `attempts` default 5; `baseMs` default 1,000; `maxMs` default 60,000; `jitter` default "full".
 */
export function exponential({
  attempts = 5,
  baseMs = 1_000,
  maxMs = 60_000,
  jitter = "full",
}: { attempts?: number; baseMs?: number; maxMs?: number; jitter?: "full" | "none" } = {}): RetryPolicy {
  checkDuration("baseMs", baseMs);
  checkDuration("maxMs", maxMs);
  return checkRetryPolicy({
    attempts,
    delayMs(attempt, random) {
      const cappedMs = Math.min(maxMs, baseMs * 2 ** (attempt - 1));
      return jitter === "full" ? random() * cappedMs : cappedMs;
    },
  });
}

/** Waits the same time after each attempt. Defaults: 5 attempts, 10,000 ms. */
export function fixed({ attempts = 5, delayMs = 10_000 }: { attempts?: number; delayMs?: number } = {}): RetryPolicy {
  checkDuration("delayMs", delayMs);
  return checkRetryPolicy({ attempts, delayMs: () => delayMs });
}

/** One attempt, no retry. */
export const noRetry: RetryPolicy = { attempts: 1, delayMs: () => 0 };

/** What a policy of the user's own is held to. @throws {JobsError} INVALID_OPTIONS */
export function checkRetryPolicy(policy: RetryPolicy): RetryPolicy {
  if (!Number.isInteger(policy.attempts) || policy.attempts < 1 || policy.attempts > 1_000) {
    throw new JobsError(
      "INVALID_OPTIONS",
      `retry.attempts is ${policy.attempts}. Give a whole number from 1 (no retry) to 1000.`,
      { option: "retry.attempts", value: policy.attempts },
    );
  }
  return policy;
}

/** Asks the policy, and keeps what it answers usable: a policy that returns nonsense must not lose or storm a job. */
export function delayAfter(policy: RetryPolicy, attempt: number, random: () => number): number {
  let delayMs = Number.NaN;
  try {
    delayMs = policy.delayMs(attempt, random);
  } catch {
    // The job must be settled all the same; the fallback below is what any nonsense gets.
  }
  return Number.isFinite(delayMs) ? Math.min(Math.max(0, Math.round(delayMs)), longestDelayMs) : fallbackDelayMs;
}

const fallbackDelayMs = 60_000;
const longestDelayMs = 365 * 24 * 60 * 60 * 1_000;

function checkDuration(option: string, value: number): void {
  if (!Number.isFinite(value) || value < 0 || value > longestDelayMs) {
    throw new JobsError("INVALID_OPTIONS", `retry.${option} is ${value}. Give milliseconds from 0 to one year.`, {
      option: `retry.${option}`,
      value,
    });
  }
}
