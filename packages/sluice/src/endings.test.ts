/** Those who wait for a job: that they are told soon, surely, and only once. */
import { expect, test } from "vitest";
import { JobsError } from "./errors.js";
import type { JobRecord } from "./job.js";
import type { Store, WakeHint } from "./store.js";
import { memory } from "./stores/memory/index.js";
import { aBeat, aClaim, aNewJob, completeOf } from "./testing/builders.js";
import { ManualClock } from "./testing/manual-clock.js";
import { Endings } from "./endings.js";

async function setup() {
  const clock = new ManualClock();
  const store = await memory({ clock });
  await store.heartbeat(aBeat());
  const job = aNewJob();
  await store.enqueue([job]);
  return { clock, store, job, endings: new Endings(store, clock) };
}

async function complete(store: Store): Promise<void> {
  const { jobs } = await store.claim(aClaim());
  await store.settle(jobs.map((held) => completeOf(held)));
}

async function turn(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

test("a hint makes waiting prompt", async () => {
  const { clock, store, job, endings } = await setup();
  const ended: JobRecord[] = [];
  void endings.ended(job.id, 60_000).then((record) => ended.push(record));
  await turn();

  await complete(store);
  await turn();
  clock.advance(10);
  await turn();

  expect(ended.map(({ state }) => state)).toEqual(["completed"]);
});

test("polling makes waiting sure where no hint comes", async () => {
  const { clock, store, job } = await setup();
  store.subscribe = () => () => {};
  const endings = new Endings(store, clock);
  const ended: JobRecord[] = [];
  void endings.ended(job.id, 60_000).then((record) => ended.push(record));
  await turn();

  await complete(store);
  clock.advance(500);
  await turn();

  expect(ended.map(({ state }) => state)).toEqual(["completed"]);
});

test("hints that never pause do not keep anybody waiting", async () => {
  const { clock, store, job } = await setup();
  let hint: (hint: WakeHint) => void = () => {};
  store.subscribe = (listener) => {
    hint = listener;
    return () => {};
  };
  const endings = new Endings(store, clock);
  const ended: JobRecord[] = [];
  void endings.ended(job.id, 60_000).then((record) => ended.push(record));
  await turn();

  await complete(store);
  for (let ms = 0; ms < 2_000; ms += 5) {
    hint({ work: false, ended: true });
    clock.advance(5);
    await turn();
  }

  expect(ended.map(({ state }) => state)).toEqual(["completed"]);
});

test("one look at the store serves all who wait", async () => {
  const { clock, store, job, endings } = await setup();
  const other = aNewJob();
  await store.enqueue([other]);
  const both = Promise.all([endings.ended(job.id, 60_000), endings.ended(other.id, 60_000)]);
  await turn();
  clock.advance(500);
  await turn();
  let looks = 0;
  const get = store.get.bind(store);
  store.get = (ids) => {
    looks++;
    return get(ids);
  };

  await complete(store);
  await turn();
  clock.advance(10);
  await both;

  expect(looks).toBe(1);
});

test("a store that is busy for a moment does not end the wait", async () => {
  const { clock, store, job, endings } = await setup();
  const unavailable = new JobsError("STORE_UNAVAILABLE", "The store is busy.");
  const get = store.get.bind(store);
  let refusals = 1;
  store.get = (ids) => (refusals-- > 0 ? Promise.reject(unavailable) : get(ids));
  const told: unknown[] = [];
  endings.ended(job.id, 60_000).then(
    (record) => told.push(record.state),
    (error: unknown) => told.push(error),
  );
  await turn();

  await complete(store);
  clock.advance(1_000);
  await turn();

  expect(told).toEqual(["completed"]);
});

test("a store that can answer no more ends the wait", async () => {
  const { store, job, endings } = await setup();

  await store.close();

  await expect(endings.ended(job.id, 60_000)).rejects.toMatchObject({ code: "STORE_CLOSED" });
});

test("nobody listens to the store when nobody waits", async () => {
  const { clock, store, job } = await setup();
  let listeners = 0;
  store.subscribe = () => {
    listeners++;
    return () => void listeners--;
  };
  const endings = new Endings(store, clock);
  const given = endings.ended(job.id, 1_000).catch((error: { code: string }) => error.code);
  await turn();
  const during = listeners;

  clock.advance(1_000);

  expect(await given).toBe("WAIT_TIMEOUT");
  expect([during, listeners]).toEqual([1, 0]);
});
