/**
 * Idempotency keys (I7): one request, however often it is sent, adds at most one job. What an enqueue under a key is answered, from
 * what its store has kept of the key. Pure; decided in the transaction that adds the job, before anything else is asked about it.
 */
import { JobsError } from "./errors.js";
import type { JobId } from "./job.js";
import type { EnqueueResult, Idempotency } from "./store.js";

/** What a store keeps of a key. */
export interface KeptKey {
  readonly fingerprint: string;
  /** The job that the first enqueue under the key was answered with. */
  readonly jobId: JobId;
  /** From here on it counts no more. */
  readonly expiresAt: number;
}

/** `first`: nobody has used the key, or its period is over. */
export function usedBefore(
  { fingerprint }: Idempotency,
  kept: KeptKey | undefined,
  now: number,
): "first" | "repeated" | "key_reused" {
  if (kept === undefined || now >= kept.expiresAt) return "first";
  return kept.fingerprint === fingerprint ? "repeated" : "key_reused";
}

/** What to keep of a key from its first enqueue on; null where that led to no job: the key stays free. @param id Of the new job. */
export function keptOf(
  { fingerprint, periodMs }: Idempotency,
  { id, result, now }: { readonly id: JobId; readonly result: EnqueueResult; readonly now: number },
): KeptKey | null {
  const expiresAt = Math.ceil(now + periodMs);
  switch (result.outcome) {
    case "created":
      return { fingerprint, jobId: id, expiresAt };
    case "duplicate":
    case "replaced":
      return { fingerprint, jobId: result.job.id, expiresAt };
    case "refused":
    case "repeated":
    case "key_reused":
      return null;
  }
}

/** The key stands for something else. */
export function keyReusedError(type: string, key: string | null): JobsError {
  return new JobsError(
    "IDEMPOTENCY_KEY_REUSED",
    `The idempotency key ${JSON.stringify(key)} was used for something else. Give this job of type ${type} a key of its own.`,
    { type, key },
  );
}

/** The request was answered before, and its job is deleted by now. */
export function jobGoneError(type: string, id: JobId): JobsError {
  return new JobsError(
    "JOB_GONE",
    `This request has added job ${id} of type ${type} before, which has been deleted since. To do the work once more, send it under a new key.`,
    { type, id },
  );
}
