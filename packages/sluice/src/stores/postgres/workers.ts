/**
 * Workers and their leases: who is alive, who was declared lost, and what the lost ones hold. All by the server's clock.
 */
import type { Hold } from "../../job.js";
import type { BeatAnswer, ClaimedJob, LostAnswer, WorkerBeat, WorkerRecord } from "../../store.js";
import { parseWorkedTypes } from "../../worked-types.js";
import { claimedColumns, storable, toClaimed } from "./rows.js";
import type { ClaimedRow } from "./rows.js";
import type { Sql } from "./sql.js";

/** Registers a worker or renews its lease, unless it was declared lost. One statement. */
export async function heartbeat(sql: Sql, beat: WorkerBeat): Promise<BeatAnswer> {
  const [row] = await sql.rows<{ is_held: boolean; cancels: string | null }>(renewLease, [
    beat.workerId,
    storable(beat.host),
    beat.pid,
    JSON.stringify(beat.types),
    beat.concurrency,
    Math.ceil(beat.leaseMs),
  ]);
  return { lease: row!.is_held ? "held" : "lost", cancels: JSON.parse(row!.cancels ?? "[]") as Hold[] };
}

/** A worker that goes while it holds jobs stays as a lost one: otherwise nobody would ever find those jobs. */
export async function retire(sql: Sql, workerId: string): Promise<void> {
  const lost = await sql.rows(loseHolding, [workerId]);
  if (lost.length === 0) await sql.rows(deleteWorker, [workerId]);
}

export async function heldBy(sql: Sql, workerId: string): Promise<readonly ClaimedJob[]> {
  const [row] = await sql.rows<{ jobs: string | null }>(selectHeldBy, [workerId]);
  return (JSON.parse(row!.jobs ?? "[]") as ClaimedRow[]).map(toClaimed);
}

/** One statement: asked for every other second by every process. */
export async function findLost(sql: Sql, { limit }: { readonly limit: number }): Promise<LostAnswer> {
  const [row] = await sql.rows<{ expired: string | null; jobs: string | null }>(loseExpired, [limit]);
  const lost = JSON.parse(row!.jobs ?? "[]") as (readonly [ClaimedRow, string])[];
  return {
    workers: JSON.parse(row!.expired ?? "[]") as string[],
    jobs: lost.map(([job, workerId]) => ({ ...toClaimed(job), workerId })),
  };
}

export async function workers(sql: Sql): Promise<readonly WorkerRecord[]> {
  const rows = await sql.rows<WorkerRow>(selectWorkers);
  return rows.map((row) => ({
    workerId: row.id,
    host: row.host,
    pid: row.pid,
    types: parseWorkedTypes(row.types),
    concurrency: row.concurrency,
    leaseMs: Number(row.lease_ms),
    startedAt: Number(row.started_at),
    leaseExpiresAt: Number(row.lease_expires_at),
    isLost: row.is_lost,
    processing: Number(row.processing),
  }));
}

interface WorkerRow {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly types: string;
  readonly concurrency: number;
  readonly lease_ms: number | string;
  readonly started_at: number | string;
  readonly lease_expires_at: number | string;
  readonly is_lost: boolean;
  readonly processing: number | string;
}

// Primary key; jobs_cancel.
const renewLease = `
  with renewed as (
    insert into sluice.workers as worker (id, host, pid, types, concurrency, lease_ms, started_at, lease_expires_at)
    values ($1, $2, $3, $4, $5, $6, :now, :now + $6::bigint)
    on conflict (id) do update
    set host = excluded.host, pid = excluded.pid, types = excluded.types, concurrency = excluded.concurrency,
      lease_ms = excluded.lease_ms, lease_expires_at = excluded.lease_expires_at
    where not worker.is_lost
    returning 1
  )
  select exists (select 1 from renewed) as is_held,
    (
      select json_agg(json_build_object('id', job.id, 'epoch', job.epoch) order by job.started_at, job.id)::text
      from sluice.jobs as job
      where job.worker_id = $1
        and job.state = 'processing'
        and job.is_cancel_requested
    ) as cancels`;

// Primary key; jobs_held.
const loseHolding = `
  update sluice.workers
  set is_lost = true
  where id = $1
    and exists (select 1 from sluice.jobs where jobs.worker_id = $1 and jobs.state = 'processing')
  returning id`;

// Primary key.
const deleteWorker = "delete from sluice.workers where id = $1";

// jobs_held.
const selectHeldBy = `
  select json_agg(${claimedColumns} order by job.started_at, job.id)::text as jobs
  from sluice.jobs as job
  where job.worker_id = $1
    and job.state = 'processing'`;

// Full scan of workers: a row per process. Then jobs_held. What this statement declares lost it does not see as such: hence both.
// A job that somebody has locked is left for the next look: it would keep all others waiting, and may be about to end.
const loseExpired = `
  with expired as (
    update sluice.workers
    set is_lost = true
    where id in (
      select id
      from sluice.workers
      where not is_lost
        and lease_expires_at <= :now
      for update skip locked
    )
    returning id
  ),
  lost as (
    select id from sluice.workers where is_lost
    union
    select id from expired
  )
  select (select json_agg(id)::text from expired) as expired,
    (
      select json_agg(json_build_array(${claimedColumns}, job.worker_id) order by job.started_at, job.id)::text
      from (
        select held.*
        from lost
        join sluice.jobs as held on held.worker_id = lost.id
        where held.state = 'processing'
        order by held.started_at, held.id
        limit $1
        for no key update of held skip locked
      ) as job
    ) as jobs`;

// Full scan of workers, then jobs_held.
const selectWorkers = `
  select id, host, pid, types, concurrency, lease_ms, started_at, lease_expires_at, is_lost,
    (select count(*) from sluice.jobs where jobs.worker_id = workers.id and jobs.state = 'processing') as processing
  from sluice.workers
  order by seq`;
