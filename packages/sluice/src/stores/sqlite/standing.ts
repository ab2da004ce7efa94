/**
 * Where jobs stand: who is ahead, who holds their key, how their types get on. Counts at most 1,001 for each job, in one statement
 * for all, so that a page costs the same with a thousand jobs pending and with a million.
 */
import type { AttemptError, Controls, HeldBy, JobId, JobState } from "../../job.js";
import type { Standing, TypeStanding, WaitingJob } from "../../store.js";
import { spentOf } from "./rates.js";
import type { Session } from "./session.js";

const keptRuns = 50;
/** Jobs that ended last, of all types: what a look at how long jobs run may cost. */
const recentlyEnded = 500;

export function standing(session: Session, ids: readonly JobId[]): Standing {
  const rows = session.sql(selectStanding).all(JSON.stringify(ids), session.now) as StandingRow[];
  const jobs = new Map(rows.map((row) => [row.id, toJob(row)]));
  const types = [...new Set(rows.filter(({ ahead }) => ahead !== null).map(({ type }) => type))];
  return {
    now: session.now,
    jobs: ids.map((id) => jobs.get(id) ?? null),
    types: types.length === 0 ? [] : typesOf(session, types),
  };
}

interface StandingRow {
  readonly id: string;
  readonly type: string;
  readonly version: number;
  readonly state: JobState;
  readonly run_at: number;
  readonly attempt: number;
  readonly error: string | null;
  readonly controls: string | null;
  readonly held_by: HeldBy | null;
  readonly ahead: number | null;
  readonly holder: string | null;
}

function toJob({ run_at: runAt, held_by: heldBy, controls, error, ...job }: StandingRow): WaitingJob {
  return {
    ...job,
    runAt,
    heldBy,
    controls: controls === null ? null : (JSON.parse(controls) as Controls),
    error: error === null ? null : (JSON.parse(error) as AttemptError),
  };
}

function typesOf(session: Session, types: readonly string[]): readonly TypeStanding[] {
  const wanted = JSON.stringify(types);
  const counts = session.sql(countProcessing).all(wanted) as { type: string; processing: number }[];
  const runs = session.sql(selectRuns).all(recentlyEnded, wanted) as { type: string; run_ms: number }[];
  const spent = spentOf(session, types);
  const processing = new Map(counts.map((count) => [count.type, count.processing]));
  const runMs = new Map<string, number[]>(types.map((type) => [type, []]));
  for (const run of runs) {
    const ofType = runMs.get(run.type)!;
    if (ofType.length < keptRuns) ofType.push(run.run_ms);
  }
  return types.map((type) => ({
    type,
    processing: processing.get(type) ?? 0,
    spentUntil: spent.get(type) ?? null,
    runMs: runMs.get(type)!,
  }));
}

// Unique index on id, once for each; sluice_jobs_key for those that are blocked. Ahead: sluice_jobs_ready alone, in three ranges, as
// SQLite compares no rows against an index of two directions. Measured beside reading the head of each type once (100,000 pending, a
// page of 50): 8 ms and not 1 where all are of one type, 5 ms and not 100 where each is of another. The thread writes for everybody.
const selectStanding = `
  with wanted as materialized (
    select job.seq, job.id, job.type, job.version, job.state, job.run_at, job.attempt, job.error, job.unique_key, job.priority,
      job.controls, job.held_by,
      case
        when job.state = 'pending' then job.rank
        when job.state in ('scheduled', 'retrying') and job.run_at <= ?2
          then case when job.controls ->> 'group' is null then job.run_at * 1000 else job.rank end
      end as rank
    from json_each(?1) as asked
    cross join sluice_jobs as job on job.id = asked.value
  )
  select id, type, version, state, run_at, attempt, error, controls, held_by,
    case
      when rank is not null then min(
        1001,
        (
          select count(*)
          from (
            select 1 from sluice_jobs
            where type = wanted.type and state = 'pending' and priority > wanted.priority
            limit 1001
          )
        ) + (
          select count(*)
          from (
            select 1 from sluice_jobs
            where type = wanted.type and state = 'pending' and priority = wanted.priority and rank < wanted.rank
            limit 1001
          )
        ) + (
          select count(*)
          from (
            select 1 from sluice_jobs
            where type = wanted.type and state = 'pending' and priority = wanted.priority and rank = wanted.rank
              and seq < wanted.seq
            limit 1001
          )
        )
      )
    end as ahead,
    case
      when state = 'blocked' then (select holder.id from sluice_jobs as holder where holder.held_key = wanted.unique_key)
    end as holder
  from wanted`;

// sluice_jobs_held, all of it, as a claim counts: what is processing now, on one machine.
const countProcessing = `
  select type, count(*) as processing
  from sluice_jobs
  where state = 'processing'
    and +type in (select value from json_each(?))
  group by type`;

// sluice_jobs_finished, backwards, a bounded number.
const selectRuns = `
  select type, finished_at - started_at as run_ms
  from (
    select type, state, started_at, finished_at
    from sluice_jobs indexed by sluice_jobs_finished
    where state in ('completed', 'cancelled')
      and held_key is null
    order by finished_at desc
    limit ?
  )
  where state = 'completed'
    and type in (select value from json_each(?))`;
