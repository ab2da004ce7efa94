/**
 * What was counted, a row for each type and step.
 */
import { foldRollups, keptStepFor, keptSteps } from "../../rollup.js";
import type { Histogram, NewRollup, Rollup } from "../../rollup.js";
import type { RollupQuery } from "../../store.js";
import type { Sql } from "./sql.js";
import { arrayOf } from "./sql.js";

type Row = Omit<Rollup, "wait" | "run"> & { readonly wait: string; readonly run: string };

/** One statement. */
export async function addRollups(sql: Sql, counted: readonly NewRollup[]): Promise<void> {
  if (counted.length === 0) return;
  await sql.rows(addCounted, [JSON.stringify(counted), arrayOf(keptSteps.map(({ stepMs }) => stepMs))]);
}

export async function rollups(sql: Sql, { types, from, to, stepMs }: RollupQuery): Promise<readonly Rollup[]> {
  const rows = await (types === undefined
    ? sql.rows<Row>(selectAll, [keptStepFor(stepMs), from, to])
    : sql.rows<Row>(selectOf, [keptStepFor(stepMs), from, to, types]));
  const all = rows.map(({ wait, run, ...row }): Rollup => {
    return { ...row, wait: JSON.parse(wait) as Histogram, run: JSON.parse(run) as Histogram };
  });
  return foldRollups(all, stepMs);
}

export async function pruneRollups(sql: Sql, now: number): Promise<void> {
  for (const { stepMs, keptMs } of keptSteps) await sql.rows(deleteOld, [stepMs, now - keptMs]);
}

// Primary key, in its order: so two processes never wait for each other.
const addCounted = `
  insert into sluice.rollups as kept (step_ms, at, type, enqueued, refused, completed, retried, failed, crashed, snoozed, cancelled,
    wait, wait_sum_ms, run, run_sum_ms)
  select step.ms, :now / step.ms * step.ms, new.type, new.enqueued, new.refused, new.completed, new.retried, new.failed, new.crashed,
    new.snoozed, new.cancelled, new.wait, new."waitSumMs", new.run, new."runSumMs"
  from unnest($2::bigint[]) as step (ms)
  cross join jsonb_to_recordset($1::jsonb) as new (
    type text, enqueued bigint, refused bigint, completed bigint, retried bigint, failed bigint, crashed bigint, snoozed bigint,
    cancelled bigint, wait bigint[], "waitSumMs" bigint, run bigint[], "runSumMs" bigint
  )
  order by 1, 2, 3
  on conflict (step_ms, at, type) do update
  set enqueued = kept.enqueued + excluded.enqueued,
    refused = kept.refused + excluded.refused,
    completed = kept.completed + excluded.completed,
    retried = kept.retried + excluded.retried,
    failed = kept.failed + excluded.failed,
    crashed = kept.crashed + excluded.crashed,
    snoozed = kept.snoozed + excluded.snoozed,
    cancelled = kept.cancelled + excluded.cancelled,
    wait = (select array_agg(a + b order by n) from unnest(kept.wait, excluded.wait) with ordinality as both_of (a, b, n)),
    wait_sum_ms = kept.wait_sum_ms + excluded.wait_sum_ms,
    run = (select array_agg(a + b order by n) from unnest(kept.run, excluded.run) with ordinality as both_of (a, b, n)),
    run_sum_ms = kept.run_sum_ms + excluded.run_sum_ms`;

const columns = `step_ms as "stepMs", at, type, enqueued, refused, completed, retried, failed, crashed, snoozed, cancelled,
    array_to_json(wait)::text as wait, wait_sum_ms as "waitSumMs", array_to_json(run)::text as run, run_sum_ms as "runSumMs"`;

// Primary key.
const selectAll = `
  select ${columns}
  from sluice.rollups
  where step_ms = $1
    and at >= $2
    and at < $3`;

// rollups_type.
const selectOf = `
  select ${columns}
  from sluice.rollups
  where type = any ($4::text[])
    and step_ms = $1
    and at >= $2
    and at < $3`;

// Primary key. A bounded number at a time, skipping what another process deletes.
const deleteOld = `
  delete from sluice.rollups
  where (step_ms, at, type) in (
    select step_ms, at, type
    from sluice.rollups
    where step_ms = $1
      and at < $2
    limit 1000
    for update skip locked
  )`;
