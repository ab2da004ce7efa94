/** The lease of one worker: that it is renewed, and that the worker knows when it is gone, told or not. */
import { expect, test } from "vitest";
import { JobsError } from "./errors.js";
import { Lease, type LeaseOptions } from "./lease.js";
import type { BeatAnswer, Store } from "./store.js";
import { ManualClock } from "./testing/manual-clock.js";

const leaseMs = 3_000;
const held: BeatAnswer = { lease: "held", cancels: [] };

async function setup(heartbeat: () => Promise<BeatAnswer>, keepLease?: Store["keepLease"]) {
  const clock = new ManualClock();
  const told = { lost: 0, cancels: [] as unknown[], troubles: [] as string[] };
  const store = { heartbeat, retire: async () => {}, ...(keepLease && { keepLease }) } as unknown as Store<unknown>;
  const options: LeaseOptions = {
    store,
    clock,
    workerId: "worker-1",
    types: [],
    concurrency: 1,
    leaseMs,
    stuckAfterMs: 60_000,
    onLost: () => told.lost++,
    onCancels: (holds) => told.cancels.push(...holds),
    onTrouble: (during) => told.troubles.push(during),
  };
  const lease = new Lease(options);
  await lease.start();
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { lease, clock, told, pass };
}

test("a lease is renewed three times in its length", async () => {
  let beats = 0;
  const { pass } = await setup(async () => {
    beats++;
    return held;
  });

  await pass(leaseMs);

  expect(beats).toBe(1 + 3);
});

test("a lease that somebody took is lost at the next renewal, once", async () => {
  let answer = held;
  const { told, pass } = await setup(async () => answer);

  answer = { lease: "lost", cancels: [] };
  await pass(3 * leaseMs);

  expect(told.lost).toBe(1);
});

test("cancellations come with the renewal", async () => {
  let answer = held;
  const { told, pass } = await setup(async () => answer);

  answer = { lease: "held", cancels: [{ id: "a job", epoch: 1 }] };
  await pass(leaseMs / 3);

  expect(told.cancels).toEqual([{ id: "a job", epoch: 1 }]);
});

test("a renewal that fails once is repeated and reported", async () => {
  let beats = 0;
  const { told, pass } = await setup(async () => {
    if (++beats === 2) throw new JobsError("STORE_UNAVAILABLE", "The store is busy.");
    return held;
  });

  await pass(3 * leaseMs);

  expect(told).toMatchObject({ lost: 0, troubles: ["renewing the lease"] });
});

test("a worker whose renewals fail for as long as the lease lasts takes it for lost", async () => {
  let isDown = false;
  const { told, pass } = await setup(async () => {
    if (isDown) throw new JobsError("STORE_UNAVAILABLE", "The store is down.");
    return held;
  });

  isDown = true;
  await pass(leaseMs + leaseMs / 3);

  expect(told.lost).toBe(1);
});

test("a worker whose renewal hangs for as long as the lease lasts takes it for lost", async () => {
  let isHanging = false;
  const { told, pass } = await setup(() => (isHanging ? new Promise(() => {}) : Promise.resolve(held)));

  isHanging = true;
  await pass(leaseMs + leaseMs / 3);

  expect(told.lost).toBe(1);
});

test("a store that keeps the lease itself is left to it while it is heard of", async () => {
  let beats = 0;
  let onBeat: (answer: BeatAnswer) => void = () => {};
  const { pass } = await setup(
    async () => {
      beats++;
      return held;
    },
    (order) => {
      onBeat = order.onBeat;
      return () => {};
    },
  );

  for (let i = 0; i < 6; i++) {
    onBeat(held);
    await pass(leaseMs / 3);
  }

  expect(beats).toBe(1);
});

test("a store that should keep the lease and goes silent is stood in for", async () => {
  let beats = 0;
  const { told, pass } = await setup(
    async () => {
      beats++;
      return held;
    },
    () => () => {},
  );

  await pass(3 * leaseMs);

  expect(beats).toBeGreaterThan(3);
  expect(told.lost).toBe(0);
});

test("a lease that was stopped is neither renewed nor lost", async () => {
  let beats = 0;
  const { lease, told, pass } = await setup(async () => {
    beats++;
    return held;
  });

  await lease.stop({ retire: true });
  await pass(3 * leaseMs);

  expect([beats, told.lost]).toEqual([1, 0]);
});
