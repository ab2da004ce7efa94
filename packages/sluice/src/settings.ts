/**
 * What an operator may change about a type of job while it runs: paused or not, how many at once, how many in a time, how many may
 * come in, and for whom it is switched on. The definition gives the defaults; a change is versioned, kept, and in force at the next
 * claim or enqueue of every process (OQ2, R1, O2). Pure: stores keep and apply.
 */
import type { AuditEntry, AuditRecord, Origin } from "./audit.js";
import { applyChange } from "./breaker.js";
import type { Breaker, BreakerChange } from "./breaker.js";
import { JobsError } from "./errors.js";
import type { EnqueueLimit } from "./intake.js";
import { checkRate } from "./rate.js";
import type { Rate } from "./rate.js";
import { faultOfRollout } from "./rollout.js";
import type { Rollout } from "./rollout.js";

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
  /** The same for the jobs of each concurrency key. */
  readonly concurrencyPerKey: number | null;
  /** How many jobs of the type may start in a time, in all processes together; null: what the definition says. */
  readonly rate: Rate | null;
  /** The same for the jobs of each rate key. */
  readonly ratePerKey: Rate | null;
  /** What may come in; null: what the definition says. */
  readonly enqueueLimit: EnqueueLimit | null;
  /** For whom the type is switched on; null: for everybody. */
  readonly rollout: Rollout | null;
  /** Null: closed, as long as what the type needs works. */
  readonly breaker: Breaker | null;
}

/** What is left out stays as it is; null goes back to the default: not paused, for everybody, otherwise as the definition says. */
export interface SettingsPatch extends Partial<Omit<TypeSettings, "type" | "version" | "pause" | "breaker">> {
  readonly pause?: { readonly reason?: string | null; readonly until?: number | null } | null;
  /** Operators may only close it; workers open it (breakers.ts). */
  readonly breaker?: BreakerChange;
}

export interface SettingsChange extends Origin {
  readonly type: string;
  readonly patch: SettingsPatch;
  /** The version that the operator saw; null: whatever it is. */
  readonly ifVersion: number | null;
}

/** Who changed what, when and why: a `set` of the audit. */
export interface SettingsRecord extends Origin {
  readonly at: number;
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
  return {
    type,
    version: 0,
    pause: null,
    concurrency: null,
    concurrencyPerKey: null,
    rate: null,
    ratePerKey: null,
    enqueueLimit: null,
    rollout: null,
    breaker: null,
  };
}

/** From the text that a store keeps, be it of a version that knew fewer settings. */
export function parseSettings(type: string, text: string | null): TypeSettings {
  return text === null ? defaultSettings(type) : { ...defaultSettings(type), ...(JSON.parse(text) as TypeSettings) };
}

/** The settings after the change and its entry in the audit, or null when it was made for another version. */
export function changeSettings(
  settings: TypeSettings,
  { type, patch, ifVersion, actor, reason, requestId }: SettingsChange,
  now: number,
): { readonly settings: TypeSettings; readonly entry: AuditEntry } | null {
  if (ifVersion !== null && ifVersion !== settings.version) return null;
  const { pause, breaker, ...others } = patch;
  const given = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  const after: TypeSettings = {
    ...settings,
    ...given,
    version: settings.version + 1,
    ...(breaker !== undefined && { breaker: applyChange(settings.breaker, breaker, now) }),
    ...(pause !== undefined && {
      pause: pause === null ? null : { actor, reason: pause.reason ?? null, since: now, until: pause.until ?? null },
    }),
  };
  const entry = {
    actor,
    reason,
    requestId,
    action: "set",
    target: { kind: "type", id: type },
    type,
    before: JSON.stringify(settings),
    after: JSON.stringify(after),
  } as const;
  return { settings: after, entry };
}

/** From a `set` of the audit. */
export function toSettingsRecord({ at, actor, reason, requestId, target, before, after }: AuditRecord): SettingsRecord {
  const [old, young] = [parseSettings(target.id, before), parseSettings(target.id, after)];
  return { at, actor, reason, requestId, before: old, after: young };
}

/** Whether what waits for its key or its rate must be looked at anew: what it waits for was said by other settings. */
export function doesReplan(before: TypeSettings, after: TypeSettings): boolean {
  const limitsOf = ({ concurrencyPerKey, rate, ratePerKey }: TypeSettings) =>
    JSON.stringify([concurrencyPerKey, rate, ratePerKey]);
  return limitsOf(before) !== limitsOf(after);
}

/** Whether a new job of the type must be looked at before it is taken in. */
export function hasIntake({ enqueueLimit, rollout }: TypeSettings): boolean {
  return enqueueLimit !== null || rollout !== null;
}

/** Whether the settings ask for more of a claim than a pause and a concurrency. */
export function isGated({ concurrencyPerKey, rate, ratePerKey }: TypeSettings): boolean {
  return concurrencyPerKey !== null || rate !== null || ratePerKey !== null;
}

/** Until when nothing of the type starts, whoever has stopped it; null: it may. Infinity: until it is resumed. */
export function pausedUntil({ pause, breaker }: Pick<TypeSettings, "pause" | "breaker">): number | null {
  if (pause === null && breaker === null) return null;
  return Math.max(pause === null ? -Infinity : (pause.until ?? Infinity), breaker?.until ?? -Infinity);
}

export function isPaused(settings: TypeSettings, now: number): boolean {
  return (pausedUntil(settings) ?? now) > now;
}

/** How many of the type may be processing at once; null: any number. `standard` is the definition's. */
export function concurrencyOf({ concurrency, breaker }: TypeSettings, standard: number | null): number | null {
  const set = concurrency ?? standard;
  return breaker === null ? set : Math.min(breaker.level, set ?? Infinity);
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

const patchNames: readonly string[] = Object.keys(defaultSettings("")).filter(
  (name) => name !== "type" && name !== "version",
);

/** @throws {JobsError} INVALID_OPTIONS */
export function checkPatch(patch: SettingsPatch): SettingsPatch {
  for (const name of Object.keys(patch)) {
    if (!patchNames.includes(name)) {
      refuse(name, undefined, `${name} is no setting of a type. There are ${patchNames.join(", ")}`);
    }
  }
  const { pause, concurrency, concurrencyPerKey, rate, ratePerKey, enqueueLimit, rollout } = patch;
  if (concurrency != null) checkConcurrency("concurrency", concurrency);
  if (concurrencyPerKey != null) checkConcurrency("concurrencyPerKey", concurrencyPerKey);
  if (rate != null) checkRate("rate", rate);
  if (ratePerKey != null) checkRate("ratePerKey", ratePerKey);
  if (enqueueLimit != null) checkEnqueueLimit(enqueueLimit);
  const fault = rollout == null ? null : faultOfRollout(rollout);
  if (fault !== null) refuse("rollout", rollout, `rollout ${fault}`);
  if (patch.breaker != null)
    refuse("breaker", patch.breaker, "breaker can only be null, which closes it; workers open it");
  const until = pause?.until ?? null;
  if (until !== null && !(Number.isFinite(until) && Math.abs(until) <= 8.64e15)) {
    refuse("pause.until", until, `pause.until is ${until}. Give ms since 1970, or null to pause until resumed`);
  }
  return until === null || pause == null ? patch : { ...patch, pause: { ...pause, until: Math.ceil(until) } };
}

/** @throws {JobsError} INVALID_OPTIONS */
export function checkEnqueueLimit({ rate, ratePerCaller, maxBacklog }: EnqueueLimit): void {
  if (rate != null) checkRate("enqueueLimit.rate", rate);
  if (ratePerCaller != null) checkRate("enqueueLimit.ratePerCaller", ratePerCaller);
  if (maxBacklog != null && !(Number.isInteger(maxBacklog) && maxBacklog >= 1)) {
    refuse(
      "enqueueLimit.maxBacklog",
      maxBacklog,
      `enqueueLimit.maxBacklog is ${maxBacklog}. Give a whole number from 1`,
    );
  }
}

export function isConcurrency(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= maxConcurrency;
}

/** @throws {JobsError} INVALID_OPTIONS */
function checkConcurrency(option: string, value: number): void {
  if (isConcurrency(value)) return;
  const most = maxConcurrency.toLocaleString("en");
  refuse(option, value, `${option} is ${value}. Give a whole number from 1 to ${most}; to stop a type, pause it`);
}

function refuse(option: string, value: unknown, why: string): never {
  throw new JobsError("INVALID_OPTIONS", `${why}.`, { option, value });
}
