/**
 * The ways of a circuit breaker: open, half open, wider, closed; open for twice as long when the first try fails.
 */
import { expect, test } from "vitest";
import { applyChange, faultOfBreaker, opened, widened, type Breaker } from "./breaker.js";

const rule = { failures: 3, of: 5, openMs: 1_000, dependency: "smtp" };

test("it opens for its time, then lets one try, then twice as many each time, and closes", () => {
  let breaker: Breaker | null = applyChange(null, opened(rule, null, "down"), 100);
  expect(breaker).toEqual({ dependency: "smtp", error: "down", openedAt: 100, until: 1_100, openMs: 1_000, level: 1 });
  const levels: number[] = [];
  for (let now = 1_200; breaker !== null; now += 100) {
    levels.push(breaker.level);
    expect(breaker.until).toBeLessThanOrEqual(now);
    breaker = applyChange(breaker, widened(breaker), now);
  }
  expect(levels).toEqual([1, 2, 4, 8, 16, 32]);
});

test("each failed try keeps it open for twice as long, up to a minute, since when it opened stands", () => {
  let breaker = applyChange(null, opened(rule, null, "down"), 0)!;
  const times: number[] = [];
  for (let tries = 0; tries < 12; tries++) {
    breaker = applyChange(breaker, opened(rule, breaker, "still down"), breaker.until)!;
    times.push(breaker.openMs);
  }
  expect(times.slice(0, 4)).toEqual([2_000, 4_000, 8_000, 16_000]);
  expect(times.at(-1)).toBe(60_000);
  expect(breaker.openedAt).toBe(0);
});

test.each([
  { failures: 0, of: 5 },
  { failures: 6, of: 5 },
  { failures: 1.5, of: 5 },
  { failures: 1, of: 0 },
  { failures: 1, of: Number.NaN },
  { failures: 1, of: 1, openMs: 0 },
  { failures: 1, of: 1, openMs: Infinity },
  { failures: 1, of: 1, dependency: "" },
])("%j is refused", (options) => {
  expect(faultOfBreaker(options)).not.toBeNull();
});
