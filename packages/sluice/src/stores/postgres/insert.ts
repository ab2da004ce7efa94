/**
 * Puts new jobs into the table: one statement for any number of them, with their correlations and the change of the counts.
 */
import type { JobState } from "../../job.js";
import type { NewJob } from "../../store.js";
import { jsonOrNull } from "./rows.js";
import type { Sql } from "./sql.js";

interface Placed {
  readonly now: number;
  readonly states: readonly JobState[];
}

/**
 * @param placed Where the caller has decided already: the present, and each job's first state.
 * @returns The present; and the ids that were added, or null when all were.
 */
export async function insertJobs(
  sql: Sql,
  jobs: readonly NewJob[],
  placed?: Placed,
): Promise<{ readonly now: number; readonly added: ReadonlySet<string> | null }> {
  const { now, added } = (
    await sql.rows<{ now: number | string; added: string | null }>(insert, [
      jobs.map(({ id }) => id),
      jobs.map(({ type }) => type),
      jobs.map(({ version }) => version),
      jobs.map(({ priority }) => priority),
      jobs.map(({ maxAttempts }) => maxAttempts),
      jobs.map(({ payload }) => payload),
      columnOf(jobs, ({ due }) => (due === null ? null : "at" in due ? due.at : due.afterMs)),
      columnOf(jobs, ({ due }) => (due === null || "at" in due ? null : true)),
      columnOf(jobs, ({ correlation }) => jsonOrNull(correlation)),
      columnOf(jobs, ({ trace }) => jsonOrNull(trace)),
      columnOf(jobs, ({ blob }) => blob),
      columnOf(jobs, ({ unique }) => unique?.key ?? null),
      columnOf(jobs, ({ unique }) => unique?.holdWhile ?? null),
      columnOf(jobs, ({ unique }) => unique?.periodMs ?? null),
      placed?.states ?? null,
      placed?.now ?? null,
    ])
  )[0]!;
  return { now: Number(now), added: added === null ? null : new Set(JSON.parse(added) as string[]) };
}

/** Null where every job has none: the server then fills it in, and nothing travels. */
function columnOf<T>(jobs: readonly NewJob[], valueOf: (job: NewJob) => T | null): readonly (T | null)[] | null {
  const values = jobs.map(valueOf);
  return values.some((value) => value !== null) ? values : null;
}

// Primary keys of history (the partitions that the ids name), jobs and correlations.
const insert = `
  with sent as (
    select sent.*,
      coalesce($16::bigint, :now) as now,
      case
        when due is null then coalesce($16::bigint, :now)
        when is_delay then ceil(coalesce($16::bigint, :now) + due)
        else ceil(due)
      end as run_at
    from unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::int[], $6::text[], $7::double precision[], $8::boolean[],
      $9::text[], $10::text[], $11::uuid[], $12::text[], $13::text[], $14::double precision[], $15::text[])
      as sent (id, type, version, priority, max_attempts, payload, due, is_delay,
        correlation, trace, blob, unique_key, unique_while, unique_period_ms, state)
    where id not in (select history.id from sluice.history where history.id = any ($1::uuid[]))
  ),
  added as (
    insert into sluice.jobs as job (id, type, state, version, priority, rank, max_attempts, run_at, created_at,
      unique_key, unique_while, unique_period_ms, blob, correlation, trace, payload)
    select id, type,
      coalesce(state, case when run_at > now then 'scheduled' else 'pending' end)::sluice.job_state,
      version, priority, coalesce($16::bigint * 1000, :now_us), max_attempts, run_at, now,
      unique_key, unique_while, unique_period_ms, blob, correlation, trace, payload
    from sent
    on conflict (id) do nothing
    returning job.id, job.type, job.state, job.correlation
  ),
  correlated as (
    insert into sluice.correlations (name, value, id)
    select pair.key, pair.value, added.id
    from added
    cross join lateral json_each_text(added.correlation::json) as pair
    where added.correlation is not null
  ),
  counted as (
    insert into sluice.deltas (type, state, n)
    select type, state, count(*)
    from added
    group by type, state
  )
  select coalesce($16::bigint, :now) as now,
    case
      when (select count(*) from added) = cardinality($1::uuid[]) then null
      else (select coalesce(json_agg(id), '[]')::text from added)
    end as added`;
