/**
 * Jobs that a claim put aside, because their concurrency key was full or the rate of their key spent, and how they come back.
 */
import type { JobState } from "../../job.js";
import type { Effects } from "./effects.js";
import { forgetSpent } from "./rates.js";
import type { Sql } from "./sql.js";

/** Whoever claims jobs of a type that has limits does so alone, and so does whoever makes room in it. Until the transaction ends. */
export async function lockLimits(sql: Sql, types: Iterable<string>): Promise<void> {
  for (const type of [...new Set(types)].sort()) await sql.rows(lockType, [type]);
}

/** One job less has each of these keys and is pending or processing: as many that wait for it may be pending. */
export async function freeKeys(sql: Sql, keys: readonly string[], effects: Effects): Promise<void> {
  if (keys.length === 0) return;
  // Nobody claims between the look and the commit: a job that is being blocked now would wait for ever.
  await lockLimits(sql, keys.map(typeOf));
  const places = new Map<string, number>();
  for (const key of keys) places.set(key, (places.get(key) ?? 0) + 1);
  const rows = await sql.rows<FreedRow>(letNextGoOn, [[...places.keys()], [...places.values()]]);
  land(rows, effects);
}

/** The limits of the type have changed: what they made jobs wait for is not so any more. The next claim will see. */
export async function replan(sql: Sql, type: string, effects: Effects): Promise<void> {
  await lockLimits(sql, [type]);
  land(await sql.rows<FreedRow>(letAllGoOn, [type]), effects);
  await forgetSpent(sql, type);
}

/** Where a place was left while nobody looked (a job of an unknown version stood in it), one more goes on. */
export async function freeStuckKeys(sql: Sql, effects: Effects): Promise<void> {
  const stuck = await sql.rows<{ key: string }>(selectStuckKeys);
  await freeKeys(
    sql,
    stuck.map(({ key }) => key),
    effects,
  );
}

interface FreedRow {
  readonly type: string;
  readonly priority: number;
  readonly rank: number | string;
}

function land(rows: readonly FreedRow[], effects: Effects): void {
  for (const { type, priority, rank } of rows) {
    effects.moved({
      job: { type, priority, state: "pending" satisfies JobState, runAt: 0 },
      rank: Number(rank) / 1_000,
    });
  }
}

/** Keys begin with their type. */
function typeOf(key: string): string {
  return key.slice(0, key.indexOf(" "));
}

// As in claim_2 (routines.ts).
const lockType = "select pg_advisory_xact_lock(7562599, hashtext($1 || ' of :schema'))";

// jobs_for_key, the first ones of each key; then primary key.
const letNextGoOn = `
  with next as materialized (
    select waiting.id
    from unnest($1::text[], $2::int[]) as freed (key, places)
    cross join lateral (
      select job.id
      from sluice.jobs as job
      where job.state = 'blocked'
        and job.held_by = 'concurrency_key'
        and job.concurrency_key = freed.key
      order by -job.priority, job.rank, job.id
      limit freed.places
      for no key update skip locked
    ) as waiting
  ),
  freed as (
    update sluice.jobs as job
    set state = 'pending', held_by = null
    from next
    where job.id = next.id
    returning job.type, job.priority, job.rank
  ),
  counted as (
    insert into sluice.deltas (type, state, n)
    select freed.type, change.state::sluice.job_state, change.sign * count(*)
    from freed
    cross join (values ('blocked', -1), ('pending', 1)) as change (state, sign)
    group by freed.type, change.state, change.sign
  )
  select type, priority, rank from freed`;

// jobs_held_back; then primary key. All of them: an operator changes a limit, and those that are too many are put aside again.
const letAllGoOn = `
  with aside as materialized (
    select job.id, job.state
    from sluice.jobs as job
    where job.type = $1
      and job.held_by is not null
      and job.held_by <> 'rollout'
      and job.state::text in ('blocked', 'scheduled', 'pending')
    for no key update
  ),
  freed as (
    update sluice.jobs as job
    set state = 'pending', held_by = null, run_at = case when job.state = 'scheduled' then :now else job.run_at end
    from aside
    where job.id = aside.id
    returning job.type, job.priority, job.rank, aside.state as left_state
  ),
  counted as (
    insert into sluice.deltas (type, state, n)
    select type, left_state, -count(*) from freed where left_state <> 'pending' group by type, left_state
    union all
    select type, 'pending', count(*) from freed where left_state <> 'pending' group by type
  )
  select type, priority, rank from freed`;

// jobs_for_key: a step for each key that jobs wait for; then jobs_in_key.
const selectStuckKeys = `
  with recursive waited (key) as (
    select min(concurrency_key) from sluice.jobs where state = 'blocked' and held_by = 'concurrency_key'
    union all
    select (
      select min(job.concurrency_key)
      from sluice.jobs as job
      where job.state = 'blocked'
        and job.held_by = 'concurrency_key'
        and job.concurrency_key > waited.key
    )
    from waited
    where waited.key is not null
  )
  select key
  from waited
  where key is not null
    and not exists (select 1 from sluice.jobs as job where job.state = 'processing' and job.concurrency_key = waited.key)`;
