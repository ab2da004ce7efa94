/**
 * From rows of jobs and history to the records of the port.
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
import type { Row } from "../../moves.js";
import type { ClaimedJob, UniqueClaim } from "../../store.js";

/** Numbers may come as text: not every driver of an application parses bigint. */
type Int = number | string;

export interface JobRow {
  readonly id: string;
  readonly type: string;
  readonly state: JobState;
  readonly version: number;
  readonly priority: number;
  readonly epoch: number;
  readonly attempt: number;
  readonly max_attempts: number;
  readonly crashes: number;
  readonly run_at: Int;
  readonly created_at: Int;
  readonly started_at: Int | null;
  readonly finished_at: Int | null;
  readonly worker_id: string | null;
  readonly unique_key: string | null;
  readonly unique_while: UniqueClaim["holdWhile"] | null;
  readonly unique_period_ms: number | null;
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
  readonly held_by: HeldBy | null;
  readonly rank: Int;
  readonly is_cancel_requested: boolean;
}

const sharedColumns = `
  job.id, job.type, job.state::text as state, job.version, job.priority, job.epoch, job.attempt, job.max_attempts, job.crashes,
  job.run_at, job.created_at, job.started_at, job.finished_at, job.worker_id,
  job.unique_key, job.unique_while, job.unique_period_ms, job.fail_reason, job.cancel_reason,
  job.progress_done, job.progress_total, job.error, job.blob, job.correlation, job.trace, job.output, job.payload`;

/** Of `sluice.jobs as job`. */
export const jobColumns = `${sharedColumns}, job.rank, job.is_cancel_requested, job.controls, job.held_by`;

/** The same of `sluice.history as job`. */
export const historyColumns = `${sharedColumns}, 0::bigint as rank, false as is_cancel_requested, null as controls, null as held_by`;

export function toRow(row: JobRow): Row {
  return {
    job: toMutableRecord(row),
    unique:
      row.unique_key === null
        ? null
        : { key: row.unique_key, holdWhile: row.unique_while ?? "active", periodMs: row.unique_period_ms },
    blob: row.blob,
    rank: Number(row.rank) / 1_000,
  };
}

export function toRecord(row: JobRow): JobRecord {
  return toMutableRecord(row);
}

function toMutableRecord(row: JobRow): Row["job"] {
  return {
    id: row.id,
    type: row.type,
    version: row.version,
    state: row.state,
    priority: row.priority,
    payload: row.payload,
    output: row.output,
    correlation: parsed<Correlation>(row.correlation),
    uniqueKey: row.unique_key,
    trace: parsed<TraceCarrier>(row.trace),
    createdAt: Number(row.created_at),
    runAt: Number(row.run_at),
    startedAt: numberOrNull(row.started_at),
    finishedAt: numberOrNull(row.finished_at),
    attempt: row.attempt,
    maxAttempts: row.max_attempts,
    crashes: row.crashes,
    epoch: row.epoch,
    workerId: row.worker_id,
    isCancelRequested: row.is_cancel_requested,
    failReason: row.fail_reason,
    cancelReason: row.cancel_reason,
    error: parsed<AttemptError>(row.error),
    progress: row.progress_done === null ? null : { done: row.progress_done, total: row.progress_total },
    controls: parsed<Controls>(row.controls),
    heldBy: row.held_by,
  };
}

/** A `ClaimedJob` of `job` as one JSON array, made by the server: one value to parse for a whole claim. */
export const claimedColumns = `
  json_build_array(job.id, job.epoch, job.type, job.version, job.priority, job.created_at, job.run_at, job.started_at,
    job.attempt, job.max_attempts, job.crashes, job.correlation::json, job.trace::json, job.payload)`;

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

export function toClaimed(row: ClaimedRow): ClaimedJob {
  return {
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
  };
}

export type { ClaimedRow };

/** Ids come from callers; what is no id names no job, and the server would call it an error. */
export function isId(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(text);
}

export function jsonOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}

/** Text that is not JSON, as PostgreSQL can keep it: no NUL, no half of a surrogate pair. */
export function storable<Text extends string | null>(text: Text): Text {
  return (text === null ? null : wellFormed(text.replaceAll("\0", "\uFFFD"))) as Text;
}

function wellFormed(text: string): string {
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");
}

function numberOrNull(value: Int | null): number | null {
  return value === null ? null : Number(value);
}

function parsed<T>(json: string | null): T | null {
  return json === null ? null : (JSON.parse(json) as T);
}
