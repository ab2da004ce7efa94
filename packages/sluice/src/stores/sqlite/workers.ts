/**
 * Workers and their leases: who is alive, who was declared lost, and what the lost ones hold.
 */
import type { Hold } from "../../job.js";
import type { BeatAnswer, LostAnswer, WorkerBeat, WorkerRecord } from "../../store.js";
import { parseWorkedTypes } from "../../worked-types.js";
import { claimedColumns } from "./rows.js";
import type { Session } from "./session.js";

/** Registers a worker or renews its lease, unless it was declared lost. */
export function heartbeat(session: Session, beat: WorkerBeat): BeatAnswer {
  const { now } = session;
  const { changes } = session
    .sql(renewLease)
    .run(
      beat.workerId,
      beat.host,
      beat.pid,
      JSON.stringify(beat.types),
      beat.concurrency,
      beat.leaseMs,
      now,
      Math.ceil(now + beat.leaseMs),
    );
  return { lease: Number(changes) === 0 ? "lost" : "held", cancels: cancelsOf(session, beat.workerId) };
}

/** A worker that goes while it holds jobs stays as a lost one: otherwise nobody would ever find those jobs. */
export function retire(session: Session, workerId: string): void {
  session.sql(retireWorker).run(session.now, workerId);
}

/** The lost workers' jobs are packed as those of a claim are; see `unpackClaimed`. */
export interface PackedLost extends Omit<LostAnswer, "jobs"> {
  readonly jobs: string;
  /** Of each job, in their order. */
  readonly workerIds: readonly string[];
}

export function findLost(session: Session, { limit }: { readonly limit: number }): PackedLost {
  const expired = session.sql(loseExpired).all(leaseNow(session)) as { id: string }[];
  return { ...lostJobs(session, { limit }), workers: expired.map(({ id }) => id) };
}

/** Whether there is anything for `findLost` to do: a look without the write lock. */
export function hasExpired(session: Session): boolean {
  return session.sql(selectAnyExpired).get(leaseNow(session)) !== undefined;
}

function leaseNow(session: Session): number {
  const { ms } = session.sql(selectLongestLease).get() as { ms: number | null };
  return session.leaseNow(ms ?? 0);
}

/** Reads only. */
export function lostJobs(session: Session, { limit }: { readonly limit: number }): PackedLost {
  const rows = session.sql(selectLostJobs).all(limit) as { job: string; worker_id: string }[];
  const jobs = `[${rows.map(({ job }) => job).join(",")}]`;
  return { workers: [], jobs, workerIds: rows.map((row) => row.worker_id) };
}

/** Packed as a claim is; see `unpackClaimed`. */
export function heldBy(session: Session, workerId: string): string {
  const rows = session.sql(selectHeldBy).all(workerId) as { job: string }[];
  return `[${rows.map(({ job }) => job).join(",")}]`;
}

export function workers(session: Session): readonly WorkerRecord[] {
  const rows = session.sql(selectWorkers).all() as WorkerRow[];
  return rows.map((row) => ({
    workerId: row.id,
    host: row.host,
    pid: row.pid,
    types: parseWorkedTypes(row.types),
    concurrency: row.concurrency,
    leaseMs: row.lease_ms,
    startedAt: row.started_at,
    leaseExpiresAt: row.lease_expires_at,
    isLost: row.is_lost !== 0,
    processing: row.processing,
  }));
}

export function isLost(session: Session, workerId: string): boolean {
  return (session.sql(selectWorker).get(workerId) as { is_lost: number } | undefined)?.is_lost === 1;
}

/** The row of a worker that claims. One that never sent a heartbeat gets a row that is not listed and has no lease to lose. */
export function claimantOf(session: Session, workerId: string): { readonly seq: number; readonly isLost: boolean } {
  const known = session.sql(selectWorker).get(workerId) as { seq: number; is_lost: number } | undefined;
  if (known !== undefined) return { seq: known.seq, isLost: known.is_lost === 1 };
  const { lastInsertRowid } = session.sql(insertUnlisted).run(workerId, session.now);
  return { seq: Number(lastInsertRowid), isLost: false };
}

/** Jobs of this worker that somebody asked to cancel. */
export function cancelsOf(session: Session, workerId: string): readonly Hold[] {
  return session.sql(selectCancels).all(workerId) as Hold[];
}

interface WorkerRow {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly types: string;
  readonly concurrency: number;
  readonly lease_ms: number;
  readonly started_at: number;
  readonly lease_expires_at: number;
  readonly is_lost: number;
  readonly processing: number;
}

// Unique index on id. A worker that retired and comes back under its old id starts anew.
const renewLease = `
  insert into sluice_workers (id, host, pid, types, concurrency, lease_ms, started_at, lease_expires_at)
  values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
  on conflict (id) do update
  set host = excluded.host, pid = excluded.pid, types = excluded.types, concurrency = excluded.concurrency,
    lease_ms = excluded.lease_ms, lease_expires_at = excluded.lease_expires_at, retired_at = null,
    started_at = case when retired_at is null then started_at else excluded.started_at end
  where is_lost = 0`;

// Unique index on id; sluice_jobs_held.
const retireWorker = `
  update sluice_workers
  set
    is_lost = exists (select 1 from sluice_jobs where worker = sluice_workers.seq and state = 'processing'),
    retired_at = case
      when exists (select 1 from sluice_jobs where worker = sluice_workers.seq and state = 'processing') then null
      else ?
    end
  where id = ?`;

// Full scan: a row per worker process, pruned with retention.
const selectAnyExpired = `
  select 1
  from sluice_workers
  where is_lost = 0
    and retired_at is null
    and lease_expires_at <= ?
  limit 1`;

// Full scan, as above.
const selectLongestLease = `
  select max(lease_ms) as ms
  from sluice_workers
  where is_lost = 0
    and retired_at is null`;

// Full scan, as above.
const loseExpired = `
  update sluice_workers
  set is_lost = 1
  where is_lost = 0
    and retired_at is null
    and lease_expires_at <= ?
  returning id`;

// Full scan of workers, then sluice_jobs_held.
const selectLostJobs = `
  select ${claimedColumns} as job,
    (select sluice_workers.id from sluice_workers where sluice_workers.seq = sluice_jobs.worker) as worker_id
  from sluice_jobs
  where state = 'processing'
    and worker in (select seq from sluice_workers where is_lost = 1)
  order by started_at, seq
  limit ?`;

// Unique index on id, then sluice_jobs_held.
const selectHeldBy = `
  select ${claimedColumns} as job
  from sluice_jobs
  where state = 'processing'
    and worker = (select seq from sluice_workers where sluice_workers.id = ?)
  order by started_at, seq`;

// Full scan of workers, then sluice_jobs_held.
const selectWorkers = `
  select id, host, pid, types, concurrency, lease_ms, started_at, lease_expires_at, is_lost,
    (select count(*) from sluice_jobs where worker = sluice_workers.seq and state = 'processing') as processing
  from sluice_workers
  where retired_at is null
  order by seq`;

// Unique index on id.
const selectWorker = `
  select seq, is_lost
  from sluice_workers
  where id = ?`;

// Unique index on id.
const insertUnlisted = `
  insert into sluice_workers (id, host, pid, types, concurrency, lease_ms, started_at, lease_expires_at, retired_at)
  values (?1, '', 0, '[]', 0, 0, ?2, ?2, ?2)`;

// sluice_workers by its unique id, then sluice_jobs_cancel.
const selectCancels = `
  select job.id, job.epoch
  from sluice_workers as worker
  join sluice_jobs as job on job.worker = worker.seq
  where worker.id = ?
    and job.cancel_requested_at is not null
    and job.state = 'processing'
  order by job.seq`;
