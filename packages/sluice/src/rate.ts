/**
 * How many jobs may start in a time, whoever starts them: GCRA, the generic cell rate algorithm (ITU-T I.371), which needs one
 * instant per rate and no windows. Pure; used by claims (admission.ts) and by enqueues (intake.ts).
 */
import { JobsError } from "./errors.js";

export interface Rate {
  /** So many units per `perMs`; a job is one unit unless its definition says otherwise. */
  readonly limit: number;
  readonly perMs: number;
  /**
   * So many units may come at once after a quiet time: in any window of `t` ms no more than `burst + t × limit / perMs` begin.
   * Default: what comes in a tenth of a second, and at least one job's worth.
   */
  readonly burst?: number;
}

const dayMs = 24 * 60 * 60 * 1_000;

/** The time that one unit takes of the rate. */
function intervalMs({ limit, perMs }: Rate): number {
  return perMs / limit;
}

function burstOf(rate: Rate): number {
  return rate.burst ?? Math.max(1, Math.floor(100 / intervalMs(rate)));
}

/**
 * The instant from which `weight` units fit. Heavier than the burst: as soon as nothing is owed.
 * @param paidUntil Until when the rate is spent, as `spend` answered; undefined for one that was never used.
 */
export function fitsAt(paidUntil: number | undefined, rate: Rate, weight: number, now: number): number {
  if (paidUntil === undefined) return now;
  const burst = burstOf(rate);
  return Math.max(now, paidUntil - (burst - Math.min(weight, burst)) * intervalMs(rate));
}

/** Until when the rate is spent once `weight` units have begun at `at`. */
export function spend(paidUntil: number | undefined, rate: Rate, weight: number, at: number): number {
  return Math.max(paidUntil ?? at, at) + weight * intervalMs(rate);
}

/** Why this cannot be a rate, in words that follow its name; null when it can. */
export function faultOfRate({ limit, perMs, burst }: Rate): string | null {
  if (!(Number.isFinite(limit) && limit > 0 && limit <= 1e9))
    return `has limit ${limit}; give a number above 0, at most 1,000,000,000`;
  if (!(Number.isFinite(perMs) && perMs >= 1 && perMs <= dayMs))
    return `has perMs ${perMs}; give milliseconds from 1 to ${dayMs} (a day)`;
  if (limit / perMs < 1 / dayMs) return "is below one per day; give a higher limit or a shorter time";
  if (burst !== undefined && !(Number.isFinite(burst) && burst >= 1 && burst <= 1e9)) {
    return `has burst ${burst}; give a number from 1 to 1,000,000,000, or leave it out`;
  }
  return null;
}

/** @throws {JobsError} INVALID_OPTIONS */
export function checkRate(option: string, rate: Rate): Rate {
  const fault = typeof rate === "object" && rate !== null ? faultOfRate(rate) : "is no rate; give { limit, perMs }";
  if (fault === null) return rate;
  throw new JobsError("INVALID_OPTIONS", `${option} ${fault}.`, { option, value: rate });
}
