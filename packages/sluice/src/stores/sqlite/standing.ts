/**
 * Where jobs stand: who is ahead, who holds their key, how their types get on. Looks at the first 1,001 jobs of each type's turn
 * once, instead of counting for every job, so that a page costs the same with a thousand jobs pending and with a million.
 */
import type { AttemptError, JobId, JobState } from "../../job.js";
import type { Standing, TypeStanding, WaitingJob } from "../../store.js";
import type { Session } from "./session.js";

const countedAhead = 1_001;
const keptRuns = 50;
/** Jobs that ended last, of all types: what a look at how long jobs run may cost. */
const recentlyEnded = 500;

export function standing(session: Session, ids: readonly JobId[]): Standing {
  const rows = session.sql(selectStanding).all(JSON.stringify(ids), session.now) as StandingRow[];
  const due = rows.filter(({ rank }) => rank !== null);
  const types = [...new Set(due.map(({ type }) => type))];
  const turns = new Map(types.map((type) => [type, turnOf(session, type)]));
  const jobs = new Map(rows.map((row) => [row.id, toJob(row, turns.get(row.type))]));
  return {
    now: session.now,
    jobs: ids.map((id) => jobs.get(id) ?? null),
    types: types.length === 0 ? [] : typesOf(session, types),
  };
}

interface StandingRow {
  readonly seq: number;
  readonly id: string;
  readonly type: string;
  readonly version: number;
  readonly state: JobState;
  readonly run_at: number;
  readonly attempt: number;
  readonly error: string | null;
  readonly priority: number;
  /** Its place, of a job that is due: also of one that no claim has made pending yet. */
  readonly rank: number | null;
  readonly holder: string | null;
}

type Turn = readonly Pick<StandingRow, "seq" | "priority" | "rank">[];

function turnOf(session: Session, type: string): Turn {
  return session.sql(selectTurn).all(type, countedAhead) as unknown as Turn;
}

function toJob(row: StandingRow, turn: Turn = []): WaitingJob {
  const { id, type, version, state, attempt, holder, error } = row;
  return {
    id,
    type,
    version,
    state,
    runAt: row.run_at,
    attempt,
    error: error === null ? null : (JSON.parse(error) as AttemptError),
    ahead: row.rank === null ? null : aheadOf(row, turn),
    holder,
  };
}

/** By halves: the turn is sorted. */
function aheadOf(row: StandingRow, turn: Turn): number {
  let low = 0;
  let high = turn.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(turn[middle]!, row)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isBefore(a: Turn[number], b: Turn[number]): boolean {
  return (b.priority - a.priority || a.rank! - b.rank! || a.seq - b.seq) < 0;
}

function typesOf(session: Session, types: readonly string[]): readonly TypeStanding[] {
  const wanted = JSON.stringify(types);
  const counts = session.sql(countProcessing).all(wanted) as { type: string; processing: number }[];
  const runs = session.sql(selectRuns).all(recentlyEnded, wanted) as { type: string; run_ms: number }[];
  const processing = new Map(counts.map((count) => [count.type, count.processing]));
  const runMs = new Map<string, number[]>(types.map((type) => [type, []]));
  for (const run of runs) {
    const ofType = runMs.get(run.type)!;
    if (ofType.length < keptRuns) ofType.push(run.run_ms);
  }
  return types.map((type) => ({ type, processing: processing.get(type) ?? 0, runMs: runMs.get(type)! }));
}

// Unique index on id, once for each; sluice_jobs_key for those that are blocked.
const selectStanding = `
  select job.seq, job.id, job.type, job.version, job.state, job.run_at, job.attempt, job.error, job.priority,
    case
      when job.state = 'pending' then job.rank
      when job.state in ('scheduled', 'retrying') and job.run_at <= ?2 then job.run_at * 1000
    end as rank,
    case
      when job.state = 'blocked' then (select holder.id from sluice_jobs as holder where holder.held_key = job.unique_key)
    end as holder
  from json_each(?1) as wanted
  cross join sluice_jobs as job on job.id = wanted.value`;

// sluice_jobs_ready alone, read in its order.
const selectTurn = `
  select seq, priority, rank
  from sluice_jobs
  where type = ?
    and state = 'pending'
  order by priority desc, rank, seq
  limit ?`;

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
