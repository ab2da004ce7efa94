/**
 * The audit: what was done to what, by whom and why. One record for each deed, of an operator, an edge or the library itself; none is
 * ever changed, and it outlives what it speaks of. Vocabulary only: stores keep it (store.ts).
 */
import { JobsError } from "./errors.js";
import type { JobState } from "./job.js";

/**
 * - `cancel`, `retry`, `edit`, `discard`, `release`: a command on a job; see `OperatorCommand`.
 * - `set`: the settings of a type were changed.
 * - `reveal`: somebody was shown a payload.
 * - `create_key`, `revoke_key`: of an access key.
 * - `bulk`: one command was given for many jobs at once; what became of each has a record of its own.
 */
export const auditActions = [
  "cancel",
  "retry",
  "edit",
  "discard",
  "release",
  "set",
  "reveal",
  "create_key",
  "revoke_key",
  "bulk",
] as const;
export type AuditAction = (typeof auditActions)[number];

/** What was dealt with: a job by its id, a type by its name, an access key by its id, a bulk action by what the edge calls it. */
export interface AuditTarget {
  readonly kind: "job" | "type" | "key" | "bulk";
  readonly id: string;
}

/** Who asked for something, why, and in which request of an edge; null: nobody said. */
export interface Origin {
  readonly actor: string;
  readonly reason: string | null;
  readonly requestId: string | null;
}

/** A deed, before a store has it. */
export interface AuditEntry extends Origin {
  readonly action: AuditAction;
  readonly target: AuditTarget;
  /** Of the job, or the type itself; null where there is none. */
  readonly type: string | null;
  /**
   * How the target was and has become, as JSON texts; null: there is nothing to say. Of a job its `state`, and before an edit its
   * `payload`, too (JSON text in itself); of a type all its settings; of a key what it may do.
   */
  readonly before: string | null;
  readonly after: string | null;
}

export interface AuditRecord extends AuditEntry {
  /** ms since 1970 on the store's clock. */
  readonly at: number;
  /** Its place, for `before` of a query; unique in one store, and to be read by that store only. */
  readonly seq: string;
}

/** All given conditions must hold. */
export interface AuditQuery {
  readonly target?: AuditTarget;
  readonly actor?: string;
  readonly actions?: readonly AuditAction[];
  /** The `seq` that the page before ended with. */
  readonly before?: string;
  readonly limit: number;
}

/** Newest first. `next` goes on as `before`; null at the end. */
export interface AuditPage {
  readonly records: readonly AuditRecord[];
  readonly next: string | null;
}

/** A job in an audit record. @param payload Where it is about to be another. */
export function conditionOf(state: JobState, payload?: string): string {
  return JSON.stringify({ state, payload });
}

/** One record more than the limit shows that there is a next page. */
export function auditPage(records: readonly AuditRecord[], limit: number): AuditPage {
  const taken = records.slice(0, limit);
  return { records: taken, next: records.length > limit ? (taken.at(-1)?.seq ?? null) : null };
}

/**
 * The place that a cursor stands for, in a store that numbers its records; Infinity without one.
 * @throws {JobsError} INVALID_OPTIONS
 */
export function placeBefore(before: string | undefined): number {
  if (before === undefined) return Infinity;
  if (/^\d{1,15}$/.test(before)) return Number(before);
  throw new JobsError(
    "INVALID_OPTIONS",
    `before is ${JSON.stringify(before.slice(0, 40))}. Give what the page before answered as \`next\`.`,
    { option: "before" },
  );
}
