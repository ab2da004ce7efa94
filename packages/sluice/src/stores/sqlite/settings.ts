/**
 * The settings of types as they are kept: read by every claim, changed by operators.
 */
import { gateOf, isLimited } from "../../admission.js";
import type { Gate } from "../../admission.js";
import { changeSettings, doesReplan, isGated, parseSettings } from "../../settings.js";
import type { SettingsAnswer, SettingsChange, TypeSettings } from "../../settings.js";
import type { ClaimedType } from "../../store.js";
import { appendAudit } from "./audit.js";
import { replan } from "./hold.js";
import type { Session } from "./session.js";

export function settings(session: Session): readonly TypeSettings[] {
  const rows = session.sql(selectAll).all() as { type: string; settings: string }[];
  return rows.map((row) => parseSettings(row.type, row.settings));
}

export function settingsOf(session: Session, type: string): TypeSettings {
  const row = session.sql(selectOne).get(type) as { settings: string } | undefined;
  return parseSettings(type, row?.settings ?? null);
}

/** What a claim finds in force for one of its types. */
export interface TypeInForce {
  readonly gate: Gate;
  /** Whether its jobs must be asked for; otherwise the room is all there is. */
  readonly isGated: boolean;
  /** Whether what is claimed must start at once. */
  readonly isLimited: boolean;
}

export function inForce(session: Session, wanted: ClaimedType): TypeInForce {
  const settings = settingsOf(session, wanted.type);
  const processing = () => (session.sql(countProcessing).get(wanted.type) as { processing: number }).processing;
  return {
    gate: gateOf(settings, wanted, { now: session.now, processing }),
    isGated: wanted.controls !== null || wanted.company !== null || isGated(settings),
    isLimited: isLimited(settings, wanted),
  };
}

export function setType(session: Session, change: SettingsChange): SettingsAnswer {
  const before = settingsOf(session, change.type);
  const changed = changeSettings(before, change, session.now);
  if (changed === null) return { outcome: "stale", settings: before };
  session.sql(upsert).run(change.type, JSON.stringify(changed.settings));
  appendAudit(session, changed.entry);
  if (doesReplan(before, changed.settings)) replan(session, change.type);
  session.hintWork();
  return { outcome: "applied", settings: changed.settings };
}

// Primary key, in its order.
const selectAll = "select type, settings from sluice_settings order by type";

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
