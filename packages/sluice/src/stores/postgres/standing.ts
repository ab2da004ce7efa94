/**
 * Where jobs stand: who is ahead, who holds their key, how their types get on. Counts at most 1,001 for each job, in one statement
 * for all, so that a page costs the same with a thousand jobs pending and with a million.
 */
import type { AttemptError, Controls, JobId } from "../../job.js";
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

type PackedJob = Omit<WaitingJob, "error" | "controls"> & {
  readonly error: string | null;
  readonly controls: string | null;
};

function toJob({ error, controls, ...job }: PackedJob): WaitingJob {
  return {
    ...job,
    controls: controls === null ? null : (JSON.parse(controls) as Controls),
    error: error === null ? null : (JSON.parse(error) as AttemptError),
  };
}

async function typesOf(sql: Sql, types: readonly string[]): Promise<readonly TypeStanding[]> {
  const rows = await sql.rows<{ type: string; processing: number; spent: number | null; runs: string | null }>(
    selectTypes,
    [types],
  );
  return rows.map(({ type, processing, spent, runs }) => ({
    type,
    processing,
    spentUntil: spent,
    runMs: JSON.parse(runs ?? "[]") as number[],
  }));
}

// Primary keys of jobs, history and keys; jobs_ready, backwards from the place of each job: no dead entries of the head are met.
const selectStanding = `
  with wanted as materialized (
    select id, type, version, state, run_at, attempt, error, unique_key, -priority as urgency, controls, held_by,
      case
        when state = 'pending' then rank
        when state in ('scheduled', 'retrying') and run_at <= :now
          then case when controls is null or controls::json ->> 'group' is null then run_at * 1000 else rank end
      end as rank
    from sluice.jobs
    where id = any ($1::uuid[])
    union all
    select id, type, version, state, run_at, attempt, error, null, null, null, null, null
    from sluice.history
    where id = any ($1::uuid[])
  )
  select :now as now,
    json_agg(json_build_object(
      'id', id, 'type', type, 'version', version, 'state', state, 'runAt', run_at, 'attempt', attempt, 'error', error, 'controls', controls, 'heldBy', held_by,
      'ahead', case
        when rank is not null then (
          select count(*)
          from (
            select 1
            from sluice.jobs as job
            where job.state = 'pending'
              and job.type = wanted.type
              and (-job.priority, job.rank, job.id) < (wanted.urgency, wanted.rank, wanted.id)
            order by -job.priority desc, job.rank desc, job.id desc
            limit 1001
          ) as before
        )
      end,
      'holder', case when state = 'blocked' then (select job from sluice.keys where key = wanted.unique_key) end
    ))::text as jobs
  from wanted`;

// Workers, then jobs_held by worker and type, as a claim counts; history_type, backwards, a bounded number.
const selectTypes = `
  select wanted.type,
    (
      select count(*)
      from sluice.workers
      join sluice.jobs as held on held.worker_id = workers.id and held.type = wanted.type and held.state = 'processing'
    )::int as processing,
    (select spent_until from sluice.rates where name = wanted.type) as spent,
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
