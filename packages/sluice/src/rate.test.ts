/**
 * GCRA as a promise: never more in any window than the burst and the rate, whatever is asked when; and no less than that in the long run.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkRate, faultOfRate, fitsAt, spend, type Rate } from "./rate.js";

/** Starts as early as the rate lets each, when asked at these instants. */
function starts(rate: Rate, asked: readonly { at: number; weight: number }[]) {
  const started: { at: number; weight: number }[] = [];
  let paidUntil: number | undefined;
  for (const { at, weight } of asked) {
    if (fitsAt(paidUntil, rate, weight, at) > at) continue;
    paidUntil = spend(paidUntil, rate, weight, at);
    started.push({ at, weight });
  }
  return started;
}

const anyRate = fc.record({
  limit: fc.integer({ min: 1, max: 500 }),
  perMs: fc.constantFrom(1_000, 60_000),
  burst: fc.integer({ min: 1, max: 20 }),
});
const asked = fc
  .array(fc.record({ after: fc.nat({ max: 400 }), weight: fc.integer({ min: 1, max: 30 }) }), { maxLength: 200 })
  .map((gaps) => {
    let at = 0;
    return gaps.map(({ after, weight }) => ({ at: (at += after), weight }));
  });

test("in no window more units start than the burst and the rate, but for one job heavier than the burst", () => {
  fc.assert(
    fc.property(anyRate, asked, (rate, questions) => {
      const started = starts(rate, questions);
      for (const [index, first] of started.entries()) {
        let units = 0;
        for (const { at, weight } of started.slice(index)) {
          // The last one may be heavier than the burst: what it is more than that is paid off afterwards.
          expect(units + Math.min(weight, rate.burst)).toBeLessThanOrEqual(
            rate.burst + ((at - first.at) * rate.limit) / rate.perMs + 1e-6,
          );
          units += weight;
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("asked as often as may be, as many start as the rate says", () => {
  fc.assert(
    // With a burst of one, a start that comes late because nobody asked in time is lost; a larger one makes up for it.
    fc.property(
      anyRate.filter(({ burst }) => burst > 1),
      (rate) => {
        const span = rate.perMs * 10;
        const questions = Array.from({ length: span / 10 }, (_, n) => ({ at: n * 10, weight: 1 }));
        const possible = Math.min(rate.limit * 10, questions.length);
        expect(starts(rate, questions).length).toBeGreaterThanOrEqual(Math.floor(possible * 0.85) - 1);
      },
    ),
    { numRuns: 500 },
  );
});

test("what was told to start at an instant may start then", () => {
  fc.assert(
    fc.property(
      anyRate,
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      fc.integer({ min: 1, max: 50 }),
      (rate, until, weight) => {
        const at = fitsAt(until, rate, weight, 0);
        expect(fitsAt(until, rate, weight, at)).toBe(at);
      },
    ),
  );
});

test.each([
  { limit: 0, perMs: 1_000 },
  { limit: -1, perMs: 1_000 },
  { limit: Number.NaN, perMs: 1_000 },
  { limit: Infinity, perMs: 1_000 },
  { limit: 1e12, perMs: 1_000 },
  { limit: 1, perMs: 0 },
  { limit: 1, perMs: Number.POSITIVE_INFINITY },
  { limit: 1, perMs: 2 * 24 * 60 * 60 * 1_000 },
  { limit: 0.5, perMs: 24 * 60 * 60 * 1_000 },
  { limit: 1, perMs: 1_000, burst: 0 },
  { limit: 1, perMs: 1_000, burst: Number.NaN },
])("%j is refused, with what to give instead", (rate) => {
  expect(faultOfRate(rate)).toMatch(/give/);
  expect(() => checkRate("rate", rate)).toThrow(/^rate .*\.$/);
});

test("one per day is the least, and is taken", () => {
  expect(faultOfRate({ limit: 1, perMs: 24 * 60 * 60 * 1_000 })).toBeNull();
});
