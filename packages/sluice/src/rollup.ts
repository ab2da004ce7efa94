/**
 * What happened to the jobs of a type in a step of time, as numbers that can be added up. Pure: counting is rollups.ts, keeping is
 * the stores', what is told of it is stats.ts.
 */

/** What was counted. Attempts that completed, retried and failed are all that count as attempts. */
export interface RollupCounts {
  /** New jobs. */
  readonly enqueued: number;
  /** Jobs that a limit or a rollout did not take in. */
  readonly refused: number;
  readonly completed: number;
  /** Attempts that failed and whose job will have another. */
  readonly retried: number;
  /** Attempts with which their job failed for good. */
  readonly failed: number;
  /** Of the retried and failed ones, those whose worker died or went silent. */
  readonly crashed: number;
  readonly snoozed: number;
  /** Jobs that were cancelled while a worker had them. */
  readonly cancelled: number;
  /** By bucket: attempts by how long their job had been due when it was claimed. */
  readonly wait: Histogram;
  readonly waitSumMs: number;
  /** By bucket: attempts by how long their handler ran. Without crashed ones, and those whose payload nobody could read. */
  readonly run: Histogram;
  readonly runSumMs: number;
}

/** A number for each bucket. */
export type Histogram = readonly number[];

/** What one process has counted since it last said so. */
export interface NewRollup extends RollupCounts {
  readonly type: string;
}

export interface Rollup extends NewRollup {
  /** When its step begins. Steps are whole ones since 1970: an hour begins on the hour, a day at midnight UTC. */
  readonly at: number;
  readonly stepMs: number;
}

// ── histograms ──────────────────────────────────────────────────────────────

/**
 * Where buckets end, in milliseconds; a value that is equal belongs to the bucket. 1 ms, 2 ms, 4 ms … 2^24 ms (4.7 hours); one more
 * bucket has all that is longer. The same for every type and for good, or what is stored could not be added up.
 *
 * Powers of two: the error of a quantile is the same share of it at 3 ms and at 3 hours, and to find the bucket of a value costs a
 * few instructions. They go on beyond an hour because a backlog after a night's outage is older than that.
 */
export const bucketBounds: readonly number[] = Array.from({ length: 25 }, (_, power) => 2 ** power);

const lastBound = bucketBounds.at(-1)!;

export function bucketOf(ms: number): number {
  if (ms > lastBound) return bucketBounds.length;
  return ms <= 1 ? 0 : 32 - Math.clz32(Math.ceil(ms) - 1);
}

export function emptyHistogram(): number[] {
  return new Array<number>(bucketBounds.length + 1).fill(0);
}

export function countIn(histogram: Histogram): number {
  return histogram.reduce((sum, count) => sum + count, 0);
}

/**
 * An estimate of the value that a share of `q` of the values do not exceed; null when there are none. It lies in the bucket of the true one (of
 * the values in order, the first that has that share up to it), so it is more than half of it and less than twice as much; of a millisecond
 * and less it says at most 1. Values beyond the last bound are only known to be longer: then it answers that bound.
 */
export function quantile(histogram: Histogram, q: number): number | null {
  const total = countIn(histogram);
  if (total === 0) return null;
  const rank = Math.max(1, Math.ceil(q * total));
  let before = 0;
  for (const [bucket, count] of histogram.entries()) {
    if (before + count < rank) {
      before += count;
      continue;
    }
    const upper = bucketBounds[bucket];
    if (upper === undefined) break;
    const lower = bucketBounds[bucket - 1] ?? 0;
    return lower + ((upper - lower) * (rank - before)) / count;
  }
  return lastBound;
}

// ── adding up ───────────────────────────────────────────────────────────────

export const noCounts: RollupCounts = {
  enqueued: 0,
  refused: 0,
  completed: 0,
  retried: 0,
  failed: 0,
  crashed: 0,
  snoozed: 0,
  cancelled: 0,
  wait: emptyHistogram(),
  waitSumMs: 0,
  run: emptyHistogram(),
  runSumMs: 0,
};

/** Both together, in any order. */
export function mergeCounts(a: RollupCounts, b: RollupCounts): RollupCounts {
  return {
    enqueued: a.enqueued + b.enqueued,
    refused: a.refused + b.refused,
    completed: a.completed + b.completed,
    retried: a.retried + b.retried,
    failed: a.failed + b.failed,
    crashed: a.crashed + b.crashed,
    snoozed: a.snoozed + b.snoozed,
    cancelled: a.cancelled + b.cancelled,
    wait: mergeHistograms(a.wait, b.wait),
    waitSumMs: a.waitSumMs + b.waitSumMs,
    run: mergeHistograms(a.run, b.run),
    runSumMs: a.runSumMs + b.runSumMs,
  };
}

function mergeHistograms(a: Histogram, b: Histogram): Histogram {
  return a.map((count, bucket) => count + b[bucket]!);
}

/** The same in coarser steps, by type and time. @param stepMs A multiple of the steps that they have. */
export function foldRollups(rollups: readonly Rollup[], stepMs: number): readonly Rollup[] {
  const folded = new Map<string, Rollup>();
  for (const rollup of rollups) {
    const { type } = rollup;
    const at = stepOf(rollup.at, stepMs);
    const key = `${at} ${type}`;
    const there = folded.get(key);
    folded.set(key, { ...(there === undefined ? rollup : mergeCounts(there, rollup)), type, at, stepMs });
  }
  return [...folded.values()].sort((a, b) => (a.type === b.type ? a.at - b.at : a.type < b.type ? -1 : 1));
}

/** The beginning of the step that has the instant. */
export function stepOf(instant: number, stepMs: number): number {
  return Math.floor(instant / stepMs) * stepMs;
}

// ── what is kept ────────────────────────────────────────────────────────────

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/**
 * The steps in which stores keep everything, finest first, and for how long. Everything is added to a row of each at once, so that
 * nothing must be folded later, which two processes could do twice, and a long range never reads many short steps.
 */
export const keptSteps: readonly { readonly stepMs: number; readonly keptMs: number }[] = [
  { stepMs: minute, keptMs: 2 * day },
  { stepMs: 10 * minute, keptMs: 14 * day },
  { stepMs: hour, keptMs: 400 * day },
  { stepMs: day, keptMs: 400 * day },
];

/** The coarsest step that is kept and makes up whole steps of `stepMs`, which is a number of minutes. */
export function keptStepFor(stepMs: number): number {
  return keptSteps.findLast((kept) => stepMs % kept.stepMs === 0)!.stepMs;
}
