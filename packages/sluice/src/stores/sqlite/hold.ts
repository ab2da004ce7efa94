/**
 * Jobs that a claim put aside, because their concurrency key was full or the rate of their key spent, and how they come back.
 */
import type { JobState } from "../../job.js";
import { forgetSpent } from "./rates.js";
import type { Session } from "./session.js";

/** As much of a job as is needed to put it aside. */
export interface Held {
  readonly seq: number;
  readonly type: string;
  readonly concurrency_key: string | null;
}

/** Until somebody leaves its key. */
export function block(session: Session, { seq, type }: Held): void {
  session.sql(blockJob).run(seq);
  session.moved(type, "pending", "blocked");
}

/** Until the instant that its rate has given it. */
export function schedule(session: Session, job: Held, at: number): void {
  session.sql(scheduleJob).run(at, job.seq);
  session.moved(job.type, "pending", "scheduled");
  leaveKey(session, job.concurrency_key, { from: "pending", to: "scheduled" });
}

/**
 * Must be called for every job with a concurrency key that changes its state: where one is pending or processing less, the next one
 * that waits for the key may be pending.
 */
export function leaveKey(
  session: Session,
  key: string | null,
  { from, to }: { readonly from: JobState; readonly to: JobState },
): void {
  if (key === null || !isInKey(from) || isInKey(to)) return;
  const next = session.sql(letNextGoOn).get(key) as { type: string } | undefined;
  if (next !== undefined) session.moved(next.type, "blocked", "pending");
}

function isInKey(state: JobState): boolean {
  return state === "pending" || state === "processing";
}

/** The limits of the type have changed: what they made jobs wait for is not so any more. The next claim will see. */
export function replan(session: Session, type: string): void {
  const moved = session.sql(countPutAside).all(type) as { state: "blocked" | "scheduled"; jobs: number }[];
  session.sql(letAllGoOn).run(type, session.now);
  for (const { state, jobs } of moved) session.moved(type, state, "pending", jobs);
  forgetSpent(session, type);
}

/** Where a place was left while nobody looked (a job of an unknown version stood in it), one more goes on. */
export function freeStuckKeys(session: Session): void {
  const stuck = session.sql(selectStuckKeys).all() as { key: string }[];
  for (const { key } of stuck) leaveKey(session, key, { from: "processing", to: "completed" });
}

// Primary key.
const blockJob = "update sluice_jobs set state = 'blocked', held_by = 'concurrency_key' where seq = ?";

// Primary key.
const scheduleJob = "update sluice_jobs set state = 'scheduled', held_by = 'rate', run_at = ? where seq = ?";

// Inner: sluice_jobs_for_key, its first. Outer: primary key.
const letNextGoOn = `
  update sluice_jobs
  set state = 'pending', held_by = null
  where seq = (
    select seq
    from sluice_jobs
    where held_by = 'concurrency_key'
      and state = 'blocked'
      and concurrency_key = ?
    order by priority desc, rank, seq
    limit 1
  )
  returning type`;

// sluice_jobs_held_back. The same jobs that letAllGoOn moves.
const countPutAside = `
  select state, count(*) as jobs
  from sluice_jobs
  where type = ?
    and held_by is not null
    and held_by <> 'rollout'
    and state in ('blocked', 'scheduled')
  group by state`;

// sluice_jobs_held_back.
const letAllGoOn = `
  update sluice_jobs
  set run_at = case when state = 'scheduled' then ?2 else run_at end, state = 'pending', held_by = null
  where type = ?1
    and held_by is not null
    and held_by <> 'rollout'
    and state in ('blocked', 'scheduled', 'pending')`;

// sluice_jobs_for_key: a step for each key that jobs wait for; then sluice_jobs_in_key.
const selectStuckKeys = `
  with recursive waited (key) as (
    select min(concurrency_key) from sluice_jobs where held_by = 'concurrency_key' and state = 'blocked'
    union all
    select (
      select min(concurrency_key)
      from sluice_jobs
      where held_by = 'concurrency_key'
        and state = 'blocked'
        and concurrency_key > waited.key
    )
    from waited
    where waited.key is not null
  )
  select key
  from waited
  where key is not null
    and not exists (select 1 from sluice_jobs where state = 'processing' and concurrency_key = waited.key)`;
