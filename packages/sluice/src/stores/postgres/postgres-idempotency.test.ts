/**
 * Idempotency keys between transactions (I7): whoever comes second waits for the first to be committed or undone, and nobody hears an
 * error. What one transaction sees is in the conformance suite.
 */
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { defineJob } from "../../definition.js";
import type { EnqueueResult } from "../../store.js";
import { anIdempotency, aNewJob, aUniqueClaim, ManualClock } from "../../testing/index.js";
import { Bed, countsOf, until } from "./faults.test.bed.js";
import type { PostgresStore } from "./index.js";

const work = defineJob({ type: "example", payload: z.object({ n: z.number() }) });
const idempotency = { key: "request-1", fingerprint: "the same" };

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.start();
});
afterEach(() => bed.clear());
afterAll(() => bed.server.stop());

async function twoStores(url: string): Promise<readonly [PostgresStore, PostgresStore]> {
  return [await bed.store({ url }), await bed.store({ url })];
}

/** A client of the application's, in a transaction. */
async function transaction(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  await client.connect();
  bed.atEnd(() => client.end());
  await client.query("begin");
  return client;
}

async function somebodyWaits(): Promise<void> {
  await until("somebody to wait", async () => (await bed.ask("select 1 from pg_locks where not granted")).length > 0);
}

test.each(["read committed", "serializable"])(
  "of fifty requests, each sent by two stores at once and alone or with others, each adds one job, where %s is the rule",
  { timeout: 60_000 },
  async (isolation) => {
    const url = await bed.database({ default_transaction_isolation: isolation });
    const stores = await twoStores(url);
    const aJob = (n: number, isUnique: boolean) =>
      aNewJob({
        idempotency: anIdempotency({ key: `request-${n}` }),
        unique: isUnique ? aUniqueClaim({ key: `example ${n % 7}`, onConflict: "replace" }) : null,
      });
    const numbers = Array.from({ length: 50 }, (_, n) => n);

    const calls = stores.flatMap((store, at) => [
      ...numbers.map((n) => store.enqueue([aJob(n, false)])),
      // In opposite orders: everybody locks in the same.
      store.enqueue((at === 0 ? numbers : [...numbers].reverse()).map((n) => aJob(n, n % 2 === 0))),
    ]);
    const results = (await Promise.all(calls)).flat();

    const named = results.flatMap((result) => (result.outcome === "repeated" ? result.id : []));
    const { jobs } = await stores[0].list({ filter: {}, page: { before: null, limit: 1_000 } });
    expect(results).toHaveLength(200);
    expect(results.filter(({ outcome }) => outcome !== "repeated")).toHaveLength(50);
    expect(new Set(named).size).toBe(jobs.length);
    expect(new Set(jobs.map(({ id }) => id))).toEqual(new Set(named));
  },
);

test("of fifty senders of one request, two stores of them, one creates the job", async () => {
  const stores = await twoStores(await bed.database());
  const queues = stores.map((store) => bed.queue({ store }));

  const calls = Array.from({ length: 50 }, (_, n) => queues[n % 2]!.enqueue(work, { n: 1 }, { idempotency }));
  const answers = await Promise.all(calls);

  expect(answers.filter(({ outcome }) => outcome === "created")).toHaveLength(1);
  expect(answers.filter(({ isRepeated }) => isRepeated)).toHaveLength(49);
  expect(new Set(answers.map(({ job }) => job.id)).size).toBe(1);
  expect(await countsOf(stores[0])).toEqual({ pending: 1 });
});

test("of fifty senders in transactions, the first of which is rolled back, one creates the job", async () => {
  const stores = await twoStores(await bed.database());
  let isFirst = true;

  const calls = Array.from({ length: 50 }, async (_, n) => {
    const store = stores[n % 2]!;
    return store.write(async (tx) => {
      const { outcome } = await bed.queue({ store }).enqueue(work, { n: 1 }, { idempotency, tx });
      if (outcome === "created" && isFirst) {
        isFirst = false;
        throw new Error("changed my mind");
      }
      return outcome;
    });
  });
  const outcomes = (await Promise.allSettled(calls)).map((call) =>
    call.status === "fulfilled" ? call.value : (call.reason as Error).message,
  );

  expect(outcomes.sort()).toEqual(["changed my mind", "created", ...Array<string>(48).fill("duplicate")]);
  expect(await countsOf(stores[0])).toEqual({ pending: 1 });
});

test.each([
  ["commit", "repeated"],
  ["rollback", "created"],
] as const)("who comes second waits for the first, whose %s makes it %s", async (ending, outcome) => {
  const url = await bed.database();
  const store = await bed.store({ url });
  const first = await transaction(url);
  await store.enqueue([aNewJob({ idempotency: anIdempotency() })], first);
  let result: EnqueueResult | undefined;

  const second = store.enqueue([aNewJob({ idempotency: anIdempotency() })]).then(([only]) => (result = only));
  await somebodyWaits();
  expect(result).toBeUndefined();
  await first.query(ending);
  await second;

  expect(result?.outcome).toBe(outcome);
  expect(await countsOf(store)).toEqual({ pending: 1 });
});

test("a caller's transaction that looks a second time does not take its own key for somebody's", async () => {
  const url = await bed.database();
  const store = await bed.store({ url });
  const [one, other] = [await transaction(url), await transaction(url)];
  const unique = aUniqueClaim();
  const holder = aNewJob({ unique });
  await store.enqueue([holder], one);

  // The unique key is taken by the time that its turn comes: the call is run again, and finds who has it.
  const second = store.enqueue([aNewJob({ unique, idempotency: anIdempotency() })], other);
  await somebodyWaits();
  await one.query("commit");

  expect(await second).toMatchObject([{ outcome: "duplicate", job: { id: holder.id } }]);
  await other.query("commit");
  const again = await store.enqueue([aNewJob({ unique, idempotency: anIdempotency() })]);
  expect(again).toMatchObject([{ outcome: "repeated", id: holder.id }]);
});

test("a job whose id is refused leaves no key in a transaction that goes on", async () => {
  const url = await bed.database();
  const store = await bed.store({ url });
  const tx = await transaction(url);
  const jobs = [aNewJob({ idempotency: anIdempotency() }), aNewJob({ id: "no uuid" })];

  await expect(store.enqueue(jobs, tx)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  await tx.query("commit");

  expect(await store.enqueue([aNewJob({ idempotency: anIdempotency() })])).toMatchObject([{ outcome: "created" }]);
});

test("prune deletes keys whose period is over, a thousand at a time", async () => {
  const url = await bed.database();
  const clock = new ManualClock();
  const store = await bed.store({ url, clock });
  const add = (keys: number, periodMs: number) =>
    store.enqueue(
      Array.from({ length: keys }, (_, n) =>
        aNewJob({ idempotency: anIdempotency({ key: `${periodMs} ${n}`, periodMs }) }),
      ),
    );
  const left = async () => (await bed.ask("select count(*)::int as n from sluice.idempotency_keys", url))[0];
  await add(1_200, 1_000);
  await add(3, 1_001);
  clock.advance(1_000);

  await store.prune({ retentionMs: 0, limit: 10 });
  expect(await left()).toEqual({ n: 203 });
  await store.prune({ retentionMs: 0, limit: 10 });
  expect(await left()).toEqual({ n: 3 });
});
