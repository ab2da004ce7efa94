/**
 * Questions that change nothing. None of them counts rows, and each page follows an index in id order or sorts a set that is known to be small.
 */
import { jobStates } from "../../job.js";
import type { JobId, JobRecord, JobState } from "../../job.js";
import type { JobFilter, ListPage, ListQuery, TypeCounts } from "../../store.js";
import { idRange } from "./id-times.js";
import { jobColumns, toRecord } from "./rows.js";
import type { JobRow } from "./rows.js";
import type { Session } from "./session.js";
import type { SqlValue } from "./engine.js";

export function get(session: Session, ids: readonly JobId[]): readonly (JobRecord | null)[] {
  const rows = session.sql(selectByIds).all(JSON.stringify(ids)) as JobRow[];
  const records = new Map(rows.map((row) => [row.id, toRecord(row)]));
  return ids.map((id) => records.get(id) ?? null);
}

export function list(session: Session, query: ListQuery): ListPage {
  const { rows, next } = page(session, query);
  return { jobs: rows.map(toRecord), next };
}

/** One page of the rows that match, newest id first. `next` is null when it reaches the end. */
export function page(
  session: Session,
  { filter, page: { before, limit } }: ListQuery,
): { readonly rows: readonly JobRow[]; readonly next: JobId | null } {
  const { conditions, parameters } = conditionsOf(filter);
  const { from, below } = idRange(session, filter);
  // One upper bound: with two the planner searches by the first and only compares with the second.
  const end = before === null || below === null ? (before ?? below) : before < below ? before : below;
  const bounds = [
    { compare: ">=", bound: from },
    { compare: "<", bound: end },
  ].filter((entry): entry is { compare: string; bound: string } => entry.bound !== null);
  // One more than asked for shows whether there is a next page.
  const select = (source: Source) =>
    session
      .sql(selectPage(source, [...conditions, ...bounds.map(({ compare }) => `${source.id} ${compare} ?`)]))
      .all(...source.parameters, ...parameters, ...bounds.map(({ bound }) => bound), limit + 1) as JobRow[];

  const rows = sourcesOf(session, filter).flatMap(select);
  rows.sort((a, b) => (a.id < b.id ? 1 : -1));
  const taken = rows.slice(0, limit);
  return { rows: taken, next: rows.length > limit ? (taken.at(-1)?.id ?? null) : null };
}

export function counts(
  session: Session,
  { types }: { readonly types?: readonly string[] } = {},
): readonly TypeCounts[] {
  const byType = new Map<string, Record<JobState, number>>();
  for (const { type, state, n } of countRows(session)) {
    if (types !== undefined && !types.includes(type)) continue;
    let states = byType.get(type);
    if (states === undefined) byType.set(type, (states = noJobs()));
    states[state] = n;
  }
  return [...byType].map(([type, states]) => ({ type, counts: states }));
}

interface CountRow {
  readonly type: string;
  readonly state: JobState;
  readonly n: number;
}

function countRows(session: Session): readonly CountRow[] {
  return session.sql(selectCounts).all() as CountRow[];
}

function noJobs(): Record<JobState, number> {
  return Object.fromEntries(jobStates.map((state) => [state, 0])) as Record<JobState, number>;
}

// ── how a page finds its rows ───────────────────────────────────────────────

/** A way into the table: which rows it yields, and the expression to compare and order ids by. */
interface Source {
  readonly from: string;
  readonly where: readonly string[];
  readonly parameters: readonly SqlValue[];
  readonly id: string;
}

/** Up to here, finding the rows of a state by its own index and sorting them is cheaper than walking the ids of all jobs. */
const fewRows = 5_000;

function sourcesOf(session: Session, { types, states, correlation }: JobFilter): readonly Source[] {
  const wanted = countRows(session).filter(
    ({ type, state, n }) =>
      n > 0 && (states === undefined || states.includes(state)) && (types === undefined || types.includes(type)),
  );
  // Otherwise a walk over all ids would end without having found any.
  if (wanted.length === 0) return [];

  const pair = Object.entries(correlation ?? {})[0];
  if (pair !== undefined) {
    // Primary key (name, value, id), backwards.
    const from = "sluice_correlations as pair cross join sluice_jobs as job on job.id = pair.id";
    return [{ from, where: ["pair.name = ?", "pair.value = ?"], parameters: pair, id: "pair.id" }];
  }

  if (states !== undefined) {
    // sluice_jobs_failed, one walk for each type that has any.
    if (states.every((state) => state === "failed")) return wanted.map(({ type }) => failedOf(type));

    // In the order of ids, however many there are.
    if (states.every((state) => state === "cancelled")) return [cancelled];

    const isFew = wanted.reduce((sum, { n }) => sum + n, 0) <= fewRows;
    if (isFew && !states.includes("completed")) {
      // The partial index of each state. The plus keeps the planner from walking the ids instead.
      return [...new Set(states)].map((state) => ({
        from: "sluice_jobs as job",
        where: [stateConditions[state]],
        parameters: [],
        id: "+job.id",
      }));
    }
  }

  // Unique index on id, backwards.
  return [{ from: "sluice_jobs as job", where: [], parameters: [], id: "job.id" }];
}

function failedOf(type: string): Source {
  return {
    from: "sluice_jobs as job indexed by sluice_jobs_failed",
    where: ["job.state = 'failed'", "job.type = ?"],
    parameters: [type],
    id: "job.id",
  };
}

const cancelled: Source = {
  from: "sluice_jobs as job indexed by sluice_jobs_cancelled",
  where: ["job.state = 'cancelled'"],
  parameters: [],
  id: "job.id",
};

/** Written so that each matches the condition of a partial index. */
const stateConditions: Readonly<Record<JobState, string>> = {
  scheduled: "job.state in ('scheduled', 'retrying') and job.state = 'scheduled'",
  pending: "job.state = 'pending'",
  blocked: "job.state = 'blocked'",
  processing: "job.state = 'processing'",
  retrying: "job.state in ('scheduled', 'retrying') and job.state = 'retrying'",
  completed: "job.state = 'completed'",
  failed: "job.state = 'failed'",
  cancelled: "job.state = 'cancelled'",
};

function conditionsOf(filter: JobFilter): {
  readonly conditions: readonly string[];
  readonly parameters: readonly SqlValue[];
} {
  const { types, states, failReasons, correlation, createdAfter, createdBefore } = filter;
  const conditions: string[] = [];
  const parameters: SqlValue[] = [];
  const add = (condition: string, ...values: readonly SqlValue[]) => {
    conditions.push(condition);
    parameters.push(...values);
  };
  if (types !== undefined) add("job.type in (select value from json_each(?))", JSON.stringify(types));
  if (states !== undefined) add("+job.state in (select value from json_each(?))", JSON.stringify(states));
  if (failReasons !== undefined) {
    add("job.fail_reason in (select value from json_each(?))", JSON.stringify(failReasons));
  }
  for (const [name, value] of Object.entries(correlation ?? {})) {
    add(
      "exists (select 1 from sluice_correlations where name = ? and value = ? and sluice_correlations.id = job.id)",
      name,
      value,
    );
  }
  if (createdAfter !== undefined) add("job.created_at > ?", createdAfter);
  if (createdBefore !== undefined) add("job.created_at < ?", createdBefore);
  return { conditions, parameters };
}

function selectPage(source: Source, conditions: readonly string[]): string {
  const where = [...source.where, ...conditions];
  return `
  select ${jobColumns}
  from ${source.from}
  left join sluice_workers as worker on worker.seq = job.worker
  ${where.length === 0 ? "" : `where ${where.join("\n    and ")}`}
  order by ${source.id} desc
  limit ?`;
}

// Unique index on id, once for each.
const selectByIds = `
  select ${jobColumns}
  from json_each(?) as wanted
  cross join sluice_jobs as job on job.id = wanted.value
  left join sluice_workers as worker on worker.seq = job.worker`;

// Full scan: a row per type and state.
const selectCounts = `
  select type, state, n
  from sluice_counts
  order by type`;
