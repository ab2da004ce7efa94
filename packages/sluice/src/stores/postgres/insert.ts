/**
 * Puts new jobs into the table: one statement for any number of them, with their correlations and the change of the counts.
 */
import { JobsError } from "../../errors.js";
import type { HeldBy, JobState } from "../../job.js";
import type { NewJob } from "../../store.js";
import { isId, jsonOrNull } from "./rows.js";
import { arrayOf } from "./sql.js";
import type { Sql } from "./sql.js";

interface Placed {
  readonly now: number;
  readonly states: readonly JobState[];
  /** In µs; null: behind all others. */
  readonly ranks: readonly (number | null)[];
  readonly heldBys: readonly (HeldBy | null)[];
}

/**
 * @param placed Where the caller has decided already: the present, and each job's first state.
 * @returns The present; and the ids that were added, or null when all were. "ask": none was, for each must be asked for.
 */
export async function insertJobs(
  sql: Sql,
  jobs: readonly NewJob[],
  placed?: Placed,
): Promise<{ readonly now: number; readonly added: ReadonlySet<string> | null | "ask" }> {
  const { now, added } = (
    await sql.rows<{ now: number | string; added: string | null }>(addJobs, [
      arrayOf(jobs.map(({ id }) => checkId(id))),
      jobs.map(({ type }) => type),
      arrayOf(jobs.map(({ version }) => version)),
      arrayOf(jobs.map(({ priority }) => priority)),
      arrayOf(jobs.map(({ maxAttempts }) => maxAttempts)),
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
      nullWhereNone(placed?.ranks ?? []),
      columnOf(jobs, ({ controls }) => jsonOrNull(controls)),
      nullWhereNone(placed?.heldBys ?? []),
      placed?.now ?? null,
    ])
  )[0]!;
  if (added === "ask") return { now: Number(now), added };
  return { now: Number(now), added: added === null ? null : new Set(JSON.parse(added) as string[]) };
}

/** @throws {JobsError} INVALID_OPTIONS */
export function checkId(id: string): string {
  if (isId(id)) return id;
  throw new JobsError(
    "INVALID_OPTIONS",
    `"${id}" cannot be the id of a job in PostgreSQL. Give UUIDs in lower case, best of version 7.`,
    {
      option: "newId",
      value: id,
    },
  );
}

/** Null where every job has none: the server then fills it in, and nothing travels. */
function columnOf<T>(jobs: readonly NewJob[], valueOf: (job: NewJob) => T | null): readonly (T | null)[] | null {
  return nullWhereNone(jobs.map(valueOf));
}

function nullWhereNone<T>(values: readonly (T | null)[]): readonly (T | null)[] | null {
  return values.some((value) => value !== null) ? values : null;
}

const addJobs = `
  select out_now as now, out_added as added
  from sluice.add_jobs_2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
    coalesce($19::bigint, :own_now))`;
