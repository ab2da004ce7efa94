/** Several workers, one breaker: what one of them decides counts only as long as what it decided on still stands. */
import { expect, test } from "vitest";
import type { BreakerRule } from "./breaker.js";
import { Breakers } from "./breakers.js";
import { toSettingsRecord } from "./settings.js";
import type { Store } from "./store.js";
import { memory } from "./stores/memory/index.js";
import { aClaimedJob, defaultType } from "./testing/builders.js";
import { ManualClock } from "./testing/manual-clock.js";

const rule: BreakerRule = { failures: 1, of: 1, openMs: 10_000, dependency: defaultType };
const failed = {
  kind: "failed",
  isRetryable: true,
  error: { name: "Error", message: "connect ECONNREFUSED", stack: "" },
} as const;
const succeeded = { kind: "succeeded", output: null, children: [] } as const;

async function setup() {
  const clock = new ManualClock();
  const store = (await memory({ clock })) as Store<unknown>;
  const aWorker = () =>
    new Breakers({
      store,
      clock,
      rules: new Map([[defaultType, rule]]),
      onOpened: () => {},
      onTrouble: (error) => expect.unreachable(String(error)),
    });
  const endNow = (breakers: Breakers, outcome: typeof failed | typeof succeeded) =>
    breakers.ended(aClaimedJob({ startedAt: clock.now() }), outcome);
  const breaker = async () => (await store.settings())[0]?.breaker ?? null;
  const changes = async () => (await store.audit({ actions: ["set"], limit: 50 })).records.map(toSettingsRecord);
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { clock, aWorker, endNow, breaker, changes, settle };
}

test("a success does not undo that another worker has opened the breaker again", async () => {
  const { clock, aWorker, endNow, breaker, settle } = await setup();
  const [one, other] = [aWorker(), aWorker()];
  other.start();
  endNow(one, failed);
  await settle();
  clock.advance(rule.openMs);
  await settle();
  endNow(one, failed);
  await settle();
  const again = await breaker();

  // The other has begun to read what became of the breaker, and does not know it yet.
  clock.advance(1_000);
  endNow(other, succeeded);
  await settle();

  expect(again).toMatchObject({ level: 1, openMs: 2 * rule.openMs });
  expect(await breaker()).toEqual(again);
});

test("two tries that fail at one moment open it once", async () => {
  const { clock, aWorker, endNow, changes, settle } = await setup();
  const one = aWorker();
  endNow(one, failed);
  await settle();
  clock.advance(rule.openMs);

  endNow(one, failed);
  endNow(one, failed);
  await settle();

  expect((await changes()).map(({ after }) => after.breaker?.openMs)).toEqual([2 * rule.openMs, rule.openMs]);
});
