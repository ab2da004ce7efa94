/**
 * From rows of sluice_jobs to the records of the port.
 */
import type {
  AttemptError,
  Controls,
  Correlation,
  FailReason,
  HeldBy,
  JobRecord,
  JobState,
  TraceCarrier,
} from "../../job.js";
import type { ClaimedJob, NewJob } from "../../store.js";
import type { Session } from "./session.js";

/** As much of a row as every decision about one job needs. */
export interface JobRow {
  readonly seq: number;
  readonly id: string;
  readonly type: string;
  readonly state: JobState;
  readonly priority: number;
  readonly rank: number;
  readonly version: number;
  readonly epoch: number;
  readonly attempt: number;
  readonly max_attempts: number;
  readonly crashes: number;
  readonly held_key: string | null;
  readonly run_at: number;
  readonly created_at: number;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly cancel_requested_at: number | null;
  readonly unique_key: string | null;
  readonly unique_while: "pending" | "active" | "period" | null;
  readonly unique_until: number | null;
  readonly fail_reason: FailReason | null;
  readonly cancel_reason: string | null;
  readonly progress_done: number | null;
  readonly progress_total: number | null;
  readonly error: string | null;
  readonly blob: string | null;
  readonly correlation: string | null;
  readonly trace: string | null;
  readonly output: string | null;
  readonly payload: string;
  readonly controls: string | null;
  readonly concurrency_key: string | null;
  readonly held_by: HeldBy | null;
  readonly worker_id: string | null;
}

export const jobColumns = `
  job.seq, job.id, job.type, job.state, job.priority, job.rank, job.version, job.epoch, job.attempt, job.max_attempts, job.crashes,
  job.held_key, job.run_at, job.created_at, job.started_at, job.finished_at, job.cancel_requested_at,
  job.unique_key, job.unique_while, job.unique_until, job.fail_reason, job.cancel_reason, job.progress_done, job.progress_total,
  job.error, job.blob, job.correlation, job.trace, job.output, job.payload,
  job.controls, job.concurrency_key, job.held_by, worker.id as worker_id`;

export function findById(session: Session, id: string): JobRow | undefined {
  return session.sql(selectById).get(id) as JobRow | undefined;
}

export function findByKey(session: Session, heldKey: string): JobRow | undefined {
  return session.sql(selectByKey).get(heldKey) as JobRow | undefined;
}

/**
 * What a job waiting behind the holder of `key` holds: in the same unique index, so that there is at most one.
 * Keys begin with a job type, and no type has a ">" in its name: this is never a key of its own.
 */
export function rerunKey(key: string): string {
  return `>${key}`;
}

/** The instant at which a new job may run; null for at once. Rounded up: never early. */
export function dueAt({ due }: NewJob, now: number): number | null {
  if (due === null) return null;
  return Math.ceil("at" in due ? due.at : now + due.afterMs);
}

export function toRecord(row: JobRow): JobRecord {
  return {
    id: row.id,
    type: row.type,
    version: row.version,
    state: row.state,
    priority: row.priority,
    payload: row.payload,
    output: row.output,
    correlation: correlationOf(row),
    uniqueKey: row.unique_key,
    trace: parsed<TraceCarrier>(row.trace),
    createdAt: row.created_at,
    runAt: row.run_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    attempt: row.attempt,
    maxAttempts: row.max_attempts,
    crashes: row.crashes,
    epoch: row.epoch,
    workerId: row.worker_id,
    isCancelRequested: row.cancel_requested_at !== null,
    failReason: row.fail_reason,
    cancelReason: row.cancel_reason,
    error: parsed<AttemptError>(row.error),
    progress: row.progress_done === null ? null : { done: row.progress_done, total: row.progress_total },
    controls: parsed<Controls>(row.controls),
    heldBy: row.held_by,
  };
}

export function correlationOf({ correlation }: { readonly correlation: string | null }): Correlation | null {
  return parsed<Correlation>(correlation);
}

/** A `ClaimedJob` as one JSON array, made inside SQLite. */
export const claimedColumns = `
  json_array(id, epoch, type, version, priority, created_at, run_at, started_at, attempt, max_attempts, crashes,
    json(correlation), json(trace), payload)`;

type ClaimedRow = readonly [
  id: string,
  epoch: number,
  type: string,
  version: number,
  priority: number,
  createdAt: number,
  runAt: number,
  startedAt: number,
  attempt: number,
  maxAttempts: number,
  crashes: number,
  correlation: ClaimedJob["correlation"],
  trace: ClaimedJob["trace"],
  payload: string,
];

/** @param json A JSON array of `claimedColumns`. */
export function unpackClaimed(json: string): readonly ClaimedJob[] {
  return (JSON.parse(json) as ClaimedRow[]).map((row) => ({
    id: row[0],
    epoch: row[1],
    type: row[2],
    version: row[3],
    payload: row[13],
    correlation: row[11],
    priority: row[4],
    createdAt: row[5],
    runAt: row[6],
    startedAt: row[7],
    attempt: row[8],
    maxAttempts: row[9],
    crashes: row[10],
    trace: row[12],
  }));
}

function parsed<T>(json: string | null): T | null {
  return json === null ? null : (JSON.parse(json) as T);
}

export function jsonOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}

// Unique index on id, then primary keys.
const selectById = `
  select ${jobColumns}
  from sluice_jobs as job
  left join sluice_workers as worker on worker.seq = job.worker
  where job.id = ?`;

// sluice_jobs_key.
const selectByKey = `
  select ${jobColumns}
  from sluice_jobs as job
  left join sluice_workers as worker on worker.seq = job.worker
  where job.held_key = ?`;
