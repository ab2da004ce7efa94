/**
 * Who is in: the same each time, more when the percentage grows, about as many as it says. Serves O2.
 */
import { expect, test } from "vitest";
import { faultOfRollout, isRolledOut } from "./rollout.js";

const of = (n: number) => ({ id: `job-${n}`, type: "send", group: `game-${n}`, correlation: null });
const isIn = (percentage: number) => Array.from({ length: 2_000 }, (_, n) => isRolledOut({ percentage }, of(n)));

test("a percentage is about that part of the keys, the same each time, and grows without turning anybody out", () => {
  let before = isIn(0);
  for (const percentage of [10, 35, 80, 100]) {
    const now = isIn(percentage);
    expect(isIn(percentage)).toEqual(now);
    expect(Math.abs(now.filter(Boolean).length / 20 - percentage)).toBeLessThan(3);
    expect(before.every((was, n) => !was || now[n])).toBe(true);
    before = now;
  }
});

test("types deal anew: who is first in one is not always first in the other", () => {
  const [send, embed] = ["send", "embed"].map((type) =>
    Array.from({ length: 500 }, (_, n) => isRolledOut({ percentage: 50 }, { ...of(n), type })),
  );
  const same = send!.filter((each, n) => each === embed![n]).length;
  expect(same).toBeGreaterThan(150);
  expect(same).toBeLessThan(350);
});

test.each([
  { by: undefined, subject: { ...of(1) }, key: "game-1" },
  { by: undefined, subject: { ...of(1), group: null, correlation: { order: "o1" } }, key: "o1" },
  { by: "group" as const, subject: of(1), key: "game-1" },
  { by: { correlation: "order" }, subject: { ...of(1), correlation: { order: "o1", shop: "s1" } }, key: "o1" },
  { by: { correlation: "order" }, subject: of(1), key: "job-1" },
])("the key is $key", ({ by, subject, key }) => {
  const rollout = { percentage: 0, ...(by && { by }) };
  expect(isRolledOut({ ...rollout, allow: [key] }, subject)).toBe(true);
  expect(isRolledOut({ ...rollout, allow: ["other"] }, subject)).toBe(false);
});

test.each([
  { percentage: -1 },
  { percentage: 101 },
  { percentage: Number.NaN },
  { percentage: 5, allow: [1] },
  { percentage: 5, by: "nobody" },
])("%j is refused", (rollout) => {
  expect(faultOfRollout(rollout as never)).not.toBeNull();
});
