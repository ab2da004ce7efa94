/**
 * What the memory store keeps of one job, and the views of it that leave the store: always copies.
 */
import type { AttemptRecord, JobRecord } from "../../job.js";
import type { ClaimedJob, LogLine, NewJob, Step, UniqueClaim } from "../../store.js";

export interface Row {
  readonly job: { -readonly [Field in keyof JobRecord]: JobRecord[Field] };
  readonly unique: UniqueClaim | null;
  blob: string | null;
  /** The instant that decides its turn within a priority: when it became pending. */
  rank: number;
  /** Decides between equal ranks: the order of insertion. */
  readonly insertion: number;
  readonly steps: Step[];
  readonly attempts: AttemptRecord[];
  readonly lines: LogLine[];
}

/** A row as it is on arrival; its state is the caller's to decide. */
export function newRow(
  job: NewJob,
  { state, now, insertion }: { readonly state: JobRecord["state"]; readonly now: number; readonly insertion: number },
): Row {
  return {
    job: {
      id: job.id,
      type: job.type,
      version: job.version,
      state,
      priority: job.priority,
      payload: job.payload,
      output: null,
      correlation: structuredClone(job.correlation),
      uniqueKey: job.unique?.key ?? null,
      trace: structuredClone(job.trace),
      createdAt: now,
      runAt: dueAt(job, now) ?? now,
      startedAt: null,
      finishedAt: null,
      attempt: 0,
      maxAttempts: job.maxAttempts,
      crashes: 0,
      epoch: 0,
      workerId: null,
      isCancelRequested: false,
      failReason: null,
      cancelReason: null,
      error: null,
      progress: null,
    },
    unique: job.unique,
    blob: job.blob,
    rank: now,
    insertion,
    steps: [],
    attempts: [],
    lines: [],
  };
}

/** The instant at which a new job may run; null for at once. */
export function dueAt({ due }: NewJob, now: number): number | null {
  if (due === null) return null;
  return "at" in due ? due.at : now + due.afterMs;
}

/** Highest priority first, then longest pending, then first inserted. */
export function byTurn(a: Row, b: Row): number {
  return b.job.priority - a.job.priority || a.rank - b.rank || a.insertion - b.insertion;
}

export function toRecord({ job }: Row): JobRecord {
  return structuredClone(job);
}

export function toClaimed({ job }: Row): ClaimedJob {
  return structuredClone({
    id: job.id,
    epoch: job.epoch,
    type: job.type,
    version: job.version,
    payload: job.payload,
    correlation: job.correlation,
    priority: job.priority,
    createdAt: job.createdAt,
    runAt: job.runAt,
    startedAt: job.startedAt ?? job.createdAt,
    attempt: job.attempt,
    maxAttempts: job.maxAttempts,
    crashes: job.crashes,
    trace: job.trace,
  });
}
