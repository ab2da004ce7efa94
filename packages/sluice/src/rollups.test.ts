/** The collector: what counts as what, when it is brought, and that trouble with it is nobody else's. */
import { expect, test } from "vitest";
import { systemClock } from "./clock.js";
import { JobsError } from "./errors.js";
import { bucketOf, countIn } from "./rollup.js";
import type { NewRollup } from "./rollup.js";
import { Rollups } from "./rollups.js";
import type { Settlement, SettleResult } from "./store.js";
import {
  aClaimedJob,
  aNewJob,
  cancelOf,
  completeOf,
  defaultType,
  failOf,
  releaseOf,
  retryOf,
  snoozeOf,
} from "./testing/builders.js";
import { ManualClock } from "./testing/manual-clock.js";

function setup() {
  const clock = new ManualClock();
  const brought: (readonly NewRollup[])[] = [];
  const troubles: unknown[] = [];
  const timers: unknown[] = [];
  const store = {
    fails: null as Error | null,
    addRollups: async (counted: readonly NewRollup[]) => {
      if (store.fails !== null) throw store.fails;
      brought.push(structuredClone(counted));
    },
  };
  const rollups = new Rollups({
    store,
    clock: {
      now: () => clock.now(),
      setTimer: (ms, run, options) => (timers.push(options), clock.setTimer(ms, run)),
    },
    onTrouble: (error) => troubles.push(error),
  });
  const pass = async (ms: number) => {
    clock.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const settled = (settlement: Settlement, result: SettleResult = "applied", runMs = 10) =>
    rollups.settled(aClaimedJob(), { settlement, result, runMs });
  return { clock, store, rollups, brought, troubles, timers, pass, settled };
}

const unavailable = () => new JobsError("STORE_UNAVAILABLE", "The store is out of reach.");

test("what was counted is brought once a second, together", async () => {
  const { rollups, brought, pass } = setup();

  rollups.enqueued("a", { outcome: "created" });
  await pass(500);
  rollups.enqueued("b", { outcome: "created" });
  expect(brought).toEqual([]);
  await pass(500);

  expect(brought).toMatchObject([
    [
      { type: "a", enqueued: 1 },
      { type: "b", enqueued: 1 },
    ],
  ]);
});

test("while nothing happens no timer runs and the store hears nothing", async () => {
  const { rollups, brought, timers, pass } = setup();
  await pass(10_000);
  expect(timers).toEqual([]);

  rollups.enqueued("a", { outcome: "created" });
  await pass(60_000);
  await rollups.flush();

  expect(timers).toEqual([{ isBackground: true }]);
  expect(brought).toHaveLength(1);
});

test("its timer does not keep a process alive", () => {
  const alive = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = alive();

  const cancel = systemClock.setTimer(60_000, () => {}, { isBackground: true });
  const inBackground = alive();
  const cancelOther = systemClock.setTimer(60_000, () => {});
  const inForeground = alive();
  cancel();
  cancelOther();

  expect([inBackground, inForeground]).toEqual([before, before + 1]);
});

test("a job that was there already is no new one, and one that was refused is told apart", async () => {
  const { rollups, brought } = setup();
  for (const outcome of ["created", "duplicate", "replaced", "refused"] as const) rollups.enqueued("a", { outcome });

  await rollups.flush();

  expect(brought).toMatchObject([[{ enqueued: 1, refused: 1 }]]);
});

const held = { id: "x", epoch: 1 };

test.each<[string, Settlement, SettleResult, Partial<NewRollup> & { waits: number; runs: number }]>([
  ["completed", completeOf(held), "applied", { completed: 1, waits: 1, runs: 1 }],
  ["retried", retryOf(held), "applied", { retried: 1, crashed: 0, waits: 1, runs: 1 }],
  ["failed", failOf(held), "applied", { failed: 1, crashed: 0, waits: 1, runs: 1 }],
  ["lost", retryOf(held, { hasCrashed: true }), "applied", { retried: 1, crashed: 1, waits: 1, runs: 0 }],
  ["lost for good", failOf(held, { hasCrashed: true }), "applied", { failed: 1, crashed: 1, waits: 1, runs: 0 }],
  ["unreadable", failOf(held, { reason: "invalid_payload" }), "applied", { failed: 1, waits: 1, runs: 0 }],
  ["snoozed", snoozeOf(held), "applied", { snoozed: 1, completed: 0, waits: 0, runs: 0 }],
  ["cancelled", cancelOf(held), "applied", { cancelled: 1, waits: 0, runs: 0 }],
  ["cancelled on request", retryOf(held), "cancelled", { cancelled: 1, retried: 0, waits: 0, runs: 0 }],
  ["given back", releaseOf(held), "applied", { completed: 0, cancelled: 0, waits: 0, runs: 0 }],
])("an attempt that ended %s is counted as such", async (_name, settlement, result, { waits, runs, ...counts }) => {
  const { rollups, brought, settled } = setup();

  settled(settlement, result);
  await rollups.flush();

  const [counted] = brought[0] ?? [];
  expect(counted ?? { completed: 0, cancelled: 0 }).toMatchObject(counts);
  expect([countIn(counted?.wait ?? []), countIn(counted?.run ?? [])]).toEqual([waits, runs]);
});

test("what a lost hold says counts nothing", async () => {
  const { rollups, brought, settled } = setup();

  settled(completeOf(held), "lease_lost");
  await rollups.flush();

  expect(brought).toEqual([]);
});

test("children of a completed job are enqueued jobs of their types", async () => {
  const { rollups, brought, settled } = setup();

  settled(completeOf(held, { children: [aNewJob({ type: "child" }), aNewJob({ type: "child" })] }));
  await rollups.flush();

  expect(brought[0]).toMatchObject([
    { type: defaultType, completed: 1 },
    { type: "child", enqueued: 2 },
  ]);
});

test("a wait begins when the job was due, or was made if it was due before that", async () => {
  const { rollups, brought } = setup();
  const ends = { settlement: completeOf(held), result: "applied", runMs: 7.4 } as const;

  rollups.settled(aClaimedJob({ createdAt: 1_000, runAt: 5_000, startedAt: 5_100 }), ends);
  rollups.settled(aClaimedJob({ createdAt: 1_000, runAt: 0, startedAt: 1_900 }), ends);
  // The store's clock was set back.
  rollups.settled(aClaimedJob({ createdAt: 1_000, runAt: 1_000, startedAt: 500 }), ends);
  await rollups.flush();

  const [counted] = brought[0]!;
  expect(counted).toMatchObject({ waitSumMs: 1_000, runSumMs: 21 });
  expect([0, 100, 900].map((ms) => counted!.wait[bucketOf(ms)])).toEqual([1, 1, 1]);
});

test("what the store could not take is brought ten seconds later, with what has come since", async () => {
  const { rollups, store, brought, troubles, pass, settled } = setup();
  store.fails = unavailable();
  settled(completeOf(held));
  await pass(1_000);
  store.fails = null;

  settled(completeOf(held));
  await pass(9_000);
  expect(brought).toEqual([]);
  await pass(1_000);
  rollups.enqueued("a", { outcome: "created" });
  await pass(1_000);

  expect(troubles).toHaveLength(1);
  expect(brought).toMatchObject([[{ completed: 2, runSumMs: 20 }], [{ type: "a" }]]);
});

test("what the store refuses is let go of", async () => {
  const { rollups, store, brought, troubles } = setup();
  store.fails = new JobsError("STORE_REFUSED", "permission denied for table rollups");
  rollups.enqueued("a", { outcome: "created" });
  await rollups.flush();
  store.fails = null;

  await rollups.flush();

  expect(troubles).toHaveLength(1);
  expect(brought).toEqual([]);
});

test("a store that was closed before is no trouble", async () => {
  const { rollups, store, troubles } = setup();
  store.fails = new JobsError("STORE_CLOSED", "closed");
  rollups.enqueued("a", { outcome: "created" });

  await rollups.flush();

  expect(troubles).toEqual([]);
});
