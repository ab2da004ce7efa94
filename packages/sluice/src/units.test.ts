/** Which jobs share a batch: out of any that were claimed together. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { handleBatch } from "./batch.js";
import { defineJob, type BatchOptions } from "./definition.js";
import { JobsError } from "./errors.js";
import { handle, type Processor } from "./processor.js";
import { suspectAfter } from "./settlement.js";
import { aClaimedJob } from "./testing/builders.js";
import { batchRulesOf, formUnits } from "./units.js";

interface Load {
  readonly key: string;
  readonly weight: number;
}
const payload = z.object({ key: z.string(), weight: z.number() });

describe("formUnits", () => {
  test("gives every job exactly one unit, within the rules, jobs of one key in the order they came", () => {
    const load = fc.record({
      key: fc.constantFrom("a", "b", "c"),
      weight: fc.integer({ min: 0, max: 12 }),
      crashes: fc.constantFrom(0, 0, 0, 1, 2, 3),
    });
    fc.assert(
      fc.property(fc.array(load, { maxLength: 40 }), fc.integer({ min: 1, max: 9 }), (loads, max) => {
        const rules = { max, by: ({ key }: Load) => key, weight: ({ weight }: Load) => weight, maxWeight: 10 };
        const units = formed(loads, rules).map((unit) => unit.map((index) => loads[index]!));

        for (const unit of units) {
          const weight = unit.reduce((sum, load) => sum + load.weight, 0);
          const most = Math.max(...unit.map(({ crashes }) => crashes));
          expect(new Set(unit.map(({ key }) => key)).size).toBe(1);
          expect(unit.length === 1 || weight <= 10).toBe(true);
          expect(unit.length).toBeLessThanOrEqual(most >= suspectAfter ? 1 : most === 1 ? Math.ceil(max / 2) : max);
        }
        for (const key of ["a", "b", "c"]) {
          const inUnits = units.flat().filter((load) => load.key === key);
          expect(inUnits).toEqual(loads.filter((load) => load.key === key));
        }
      }),
    );
  });

  test("fills batches as far as the rules allow", () => {
    const loads = [6, 4, 1, 9, 2].map((weight) => ({ key: "a", weight, crashes: 0 }));
    const weighed = { weight: ({ weight }: Load) => weight, maxWeight: 10 };

    expect(formed(loads, { max: 10 })).toEqual([[0, 1, 2, 3, 4]]);
    expect(formed(loads, { max: 2 })).toEqual([[0, 1], [2, 3], [4]]);
    expect(formed(loads, { max: 10, ...weighed })).toEqual([[0, 1], [2, 3], [4]]);
  });

  test("takes a job with a crash into a batch that is still small enough for it", () => {
    const loads = [0, 1, 0, 0].map((crashes) => ({ key: "a", weight: 1, crashes }));

    expect(formed(loads, { max: 4 })).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  test("leaves a payload that cannot be read by itself, without a word: its attempt reports it", () => {
    const jobs = [aBatchJob({ key: "a", weight: 1 }), aClaimedJob({ type: "batched", payload: "{}" })];
    const troubles: unknown[] = [];

    const units = formUnits(
      jobs,
      () => batched({ max: 10, by: ({ key }) => key }),
      (during) => troubles.push(during),
    );

    expect(units).toHaveLength(2);
    expect(troubles).toEqual([]);
  });

  test.each([
    ["a weight that is no number", { max: 10, weight: () => Number.NaN, maxWeight: 1 }],
    ["a weight below zero", { max: 10, weight: () => -1, maxWeight: 1 }],
  ])("reports %s, and leaves the job by itself", (_what, rules) => {
    const troubles: unknown[] = [];
    const jobs = [aBatchJob({ key: "a", weight: 1 }), aBatchJob({ key: "a", weight: 1 })];

    const units = formUnits(
      jobs,
      () => batched(rules),
      (during) => troubles.push(during),
    );

    expect(units).toHaveLength(2);
    expect(troubles).toHaveLength(2);
  });

  test("reports a key that would have to wait for its schema", () => {
    const slow = defineJob({
      type: "batched",
      payload: payload.refine(() => Promise.resolve(true)),
      batch: { max: 10, by: ({ key }) => key },
    });
    const troubles: unknown[] = [];
    const asynchronous: Processor = handleBatch(slow, () => {});

    formUnits(
      [aBatchJob({ key: "a", weight: 1 })],
      () => asynchronous,
      (_during, error) => troubles.push(error),
    );

    expect(String(troubles[0])).toContain("promise");
  });

  test("gives each job of a single handler its own unit", () => {
    const single: Processor = handle(defineJob({ type: "batched", payload, batch: { max: 10 } }), () => {});
    const jobs = [aBatchJob({ key: "a", weight: 1 }), aBatchJob({ key: "a", weight: 1 })];

    expect(formUnits(jobs, () => single, fail)).toEqual(jobs.map((job) => ({ type: "batched", jobs: [job] })));
  });
});

test("a batch processor whose definition says nothing of batches is refused", () => {
  const processor: Processor = handleBatch(defineJob({ type: "plain", payload }), () => {});

  expect(() => batchRulesOf(processor)).toThrow(JobsError);
});

function batched(batch: BatchOptions<Load>): Processor {
  return handleBatch(defineJob({ type: "batched", payload, batch }), () => {});
}

function aBatchJob({ crashes = 0, ...load }: Load & { readonly crashes?: number }) {
  return aClaimedJob({ type: "batched", payload: JSON.stringify(load), crashes });
}

/** The places of the jobs, unit by unit. */
function formed(loads: readonly (Load & { readonly crashes: number })[], rules: BatchOptions<Load>): number[][] {
  const jobs = loads.map(aBatchJob);
  return formUnits(jobs, () => batched(rules), fail).map((unit) => unit.jobs.map((job) => jobs.indexOf(job)));
}

function fail(during: string, error: unknown): never {
  throw new Error(during, { cause: error });
}
