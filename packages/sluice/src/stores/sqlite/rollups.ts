/**
 * What was counted, a row for each type and step.
 */
import { foldRollups, keptStepFor, keptSteps, mergeCounts, stepOf } from "../../rollup.js";
import type { Histogram, NewRollup, Rollup } from "../../rollup.js";
import type { RollupQuery } from "../../store.js";
import type { Session } from "./session.js";

type Row = Omit<Rollup, "wait" | "run"> & { readonly wait: string; readonly run: string };

export function addRollups(session: Session, counted: readonly NewRollup[]): void {
  for (const { stepMs } of keptSteps) {
    const at = stepOf(session.now, stepMs);
    for (const each of counted) {
      const row = session.sql(selectRollup).get(stepMs, at, each.type) as Row | undefined;
      const counts = row === undefined ? each : mergeCounts(toRollup(row), each);
      session
        .sql(upsertRollup)
        .run(
          stepMs,
          at,
          each.type,
          counts.enqueued,
          counts.refused,
          counts.completed,
          counts.retried,
          counts.failed,
          counts.crashed,
          counts.snoozed,
          counts.cancelled,
          JSON.stringify(counts.wait),
          counts.waitSumMs,
          JSON.stringify(counts.run),
          counts.runSumMs,
        );
    }
  }
}

export function rollups(session: Session, { types, from, to, stepMs }: RollupQuery): readonly Rollup[] {
  const kept = keptStepFor(stepMs);
  const rows = (
    types === undefined
      ? session.sql(selectAll).all(kept, from, to)
      : session.sql(selectOf).all(JSON.stringify(types), kept, from, to)
  ) as Row[];
  return foldRollups(rows.map(toRollup), stepMs);
}

export function pruneRollups(session: Session): void {
  for (const { stepMs, keptMs } of keptSteps) session.sql(deleteOld).run(stepMs, session.now - keptMs);
}

function toRollup({ wait, run, ...row }: Row): Rollup {
  return { ...row, wait: JSON.parse(wait) as Histogram, run: JSON.parse(run) as Histogram };
}

const columns = `step_ms as stepMs, at, type, enqueued, refused, completed, retried, failed, crashed, snoozed, cancelled,
    wait, wait_sum_ms as waitSumMs, run, run_sum_ms as runSumMs`;

// Primary key.
const selectRollup = `
  select ${columns}
  from sluice_rollups
  where step_ms = ?
    and at = ?
    and type = ?`;

// Primary key.
const upsertRollup = `
  insert into sluice_rollups (step_ms, at, type, enqueued, refused, completed, retried, failed, crashed, snoozed, cancelled,
    wait, wait_sum_ms, run, run_sum_ms)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  on conflict (step_ms, at, type) do update
  set enqueued = excluded.enqueued, refused = excluded.refused, completed = excluded.completed, retried = excluded.retried,
    failed = excluded.failed, crashed = excluded.crashed, snoozed = excluded.snoozed, cancelled = excluded.cancelled,
    wait = excluded.wait, wait_sum_ms = excluded.wait_sum_ms, run = excluded.run, run_sum_ms = excluded.run_sum_ms`;

// Primary key, in its order.
const selectAll = `
  select ${columns}
  from sluice_rollups
  where step_ms = ?
    and at >= ?
    and at < ?`;

// sluice_rollups_type.
const selectOf = `
  select ${columns}
  from sluice_rollups
  where type in (select value from json_each(?))
    and step_ms = ?
    and at >= ?
    and at < ?`;

// Primary key. A bounded number at a time.
const deleteOld = `
  delete from sluice_rollups
  where (step_ms, at, type) in (
    select step_ms, at, type
    from sluice_rollups
    where step_ms = ?
      and at < ?
    limit 1000
  )`;
