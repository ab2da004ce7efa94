/** Histograms and sums as promises: in any order, any steps, and an error of at most a factor of two. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  bucketBounds,
  bucketOf,
  countIn,
  emptyHistogram,
  foldRollups,
  keptStepFor,
  mergeCounts,
  noCounts,
  quantile,
} from "./rollup.js";
import type { Rollup, RollupCounts } from "./rollup.js";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

function histogramOf(values: readonly number[]): number[] {
  const histogram = emptyHistogram();
  for (const ms of values) histogram[bucketOf(ms)]!++;
  return histogram;
}

const durations = fc.array(
  fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 2 ** 30 }), fc.double({ min: 0, max: 1e6, noNaN: true })),
  {
    minLength: 1,
    maxLength: 50,
  },
);
const anyCounts = fc
  .record({ n: fc.array(fc.nat({ max: 1_000 }), { minLength: 8, maxLength: 8 }), wait: durations, run: durations })
  .map(({ n, wait, run }): RollupCounts => ({
    enqueued: n[0]!,
    refused: n[1]!,
    completed: n[2]!,
    retried: n[3]!,
    failed: n[4]!,
    crashed: n[5]!,
    snoozed: n[6]!,
    cancelled: n[7]!,
    wait: histogramOf(wait),
    waitSumMs: wait.length,
    run: histogramOf(run),
    runSumMs: run.length,
  }));

test("a value is in the first bucket whose bound is not below it", () => {
  fc.assert(
    fc.property(fc.oneof(fc.nat({ max: 2 ** 31 - 1 }), fc.double({ min: 0, max: 2 ** 40, noNaN: true })), (ms) => {
      const first = bucketBounds.findIndex((bound) => ms <= bound);
      expect(bucketOf(ms)).toBe(first === -1 ? bucketBounds.length : first);
    }),
  );
});

test("every bound is in its own bucket", () => {
  expect(bucketBounds.map(bucketOf)).toEqual(bucketBounds.map((_bound, bucket) => bucket));
});

test("there are 26 buckets, and an hour is well within them", () => {
  expect(emptyHistogram()).toHaveLength(26);
  expect(bucketBounds.at(-1)).toBeGreaterThan(4 * hour);
});

test("adding up does not depend on the order", () => {
  fc.assert(
    fc.property(anyCounts, anyCounts, anyCounts, (a, b, c) => {
      expect(mergeCounts(a, b)).toEqual(mergeCounts(b, a));
      expect(mergeCounts(mergeCounts(a, b), c)).toEqual(mergeCounts(a, mergeCounts(b, c)));
      expect(mergeCounts(a, noCounts)).toEqual(a);
    }),
  );
});

test("a quantile lies in the bucket of the true one", () => {
  fc.assert(
    fc.property(durations, fc.constantFrom(0, 0.5, 0.95, 0.99, 1), (values, q) => {
      const sorted = values.toSorted((a, b) => a - b);
      const truth = sorted[Math.max(1, Math.ceil(q * values.length)) - 1]!;

      const estimate = quantile(histogramOf(values), q)!;

      if (truth > bucketBounds.at(-1)!) expect(estimate).toBe(bucketBounds.at(-1));
      else expect(bucketOf(estimate)).toBe(bucketOf(truth));
    }),
  );
});

test("a higher quantile is never lower", () => {
  fc.assert(
    fc.property(durations, (values) => {
      const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => quantile(histogramOf(values), q)!);
      expect(p50).toBeLessThanOrEqual(p95!);
      expect(p95).toBeLessThanOrEqual(p99!);
    }),
  );
});

test("nothing has no quantile", () => {
  expect(quantile(emptyHistogram(), 0.5)).toBeNull();
});

test("coarser steps lose nothing, and begin on whole ones", () => {
  const anyRollup = fc.record({ type: fc.constantFrom("a", "b"), at: fc.nat({ max: 3 * 60 * 24 }), counts: anyCounts });
  fc.assert(
    fc.property(fc.array(anyRollup, { maxLength: 20 }), fc.constantFrom(10 * minute, hour, day), (given, stepMs) => {
      const rollups = given.map(({ type, at, counts }): Rollup => {
        return { ...counts, type, at: at * minute, stepMs: minute };
      });

      const folded = foldRollups(rollups, stepMs);

      for (const { at } of folded) expect(at % stepMs).toBe(0);
      expect(new Set(folded.map(({ type, at }) => `${type} ${at}`)).size).toBe(folded.length);
      const sum = (all: readonly RollupCounts[]) => all.reduce(mergeCounts, noCounts);
      const { enqueued, wait, runSumMs } = sum(folded);
      expect({ enqueued, wait, runSumMs }).toEqual(
        (({ enqueued, wait, runSumMs }) => ({ enqueued, wait, runSumMs }))(sum(rollups)),
      );
    }),
    { numRuns: 30 },
  );
});

test("a range is read from the coarsest steps that make up its own", () => {
  expect([minute, 7 * minute, 20 * minute, hour, 6 * hour, day, 7 * day].map(keptStepFor)).toEqual([
    minute,
    minute,
    10 * minute,
    hour,
    hour,
    day,
    day,
  ]);
  expect(countIn(noCounts.wait)).toBe(0);
});
