/**
 * A circuit breaker per type or dependency (Nygard, Release It!): after so many failures nothing of the type starts for a while;
 * then one job tries, then two, then four, and when all is well, everything. Its state is a setting of the type, so that every
 * claim of every process knows it and an operator sees it; breakers.ts counts. Pure.
 */

export interface BreakerOptions {
  /** Opens when so many … */
  readonly failures: number;
  /** … of the last so many attempts have failed, in one worker process. Attempts that only a new payload could help do not count. */
  readonly of: number;
  /** How long nothing starts after it opened. Default 10,000; twice as long each time that the first try fails, up to a minute. */
  readonly openMs?: number;
  /** What it is that fails, where several types need the same: one name, one breaker. Default: the type. */
  readonly dependency?: string;
}

export type BreakerRule = Required<BreakerOptions>;

/** Not closed: open until `until`, half open from then on. */
/** Who pauses a type and changes its settings when its breaker does. */
export const breakerActor = "circuit breaker";

export interface Breaker {
  readonly dependency: string;
  /** What the last failure said. */
  readonly error: string;
  readonly openedAt: number;
  readonly until: number;
  /** How long it stays open this time. */
  readonly openMs: number;
  /** Once half open: how many jobs of the type may be processing at once. */
  readonly level: number;
}

/** What a breaker is to become; null: closed. The instants are the store's to fill in. */
export type BreakerChange = Omit<Breaker, "openedAt" | "until"> | null;

const longestOpenMs = 5 * 60_000;
/** So long, unless the rule says longer: one try a minute troubles nobody, and who is well again should not wait for more. */
const longestGrownMs = 60_000;
/** From here on everything may run again. */
const closedLevel = 64;

export function opened(rule: BreakerRule, before: Breaker | null, error: string): BreakerChange {
  const openMs = before === null ? rule.openMs : Math.min(Math.max(rule.openMs, longestGrownMs), before.openMs * 2);
  return { dependency: rule.dependency, error: error.slice(0, 300), openMs, level: 1 };
}

/** As many more try after all of those that were let try have succeeded. */
export function widened({ dependency, error, level, openMs }: Breaker): BreakerChange {
  return level * 2 >= closedLevel ? null : { dependency, error, openMs, level: level * 2 };
}

/** @param before Of a breaker that stays half open, the opening goes on from where it was. */
export function applyChange(before: Breaker | null, change: BreakerChange, now: number): Breaker | null {
  if (change === null) return null;
  const isHalfOpen = change.level > 1;
  return {
    ...change,
    openedAt: before?.openedAt ?? now,
    until: isHalfOpen ? Math.min(now, before?.until ?? now) : now + change.openMs,
  };
}

/** Why this cannot be a breaker, in words that follow its name; null when it can. */
export function faultOfBreaker({ failures, of, openMs = 10_000, dependency = "type" }: BreakerOptions): string | null {
  if (!(Number.isInteger(of) && of >= 1 && of <= 10_000)) return `has of ${of}; give a whole number from 1 to 10,000`;
  if (!(Number.isInteger(failures) && failures >= 1 && failures <= of)) {
    return `has failures ${failures}; give a whole number from 1 to ${of}, its of`;
  }
  if (!(Number.isFinite(openMs) && openMs >= 1 && openMs <= longestOpenMs)) {
    return `has openMs ${openMs}; give milliseconds from 1 to ${longestOpenMs}`;
  }
  const isName = typeof dependency === "string" && dependency.length >= 1 && dependency.length <= 100;
  return isName ? null : "has a dependency that is not a name of 1 to 100 characters";
}
