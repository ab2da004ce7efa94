/**
 * What may be set, and what a pause and a concurrency mean. How settings are kept is in the conformance suite.
 */
import { expect, test } from "vitest";
import { z } from "zod";
import { defineJob, Queue } from "./index.js";
import { checkPatch, concurrencyOf, defaultSettings, isPaused } from "./settings.js";
import { memory } from "./stores/memory/index.js";

const settings = defaultSettings("example");

test.each([0, -1, 1.5, NaN, Infinity, 1_000_001, "3" as never])("a concurrency of %s is refused", (concurrency) => {
  expect(() => checkPatch({ concurrency })).toThrow(/^concurrency is .+\. Give a whole number from 1 to 1,000,000/);
  expect(() => defineJob({ type: "example", payload: z.object({}), concurrency })).toThrow(
    expect.objectContaining({ code: "INVALID_DEFINITION" }) as Error,
  );
});

test.each([NaN, Infinity, 1e300, "soon" as never])("a pause until %s is refused", (until) => {
  expect(() => checkPatch({ pause: { until } })).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }) as Error);
});

test("a pause lasts until its time, or for ever", () => {
  const pause = { actor: "a", reason: null, since: 0, until: 100 };

  expect([99, 100].map((now) => isPaused({ ...settings, pause }, now))).toEqual([true, false]);
  expect(isPaused({ ...settings, pause: { ...pause, until: null } }, 1e15)).toBe(true);
  expect(isPaused(settings, 0)).toBe(false);
});

test("an operator's concurrency comes before the definition's", () => {
  expect([null, 5].map((concurrency) => concurrencyOf({ ...settings, concurrency }, 3))).toEqual([3, 5]);
  expect(concurrencyOf(settings, null)).toBeNull();
});

test("a stale change rejects with the settings as they are", async () => {
  const queue = new Queue({ store: await memory() });
  const { version } = await queue.setType("example", { concurrency: 3 }, { actor: "ada" });
  const paused = await queue.pause("example", { until: new Date(Date.now() + 60_000), reason: "lunch" });

  const late = queue.setType("example", { concurrency: 9 }, { ifVersion: version });

  await expect(late).rejects.toMatchObject({ code: "SETTINGS_STALE", details: { settings: paused } });
  expect(await queue.settings()).toEqual([paused]);
  expect((await queue.settingsHistory({ type: "example" })).map(({ actor }) => actor)).toEqual(["application", "ada"]);
});

test("a name that no type can have is refused", async () => {
  const queue = new Queue({ store: await memory() });

  await expect(queue.pause("no such type!")).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});

test.each([
  { rate: { limit: 0, perMs: 1_000 } },
  { ratePerKey: { limit: 1, perMs: 1e12 } },
  { rate: 5 as never },
  { concurrencyPerKey: 0 },
  { enqueueLimit: { maxBacklog: -1 } },
  { enqueueLimit: { rate: { limit: Number.NaN, perMs: 1 } } },
  { enqueueLimit: { ratePerCaller: { limit: 1, perMs: 0 } } },
  { rollout: { percentage: 101 } },
  { breaker: { dependency: "smtp", error: "", openMs: 1, level: 1 } },
  { concurrancy: 3 } as never,
])("the patch %j is refused, and says what to give", async (patch) => {
  const queue = new Queue({ store: await memory() });
  const change = queue.setType("example", patch);
  await expect(change).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  await expect(change).rejects.toThrow(/give|no setting|can only/i);
  expect(await queue.settings()).toEqual([]);
});

test.each([
  { rate: { limit: -1, perMs: 1_000 } },
  { concurrencyPerKey: 2 },
  { ratePerKey: { limit: 1, perMs: 1_000 } },
  { groupCost: () => 1 },
  { enqueueLimit: { maxBacklog: 0.5 } },
  { breaker: { failures: 9, of: 3 } },
  { whenOff: "drop" as never },
])("the definition with %j is refused", (options) => {
  expect(() => defineJob({ type: "example", payload: z.object({}), ...options })).toThrow(
    expect.objectContaining({ code: "INVALID_DEFINITION" }) as Error,
  );
});

test.each([0, -1, Number.NaN, Infinity, 1e12])("a weight of %s is refused when a job is enqueued", async (weight) => {
  const type = defineJob({ type: "example", payload: z.object({}), weight: () => weight });
  const queue = new Queue({ store: await memory() });
  await expect(queue.enqueue(type, {})).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});
