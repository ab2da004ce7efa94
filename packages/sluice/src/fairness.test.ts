/**
 * Places among groups, by the bound that start-time fair queueing gives: nobody waits for more than about one job of each other group.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { placeOf, type Turns } from "./fairness.js";

test("however groups arrive, a job waits for at most one more of each other group than it has before it in its own", () => {
  const arrivals = fc.array(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 120 });
  fc.assert(
    fc.property(arrivals, (groups) => {
      const turns: Turns = { head: null, last: null, tails: new Map() };
      // All wait: the head is the first of them.
      const placed = groups.map((group, n) => {
        const rank = placeOf(n === 0 ? turns : Object.assign(turns, { head: 1_001 }), { group, cost: 1 }, 1_000);
        return { group, rank, n };
      });
      const order = [...placed].sort((a, b) => a.rank - b.rank || a.n - b.n);
      for (const [index, { group }] of order.entries()) {
        const before = (name: string) => order.slice(0, index).filter((each) => each.group === name).length;
        for (const other of ["a", "b", "c", "d"]) {
          if (other !== group) expect(before(other)).toBeLessThanOrEqual(before(group) + 2);
        }
      }
    }),
  );
});

test("with nobody waiting, what a group has had is forgotten", () => {
  const turns: Turns = { head: null, last: 5_000, tails: new Map([["old", 5_000]]) };
  const [late, old] = ["new", "old"].map((group) => placeOf(turns, { group, cost: 1 }, 1_000));
  expect(old! - late!).toBeLessThanOrEqual(1);
});
