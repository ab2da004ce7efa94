/**
 * The settings of types as they are kept: read by every claim (routines.ts), changed by operators.
 */
import { changeSettings, doesReplan, hasIntake, isGated, parseSettings, pausedUntil } from "../../settings.js";
import type { SettingsAnswer, SettingsChange, TypeSettings } from "../../settings.js";
import { appendAudit } from "./audit.js";
import type { Effects } from "./effects.js";
import { replan } from "./hold.js";
import type { Sql } from "./sql.js";

export async function settings(sql: Sql): Promise<readonly TypeSettings[]> {
  const rows = await sql.rows<{ type: string; settings: string }>(selectAll);
  return rows.map((row) => parseSettings(row.type, row.settings));
}

/** In a transaction of its own: one change of a type after the other. */
export async function setType(sql: Sql, change: SettingsChange, effects: Effects): Promise<SettingsAnswer> {
  await sql.rows(lockType, [change.type]);
  const [row] = await sql.rows<{ now: number | string; settings: string | null }>(selectOne, [change.type]);
  const before = parseSettings(change.type, row!.settings);
  const now = Number(row!.now);
  const changed = changeSettings(before, change, now);
  if (changed === null) return { outcome: "stale", settings: before };
  await keepSettings(sql, changed.settings);
  await appendAudit(sql, [changed.entry], now);
  if (doesReplan(before, changed.settings)) await replan(sql, change.type, effects);
  effects.wake();
  return { outcome: "applied", settings: changed.settings };
}

/** In a transaction of its own. */
export async function importSettings(sql: Sql, settings: readonly TypeSettings[]): Promise<number> {
  let imported = 0;
  for (const each of [...settings].sort((a, b) => (a.type < b.type ? -1 : 1))) {
    await sql.rows(lockType, [each.type]);
    const [row] = await sql.rows<{ settings: string | null }>(selectOne, [each.type]);
    if (row!.settings !== null) continue;
    await keepSettings(sql, each);
    imported += 1;
  }
  return imported;
}

async function keepSettings(sql: Sql, settings: TypeSettings): Promise<void> {
  const until = pausedUntil(settings);
  await sql.rows(upsert, [
    settings.type,
    until !== null,
    until === Infinity ? null : until,
    settings.concurrency,
    JSON.stringify(settings),
    isGated(settings),
    hasIntake(settings),
    settings.breaker?.level ?? null,
  ]);
}

const lockType = "select pg_advisory_xact_lock(7562600, hashtext($1 || ' of :schema'))";

// Primary key, in its order.
const selectAll = 'select type, settings from sluice.settings order by type collate "C"';

// Primary key.
const selectOne = "select :now as now, (select settings from sluice.settings where type = $1) as settings";

// Primary key.
const upsert = `
  insert into sluice.settings (type, is_paused, paused_until, concurrency, settings, is_gated, has_intake, breaker_level)
  values ($1, $2, $3, $4, $5, $6, $7, $8)
  on conflict (type) do update
  set is_paused = excluded.is_paused, paused_until = excluded.paused_until, concurrency = excluded.concurrency,
    settings = excluded.settings, is_gated = excluded.is_gated, has_intake = excluded.has_intake,
    breaker_level = excluded.breaker_level`;
