/**
 * What an operator may change about a type of job while it runs: paused or not, and how many at once. The definition gives the
 * defaults; a change is versioned, kept, and in force at the next claim of every process (OQ2, R1). Pure: stores keep and apply.
 */
import { JobsError } from "./errors.js";

/** No job of the type is claimed. What runs goes on. */
export interface Pause {
  readonly actor: string;
  readonly reason: string | null;
  /** Since when, and until when; null: until it is resumed. ms since 1970 on the store's clock. */
  readonly since: number;
  readonly until: number | null;
}

export interface TypeSettings {
  readonly type: string;
  /** Grows by one with every change. 0: nobody has changed anything. */
  readonly version: number;
  readonly pause: Pause | null;
  /** How many jobs of the type may be processing at once, in all processes together; null: what the definition says. */
  readonly concurrency: number | null;
}

/** What is left out stays as it is; null goes back to the default: not paused, as many as the definition says. */
export interface SettingsPatch {
  readonly pause?: { readonly reason?: string | null; readonly until?: number | null } | null;
  readonly concurrency?: number | null;
}

export interface SettingsChange {
  readonly type: string;
  readonly patch: SettingsPatch;
  /** The version that the operator saw; null: whatever it is. */
  readonly ifVersion: number | null;
  readonly actor: string;
  readonly reason: string | null;
}

/** Who changed what, when and why. */
export interface SettingsRecord {
  readonly at: number;
  readonly actor: string;
  readonly reason: string | null;
  readonly before: TypeSettings;
  readonly after: TypeSettings;
}

/** `stale`: somebody has changed the settings since; they are as answered. */
export interface SettingsAnswer {
  readonly outcome: "applied" | "stale";
  readonly settings: TypeSettings;
}

export const maxConcurrency = 1_000_000;

export function defaultSettings(type: string): TypeSettings {
  return { type, version: 0, pause: null, concurrency: null };
}

/** The settings after the change, or null when it was made for another version. */
export function changeSettings(
  settings: TypeSettings,
  { patch, ifVersion, actor, reason }: SettingsChange,
  now: number,
): { readonly settings: TypeSettings; readonly record: SettingsRecord } | null {
  if (ifVersion !== null && ifVersion !== settings.version) return null;
  const { pause, concurrency } = patch;
  const after: TypeSettings = {
    ...settings,
    version: settings.version + 1,
    ...(pause !== undefined && {
      pause: pause === null ? null : { actor, reason: pause.reason ?? null, since: now, until: pause.until ?? null },
    }),
    ...(concurrency !== undefined && { concurrency }),
  };
  return { settings: after, record: { at: now, actor, reason, before: settings, after } };
}

export function isPaused({ pause }: TypeSettings, now: number): boolean {
  return pause !== null && (pause.until === null || pause.until > now);
}

/** How many of the type may be processing at once; null: any number. `standard` is the definition's. */
export function concurrencyOf({ concurrency }: TypeSettings, standard: number | null): number | null {
  return concurrency ?? standard;
}

/** How many more jobs of the type may be processing. `processing` is asked only where it matters. */
export function roomIn(
  settings: TypeSettings,
  { standard, now, processing }: { standard: number | null; now: number; processing: () => number },
): number {
  if (isPaused(settings, now)) return 0;
  const most = concurrencyOf(settings, standard);
  return most === null ? Infinity : Math.max(0, most - processing());
}

/** @throws {JobsError} INVALID_OPTIONS */
export function checkPatch(patch: SettingsPatch): SettingsPatch {
  const { pause, concurrency } = patch;
  if (concurrency !== undefined && concurrency !== null) checkConcurrency("concurrency", concurrency);
  const until = pause?.until ?? null;
  if (until !== null && !(Number.isFinite(until) && Math.abs(until) <= 8.64e15)) {
    throw new JobsError(
      "INVALID_OPTIONS",
      `pause.until is ${until}. Give ms since 1970, or null to pause until resumed.`,
      {
        option: "pause.until",
        value: until,
      },
    );
  }
  return until === null || pause == null ? patch : { ...patch, pause: { ...pause, until: Math.ceil(until) } };
}

export function isConcurrency(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= maxConcurrency;
}

/** @throws {JobsError} INVALID_OPTIONS */
function checkConcurrency(option: string, value: number): number {
  if (isConcurrency(value)) return value;
  throw new JobsError(
    "INVALID_OPTIONS",
    `${option} is ${value}. Give a whole number from 1 to ${maxConcurrency.toLocaleString("en")}; to stop a type, pause it.`,
    { option, value },
  );
}
