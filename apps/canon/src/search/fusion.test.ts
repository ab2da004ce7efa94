import { expect, test } from "vitest";
import { fuseRankings } from "./fusion.js";

test("a score is the sum of 1 / (60 + rank) over the rankings", () => {
  const scores = fuseRankings([
    ["a", "b"],
    ["b", "c"],
  ]);

  expect(scores).toEqual(
    new Map([
      ["a", 1 / 61],
      ["b", 1 / 62 + 1 / 61],
      ["c", 1 / 62],
    ]),
  );
});

test("second in both rankings beats first in one", () => {
  const scores = fuseRankings([
    ["first", "both"],
    ["other", "both"],
  ]);

  expect(scores.get("both")).toBeGreaterThan(scores.get("first") ?? NaN);
});
