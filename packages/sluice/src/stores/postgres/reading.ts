/**
 * Questions that change nothing. None of them counts rows, and each page follows the ids.
 */
import { jobStates } from "../../job.js";
import type { JobId, JobRecord, JobState } from "../../job.js";
import type { JobFilter, ListPage, ListQuery, TypeCounts } from "../../store.js";
import { historyColumns, isId, jobColumns, storable, toRecord } from "./rows.js";
import type { JobRow } from "./rows.js";
import type { Sql } from "./sql.js";

export async function get(sql: Sql, ids: readonly JobId[]): Promise<readonly (JobRecord | null)[]> {
  const known = ids.filter(isId);
  if (known.length === 0) return ids.map(() => null);
  const rows = await sql.rows<JobRow>(selectByIds, [known]);
  const records = new Map(rows.map((row) => [row.id, toRecord(row)]));
  return ids.map((id) => records.get(id) ?? null);
}

export async function list(sql: Sql, { filter, page }: ListQuery): Promise<ListPage> {
  const rows = await selectPage<JobRow>(sql, { filter, page }, [jobColumns, historyColumns]);
  return cut(rows.map(toRecord), page.limit, (jobs, next) => ({ jobs, next }));
}

export async function pageOfIds(
  sql: Sql,
  { filter, page }: ListQuery,
): Promise<{ readonly ids: readonly JobId[]; readonly next: JobId | null }> {
  const rows = await selectPage<{ id: JobId }>(sql, { filter, page }, ["job.id", "job.id"]);
  return cut(rows, page.limit, (taken, next) => ({ ids: taken.map(({ id }) => id), next }));
}

/** One more row than asked for shows whether there is a next page. */
function cut<Row extends { readonly id: JobId }, Answer>(
  rows: readonly Row[],
  limit: number,
  answer: (rows: readonly Row[], next: JobId | null) => Answer,
): Answer {
  const taken = rows.slice(0, limit);
  return answer(taken, rows.length > limit ? (taken.at(-1)?.id ?? null) : null);
}

const overStates: readonly JobState[] = ["completed", "cancelled"];

/** Newest id first. Primary keys, backwards; with a type, jobs_failed and history_type, with a pair of a correlation its primary key. */
async function selectPage<Row>(
  sql: Sql,
  { filter, page }: ListQuery,
  [ofJobs, ofHistory]: readonly [string, string],
): Promise<readonly Row[]> {
  const { conditions, values } = conditionsOf(filter);
  const add = (value: unknown) => `$${values.push(value)}`;
  if (page.before !== null) {
    if (!isId(page.before)) return [];
    conditions.push(`job.id < ${add(page.before)}::uuid`);
  }
  const where = conditions.length === 0 ? "" : `where ${conditions.join("\n    and ")}`;
  const limit = `${add(page.limit + 1)}::int`;
  const sources = [
    ...(filter.states?.every((state) => overStates.includes(state)) ? [] : [{ table: "jobs", columns: ofJobs }]),
    ...(filter.states?.some((state) => overStates.includes(state)) === false
      ? []
      : [{ table: "history", columns: ofHistory }]),
  ];
  const selects = sources.map(
    ({ table, columns }) => `
  (
    select ${columns}
    from sluice.${table} as job
    ${where}
    order by job.id desc
    limit ${limit}
  )`,
  );
  if (selects.length === 0) return [];
  return sql.rows<Row>(
    `select * from (${selects.join("\n  union all")}\n) as page\norder by id desc\nlimit ${limit}`,
    values,
  );
}

function conditionsOf({ types, states, failReasons, correlation, createdAfter, createdBefore }: JobFilter) {
  const values: unknown[] = [];
  const conditions: string[] = [];
  const add = (value: unknown) => `$${values.push(value)}`;
  if (types !== undefined) conditions.push(`job.type = any (${add(types)}::text[])`);
  if (states !== undefined) conditions.push(`job.state = any (${add(states)}::sluice.job_state[])`);
  if (failReasons !== undefined) conditions.push(`job.fail_reason = any (${add(failReasons)}::text[])`);
  for (const [name, value] of Object.entries(correlation ?? {})) {
    conditions.push(
      `exists (select 1 from sluice.correlations as pair where pair.id = job.id and pair.name = ${add(storable(name))} and pair.value = ${add(storable(value))})`,
    );
  }
  if (createdAfter !== undefined) conditions.push(`job.created_at > ${add(createdAfter)}::double precision`);
  if (createdBefore !== undefined) conditions.push(`job.created_at < ${add(createdBefore)}::double precision`);
  return { conditions, values };
}

export async function counts(
  sql: Sql,
  { types }: { readonly types?: readonly string[] } = {},
): Promise<readonly TypeCounts[]> {
  const rows = await sql.rows<{ type: string; state: JobState; n: number | string }>(sumCounts, [types ?? null]);
  const byType = new Map<string, Record<JobState, number>>();
  for (const { type, state, n } of rows) {
    const counts = byType.get(type) ?? noJobs();
    counts[state] = Number(n);
    byType.set(type, counts);
  }
  return [...byType].map(([type, counts]) => ({ type, counts }));
}

function noJobs(): Record<JobState, number> {
  return Object.fromEntries(jobStates.map((state) => [state, 0])) as Record<JobState, number>;
}

// Primary keys.
const selectByIds = `
  select ${jobColumns}
  from sluice.jobs as job
  where job.id = any ($1::uuid[])
  union all
  select ${historyColumns}
  from sluice.history as job
  where job.id = any ($1::uuid[])`;

// Full scans: a row per type and state, and what was appended since the last tidying.
const sumCounts = `
  select type, state::text, sum(n) as n
  from (
    select type, state, n from sluice.counts
    union all
    select type, state, n from sluice.deltas
  ) as counted
  where $1::text[] is null or type = any ($1::text[])
  group by type, state
  order by type, state`;
