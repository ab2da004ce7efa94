/**
 * What is told about types over a range of time: rates, averages and percentiles, from rollups. Pure.
 */
import { JobsError } from "./errors.js";
import { countIn, keptStepFor, keptSteps, mergeCounts, noCounts, quantile, stepOf } from "./rollup.js";
import type { Histogram, Rollup, RollupCounts } from "./rollup.js";
import type { RollupQuery } from "./store.js";

export interface StatsQuery {
  /** Default: all. */
  readonly types?: readonly string[];
  /** Default: an hour before `to`. */
  readonly from?: Date;
  /** Default: now. */
  readonly to?: Date;
  /** Whole minutes. Default: one. */
  readonly stepMs?: number;
}

export interface Stats {
  /** The range that was asked for, in whole steps; the last step may not be over. */
  readonly from: Date;
  readonly to: Date;
  readonly stepMs: number;
  /** All types together, over the whole range. */
  readonly total: Figures;
  /** By name; those of which something was counted. */
  readonly types: readonly TypeStats[];
}

export interface TypeStats {
  readonly type: string;
  /** Over the whole range. */
  readonly total: Figures;
  /**
   * In order, those in which something was counted. A step that is missing: nothing happened, or there was no process that could
   * have counted it. Which of the two is not known, so draw no zero where it matters.
   */
  readonly steps: readonly StatsStep[];
}

export interface StatsStep extends Figures {
  readonly at: Date;
}

/** See `RollupCounts` for what is counted as what. */
export interface Figures extends Omit<RollupCounts, "wait" | "waitSumMs" | "run" | "runSumMs"> {
  /** Those that completed, retried or failed. */
  readonly attempts: number;
  /** Attempts that failed (retried and failed), of all attempts: 0 to 1; null when there were none. */
  readonly failureRate: number | null;
  /** From when a job was due until it was claimed. */
  readonly wait: Spread;
  /** How long handlers ran. */
  readonly run: Spread;
}

/** Null where nothing was counted. Percentiles are estimates from buckets: more than half the true one, less than twice as much. */
export interface Spread {
  readonly count: number;
  readonly averageMs: number | null;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  /** How many were in each bucket (`bucketBounds`): add these up for other ranges; averages of percentiles mean nothing. */
  readonly buckets: Histogram;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const longestStepMs = 31 * 24 * hourMs;
/** Stored steps of a type that one answer may read: all of the 48 hours that are kept by the minute. */
const maxSteps = 3_000;

/** @throws {JobsError} INVALID_OPTIONS */
export function toRollupQuery(
  { types, from, to, stepMs = minuteMs }: StatsQuery,
  { now }: { readonly now: number },
): RollupQuery {
  if (!Number.isInteger(stepMs / minuteMs) || stepMs < minuteMs || stepMs > longestStepMs) {
    throw new JobsError("INVALID_OPTIONS", `stepMs is ${stepMs}. Give whole minutes, up to 31 days.`, {
      option: "stepMs",
      value: stepMs,
    });
  }
  const until = to?.getTime() ?? now;
  const since = from?.getTime() ?? until - hourMs;
  // Also refuses dates that are none.
  if (!(since < until)) {
    throw new JobsError("INVALID_OPTIONS", "`from` must be before `to`. Give two instants in order.", {
      option: "from",
      from: since,
      to: until,
    });
  }
  const range = { from: stepOf(since, stepMs), to: stepOf(until - 1, stepMs) + stepMs };
  const steps = (range.to - range.from) / keptStepFor(stepMs);
  if (steps > maxSteps) {
    const enough = keptSteps.find((kept) => (range.to - range.from) / kept.stepMs < maxSteps);
    const advice = enough === undefined ? "" : `, or a stepMs of ${enough.stepMs}`;
    throw new JobsError(
      "INVALID_OPTIONS",
      `This range has ${steps} steps of each type, and no more than ${maxSteps} are read at once. Ask for a shorter range${advice}.`,
      { option: "stepMs", value: stepMs, steps, maxSteps },
    );
  }
  return { ...range, stepMs, ...(types && { types }) };
}

export function toStats({ from, to, stepMs }: RollupQuery, rollups: readonly Rollup[]): Stats {
  const byType = new Map<string, Rollup[]>();
  for (const rollup of rollups) {
    const steps = byType.get(rollup.type);
    if (steps === undefined) byType.set(rollup.type, [rollup]);
    else steps.push(rollup);
  }
  return {
    from: new Date(from),
    to: new Date(to),
    stepMs,
    total: figuresOf(rollups.reduce(mergeCounts, noCounts)),
    types: [...byType].map(([type, steps]) => ({
      type,
      total: figuresOf(steps.reduce(mergeCounts, noCounts)),
      steps: steps.map((step) => ({ at: new Date(step.at), ...figuresOf(step) })),
    })),
  };
}

function figuresOf(counts: RollupCounts): Figures {
  const { enqueued, refused, completed, retried, failed, crashed, snoozed, cancelled } = counts;
  const attempts = completed + retried + failed;
  return {
    enqueued,
    refused,
    attempts,
    completed,
    retried,
    failed,
    crashed,
    snoozed,
    cancelled,
    failureRate: attempts === 0 ? null : (retried + failed) / attempts,
    wait: spreadOf(counts.wait, counts.waitSumMs),
    run: spreadOf(counts.run, counts.runSumMs),
  };
}

function spreadOf(buckets: Histogram, sumMs: number): Spread {
  const count = countIn(buckets);
  return {
    count,
    averageMs: count === 0 ? null : sumMs / count,
    p50Ms: quantile(buckets, 0.5),
    p95Ms: quantile(buckets, 0.95),
    p99Ms: quantile(buckets, 0.99),
    buckets,
  };
}
