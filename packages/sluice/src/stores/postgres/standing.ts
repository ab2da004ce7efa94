/**
 * Where jobs stand: who is ahead, who holds their key, how their types get on. Looks at the first 1,001 jobs of each type's turn
 * once, instead of counting for every job, so that a page costs the same with a thousand jobs pending and with a million.
 */
import type { AttemptError, JobId } from "../../job.js";
import type { Standing, TypeStanding, WaitingJob } from "../../store.js";
import { isId } from "./rows.js";
import type { Sql } from "./sql.js";

/** Two statements at most. Between them jobs go on: it is the present of either that is told, and nobody acts upon it. */
export async function standing(sql: Sql, ids: readonly JobId[]): Promise<Standing> {
  const [row] = await sql.rows<{ now: number | string; jobs: string | null }>(selectStanding, [ids.filter(isId)]);
  const found = JSON.parse(row!.jobs ?? "[]") as readonly PackedJob[];
  const jobs = new Map(found.map((job) => [job.id, toJob(job)]));
  const types = new Set(found.filter(({ ahead }) => ahead !== null).map(({ type }) => type));
  return {
    now: Number(row!.now),
    jobs: ids.map((id) => jobs.get(id) ?? null),
    types: types.size === 0 ? [] : await typesOf(sql, [...types]),
  };
}

type PackedJob = Omit<WaitingJob, "error"> & { readonly error: string | null };

function toJob({ error, ...job }: PackedJob): WaitingJob {
  return { ...job, error: error === null ? null : (JSON.parse(error) as AttemptError) };
}

async function typesOf(sql: Sql, types: readonly string[]): Promise<readonly TypeStanding[]> {
  const rows = await sql.rows<{ type: string; processing: number; runs: string | null }>(selectTypes, [types]);
  return rows.map(({ type, processing, runs }) => ({ type, processing, runMs: JSON.parse(runs ?? "[]") as number[] }));
}

// Primary keys of jobs, history and keys; jobs_ready for each type, read in its order.
const selectStanding = `
  with wanted as materialized (
    select id, type, version, state, run_at, attempt, error, unique_key, -priority as urgency,
      case
        when state = 'pending' then rank
        when state in ('scheduled', 'retrying') and run_at <= :now then run_at * 1000
      end as rank
    from sluice.jobs
    where id = any ($1::uuid[])
    union all
    select id, type, version, state, run_at, attempt, error, null, null, null
    from sluice.history
    where id = any ($1::uuid[])
  ),
  turn as materialized (
    select first.type, first.urgency, first.rank, first.id,
      row_number() over (partition by first.type order by first.urgency, first.rank, first.id) - 1 as ahead
    from (select distinct type from wanted where rank is not null) as due
    cross join lateral (
      select job.type, -job.priority as urgency, job.rank, job.id
      from sluice.jobs as job
      where job.state = 'pending'
        and job.type = due.type
      order by -job.priority, job.rank, job.id
      limit 1001
    ) as first
  )
  select :now as now,
    json_agg(json_build_object(
      'id', wanted.id, 'type', wanted.type, 'version', wanted.version, 'state', wanted.state, 'runAt', wanted.run_at,
      'attempt', wanted.attempt, 'error', wanted.error,
      'ahead', case
        when wanted.rank is null then null
        when wanted.state = 'pending' then coalesce(turn.ahead, 1001)
        else (
          select count(*)
          from turn as before
          where before.type = wanted.type
            and (before.urgency, before.rank, before.id) < (wanted.urgency, wanted.rank, wanted.id)
        )
      end,
      'holder', case when wanted.state = 'blocked' then (select job from sluice.keys where key = wanted.unique_key) end
    ))::text as jobs
  from wanted
  left join turn on turn.id = wanted.id`;

// Workers, then jobs_held by worker and type, as a claim counts; history_type, backwards, a bounded number.
const selectTypes = `
  select wanted.type,
    (
      select count(*)
      from sluice.workers
      join sluice.jobs as held on held.worker_id = workers.id and held.type = wanted.type and held.state = 'processing'
    )::int as processing,
    (
      select json_agg(completed.run_ms)::text
      from (
        select ended.finished_at - ended.started_at as run_ms
        from (
          select id, state, started_at, finished_at
          from sluice.history
          where history.type = wanted.type
          order by id desc
          limit 200
        ) as ended
        where ended.state = 'completed'
        order by ended.id desc
        limit 50
      ) as completed
    ) as runs
  from unnest($1::text[]) as wanted (type)`;
