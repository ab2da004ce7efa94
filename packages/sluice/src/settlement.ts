/**
 * Decides what happens to a job after an attempt. Pure: no clock, no store.
 * Stores apply the result as given; see `Settlement` in store.ts for each effect.
 */
import { delayAfter, type RetryPolicy } from "./backoff.js";
import { assertNever } from "./errors.js";
import type { AttemptError } from "./job.js";
import type { ClaimedJob, NewJob, Settlement } from "./store.js";

/** Every way an attempt can end that leaves something to settle. */
export type Outcome =
  | { readonly kind: "succeeded"; readonly output: string | null; readonly children: readonly NewJob[] }
  | { readonly kind: "failed"; readonly error: AttemptError; readonly isRetryable: boolean }
  | { readonly kind: "timed_out"; readonly error: AttemptError }
  /** The payload cannot be read with today's schema, whoever tries. */
  | { readonly kind: "unreadable"; readonly error: AttemptError }
  | { readonly kind: "snoozed"; readonly delayMs: number }
  | { readonly kind: "cancelled"; readonly reason: string }
  /** Given back before it ended: the worker shuts down, or never started it. */
  | { readonly kind: "interrupted" }
  /** Its worker died, or went silent for longer than its lease. */
  | { readonly kind: "lost"; readonly lastWords: string | null };

/**
 * A job whose worker died under it this many times is taken for the cause, where its definition does not say otherwise. Not fewer:
 * nobody knows which of a dead worker's jobs killed it the first times, and a machine that kills processes for other reasons must
 * not turn bystanders into dead letters (docs/decisions/0008, 0020).
 */
export const defaultMaxCrashes = 5;

/** From so many crashes on, a job runs alone in its worker: the next crash is its own and charges nobody else. */
export const suspectAfter = 2;

export function isSuspect({ crashes }: Pick<ClaimedJob, "crashes">): boolean {
  return crashes >= suspectAfter;
}

/** @param isBroken The circuit breaker of its type is not closed. Default false. */
export function decide(
  job: ClaimedJob,
  outcome: Outcome,
  {
    retry,
    maxCrashes,
    random,
    isBroken = false,
  }: { retry: RetryPolicy; maxCrashes: number; random: () => number; isBroken?: boolean },
): Settlement {
  const hold = { id: job.id, epoch: job.epoch };
  switch (outcome.kind) {
    case "succeeded":
      return { hold, kind: "complete", output: outcome.output, children: outcome.children };

    case "failed":
      return outcome.isRetryable
        ? retryOrExhaust(outcome.error)
        : fail("non_retryable", outcome.error, { isCharged: true });

    case "timed_out":
      return retryOrExhaust(outcome.error);

    // No attempt took place: the handler never saw the job.
    case "unreadable":
      return fail("invalid_payload", outcome.error, { isCharged: false });

    case "snoozed":
      return { hold, kind: "snooze", delayMs: outcome.delayMs };

    case "cancelled":
      return { hold, kind: "cancel", reason: outcome.reason };

    case "interrupted":
      return { hold, kind: "release" };

    case "lost": {
      const error = workerLost(job, outcome.lastWords);
      if (job.crashes + 1 >= maxCrashes || job.attempt >= job.maxAttempts) {
        return { hold, kind: "fail", reason: "crashed", error, hasCrashed: true, isCharged: true };
      }
      // The first crash is most often a deploy or a killed process, not the job's fault: run it again without delay.
      const delayMs = job.crashes === 0 ? 0 : delayAfter(retry, job.attempt, random);
      return { hold, kind: "retry", delayMs, error, hasCrashed: true, isCharged: true };
    }

    default:
      return assertNever(outcome);
  }

  function retryOrExhaust(error: AttemptError): Settlement {
    // What the job needs does not work, and that is known: no attempt of the job's own was made.
    if (isBroken) {
      const delayMs = delayAfter(retry, job.attempt, random);
      return { hold, kind: "retry", delayMs, error, hasCrashed: false, isCharged: false };
    }
    if (job.attempt >= job.maxAttempts) return fail("exhausted", error, { isCharged: true });
    return {
      hold,
      kind: "retry",
      delayMs: delayAfter(retry, job.attempt, random),
      error,
      hasCrashed: false,
      isCharged: true,
    };
  }

  function fail(
    reason: "exhausted" | "non_retryable" | "invalid_payload",
    error: AttemptError,
    { isCharged }: { isCharged: boolean },
  ): Settlement {
    return { hold, kind: "fail", reason, error, hasCrashed: false, isCharged };
  }
}

function workerLost(job: ClaimedJob, lastWords: string | null): AttemptError {
  const what = `The worker running attempt ${job.attempt} died or went silent for longer than its lease.`;
  return { name: "WorkerLost", message: lastWords === null ? what : `${what} ${lastWords}` };
}
