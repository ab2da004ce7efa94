/**
 * The settings of types as they are kept: read by every claim, changed by operators.
 */
import { changeSettings, concurrencyOf, defaultSettings, roomIn } from "../../settings.js";
import type { SettingsAnswer, SettingsChange, SettingsRecord, TypeSettings } from "../../settings.js";
import type { ClaimedType } from "../../store.js";
import type { Session } from "./session.js";

export function settings(session: Session): readonly TypeSettings[] {
  const rows = session.sql(selectAll).all() as { settings: string }[];
  return rows.map((row) => JSON.parse(row.settings) as TypeSettings);
}

function settingsOf(session: Session, type: string): TypeSettings {
  const row = session.sql(selectOne).get(type) as { settings: string } | undefined;
  return row === undefined ? defaultSettings(type) : (JSON.parse(row.settings) as TypeSettings);
}

/** How many more jobs of the type may be processing. */
export function roomFor(session: Session, { type, concurrency }: ClaimedType): number {
  const processing = () => (session.sql(countProcessing).get(type) as { processing: number }).processing;
  return roomIn(settingsOf(session, type), { standard: concurrency, now: session.now, processing });
}

export function limitedOf(session: Session, types: readonly ClaimedType[]): readonly string[] {
  return types
    .filter(({ type, concurrency }) => concurrencyOf(settingsOf(session, type), concurrency) !== null)
    .map(({ type }) => type);
}

export function setType(session: Session, change: SettingsChange): SettingsAnswer {
  const before = settingsOf(session, change.type);
  const changed = changeSettings(before, change, session.now);
  if (changed === null) return { outcome: "stale", settings: before };
  session.sql(upsert).run(change.type, JSON.stringify(changed.settings));
  session.sql(insertRecord).run(change.type, JSON.stringify(changed.record));
  session.hintWork();
  return { outcome: "applied", settings: changed.settings };
}

export function settingsHistory(
  session: Session,
  { type, limit }: { readonly type?: string; readonly limit: number },
): readonly SettingsRecord[] {
  const rows = (
    type === undefined ? session.sql(selectRecords).all(limit) : session.sql(selectRecordsOf).all(type, limit)
  ) as { record: string }[];
  return rows.map(({ record }) => JSON.parse(record) as SettingsRecord);
}

// Primary key, in its order.
const selectAll = "select settings from sluice_settings order by type";

// Primary key.
const selectOne = "select settings from sluice_settings where type = ?";

// sluice_jobs_held, all of it: what is processing now, on one machine. From the jobs themselves, so that nothing can leak.
const countProcessing = `
  select count(*) as processing
  from sluice_jobs
  where state = 'processing'
    and type = ?`;

// Primary key.
const upsert = `
  insert into sluice_settings (type, settings)
  values (?, ?)
  on conflict (type) do update
  set settings = excluded.settings`;

const insertRecord = "insert into sluice_settings_history (type, record) values (?, ?)";

// Primary key, backwards.
const selectRecords = "select record from sluice_settings_history order by seq desc limit ?";

// sluice_settings_history_type, whose entries of one type are in the order of seq.
const selectRecordsOf = "select record from sluice_settings_history where type = ? order by seq desc limit ?";
