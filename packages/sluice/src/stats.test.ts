/** What is told of rollups, and which ranges are refused. */
import { expect, test } from "vitest";
import { bucketOf, emptyHistogram } from "./rollup.js";
import type { Rollup } from "./rollup.js";
import { toRollupQuery, toStats } from "./stats.js";
import { aRollup } from "./testing/builders.js";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const now = Date.UTC(2026, 10, 29, 12, 0, 30);
const noon = now - 30_000;

function histogram(...values: readonly number[]): number[] {
  const buckets = emptyHistogram();
  for (const ms of values) buckets[bucketOf(ms)]!++;
  return buckets;
}

function at(instant: number, overrides: Parameters<typeof aRollup>[0] = {}): Rollup {
  return { ...aRollup(overrides), at: instant, stepMs: minute };
}

const query = { from: noon - hour, to: noon + minute, stepMs: minute };

test("by default it is the last hour, minute by minute, with the one that is not over", () => {
  expect(toRollupQuery({}, { now })).toEqual(query);
});

test("a range is widened to whole steps", () => {
  const from = new Date(noon - 90 * minute);
  expect(toRollupQuery({ from, to: new Date(noon), stepMs: hour }, { now })).toEqual({
    from: noon - 2 * hour,
    to: noon,
    stepMs: hour,
  });
});

test.each([
  { stepMs: 1_000 },
  { stepMs: 0 },
  { stepMs: -minute },
  { stepMs: 1.5 * minute },
  { stepMs: NaN },
  { stepMs: 32 * day },
  { from: new Date(now), to: new Date(now) },
  { from: new Date(now + 1) },
  { from: new Date(NaN) },
  { to: new Date(NaN) },
])("refuses %j", (asked) => {
  expect(() => toRollupQuery(asked, { now })).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
});

test("48 hours by the minute and 400 days by the day are answered; more is refused, with a step that is enough", () => {
  const back = (ms: number) => new Date(now - ms);
  expect(() => toRollupQuery({ from: back(2 * day) }, { now })).not.toThrow();
  expect(() => toRollupQuery({ from: back(400 * day), stepMs: day }, { now })).not.toThrow();

  expect(() => toRollupQuery({ from: back(7 * day) }, { now })).toThrow(`or a stepMs of ${10 * minute}`);
  expect(() => toRollupQuery({ from: back(400 * day), stepMs: 6 * hour }, { now })).toThrow(`or a stepMs of ${day}`);
  expect(() => toRollupQuery({ from: new Date(-1e15), stepMs: day }, { now })).toThrow("Ask for a shorter range.");
});

test("the failure rate is that of attempts, and of nothing there is none", () => {
  const { types, total } = toStats(query, [
    at(noon - minute, { completed: 6, retried: 3, failed: 1, snoozed: 5, cancelled: 5 }),
    at(noon, { enqueued: 3 }),
  ]);

  expect(total).toMatchObject({ attempts: 10, failureRate: 0.4, snoozed: 5, cancelled: 5, enqueued: 3 });
  expect(types[0]!.steps.map(({ failureRate }) => failureRate)).toEqual([0.4, null]);
});

test("waiting and running are averages and percentiles, in each step and over the range, and never averages of percentiles", () => {
  const { types } = toStats(query, [
    at(noon - minute, { completed: 9, run: histogram(...new Array<number>(9).fill(3)), runSumMs: 27 }),
    at(noon, { completed: 1, run: histogram(1_000), runSumMs: 1_000 }),
  ]);

  const [{ total, steps }] = types as [(typeof types)[number]];
  expect(steps.map(({ run }) => run.averageMs)).toEqual([3, 1_000]);
  expect(total.run).toMatchObject({ count: 10, averageMs: 102.7 });
  expect(total.run.p50Ms).toBeGreaterThan(2);
  expect(total.run.p50Ms).toBeLessThanOrEqual(4);
  expect(total.run.p99Ms).toBeGreaterThan(512);
  expect(total.wait).toMatchObject({ count: 0, averageMs: null, p50Ms: null });
});

test("types are told apart, and steps in which nothing was counted are not there", () => {
  const { types, total } = toStats(query, [
    at(noon - 2 * minute, { type: "a", completed: 1 }),
    at(noon, { type: "a", completed: 2 }),
    at(noon, { type: "b", completed: 4 }),
  ]);

  expect(
    types.map(({ type, total, steps }) => [type, total.completed, steps.map((step) => step.at.getTime())]),
  ).toEqual([
    ["a", 3, [noon - 2 * minute, noon]],
    ["b", 4, [noon]],
  ]);
  expect(total.completed).toBe(7);
});
