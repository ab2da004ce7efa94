/**
 * What the memory store keeps of one job, and the views of it that leave the store: always copies.
 */
import type { AttemptRecord, JobState } from "../../job.js";
import { dueAt, newRecord } from "../../moves.js";
import type { Row } from "../../moves.js";
import type { ClaimedJob, LogLine, NewJob, Step } from "../../store.js";

export interface MemoryRow extends Row {
  /** Decides between equal ranks: the order of insertion. */
  readonly insertion: number;
  readonly steps: Step[];
  readonly attempts: AttemptRecord[];
  readonly lines: LogLine[];
}

/** A row as it is on arrival; its state is the caller's to decide. */
export function newRow(
  job: NewJob,
  {
    state,
    now,
    rank,
    insertion,
  }: { readonly state: JobState; readonly now: number; readonly rank: number; readonly insertion: number },
): MemoryRow {
  const { unique, correlation, trace, controls } = job;
  const mine = {
    ...job,
    correlation: structuredClone(correlation),
    trace: structuredClone(trace),
    controls: structuredClone(controls),
  };
  const record = newRecord(mine, { state, createdAt: now, runAt: dueAt(job, now) ?? now });
  return { job: record, unique, blob: job.blob, rank, insertion, steps: [], attempts: [], lines: [] };
}

/** Highest priority first, then longest pending, then first inserted. */
export function byTurn(a: MemoryRow, b: MemoryRow): number {
  return b.job.priority - a.job.priority || a.rank - b.rank || a.insertion - b.insertion;
}

/** The attempt that began first, first. */
export function byAge(a: MemoryRow, b: MemoryRow): number {
  return (a.job.startedAt ?? 0) - (b.job.startedAt ?? 0) || a.insertion - b.insertion;
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
