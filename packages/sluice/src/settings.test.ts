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
