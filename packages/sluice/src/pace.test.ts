/** How many jobs are worth claiming ahead. */
import { expect, test } from "vitest";
import { Pace } from "./pace.js";

function paceOf({ attempts, runMs, claimMs }: { attempts: number; runMs: number; claimMs: number }): Pace {
  const pace = new Pace();
  for (let i = 0; i < attempts; i++) pace.attemptTook("example", runMs);
  for (let i = 0; i < 500; i++) pace.claimTook(claimMs);
  return pace;
}

test("a type that was never seen is not claimed ahead", () => {
  expect(new Pace().prefetchFor("example", 10)).toBe(0);
});

test("a type is taken for slow until enough attempts have been seen", () => {
  const seen = [19, 20].map((attempts) => paceOf({ attempts, runMs: 1, claimMs: 1 }).prefetchFor("example", 10));

  expect(seen).toEqual([0, 10]);
});

test("as many are claimed ahead as run during one claim", () => {
  const pace = paceOf({ attempts: 20, runMs: 2, claimMs: 4 });

  expect(pace.prefetchFor("example", 10)).toBe(20);
});

test("slow handlers are not claimed ahead", () => {
  const ahead = [20, 21].map((runMs) => paceOf({ attempts: 20, runMs, claimMs: 4 }).prefetchFor("example", 10));

  expect(ahead).toEqual([2, 0]);
});

test("no more than 400 are claimed ahead", () => {
  const pace = paceOf({ attempts: 20, runMs: 0, claimMs: 1_000 });

  expect(pace.prefetchFor("example", 100)).toBe(400);
});

test("a type that becomes slow is no longer claimed ahead", () => {
  const pace = paceOf({ attempts: 100, runMs: 1, claimMs: 1 });
  const before = pace.prefetchFor("example", 10);

  for (let i = 0; i < 100; i++) pace.attemptTook("example", 500);

  expect([before > 0, pace.prefetchFor("example", 10)]).toEqual([true, 0]);
});

test("types are paced apart", () => {
  const pace = paceOf({ attempts: 20, runMs: 1, claimMs: 1 });
  for (let i = 0; i < 20; i++) pace.attemptTook("slow", 1_000);

  expect([pace.prefetchFor("example", 10), pace.prefetchFor("slow", 10)]).toEqual([10, 0]);
});
