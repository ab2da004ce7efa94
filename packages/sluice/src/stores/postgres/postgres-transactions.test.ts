/**
 * Transactions of the application's on the store's own connections: which errors are whose, and that a commit is one.
 */
import { randomUUID } from "node:crypto";
import { testPostgresUrl } from "@sluice/test-postgres";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { defineJob, handle, Queue, Worker } from "../../index.js";
import { aBeat, aClaim, aNewJob, aUniqueClaim, completeOf } from "../../testing/index.js";
import { postgres } from "./index.js";
import type { PostgresStore, PostgresTx } from "./index.js";

const schema = `test_${randomUUID().slice(0, 8)}`;
let store: PostgresStore;
let other: pg.Client;
let observer: pg.Client;

beforeAll(async () => {
  [other, observer] = [new pg.Client(testPostgresUrl()), new pg.Client(testPostgresUrl())];
  await Promise.all([other.connect(), observer.connect()]);
  store = await postgres({ url: testPostgresUrl(), schema, connections: { application: 1 } });
});
afterAll(async () => {
  await Promise.all([other.end(), observer.end()]);
  await store.query(`drop schema "${schema}" cascade`);
  await store.close();
});

test.each([
  Object.assign(new Error("connect ECONNREFUSED 10.0.0.7:443"), { code: "ECONNREFUSED" }),
  Object.assign(new Error("Permission denied by the mail server"), { code: "42501" }),
  new Error("timeout of the payment service"),
])("what the work throws is what the caller gets: %s", async (error) => {
  const before = await backend();
  const writing = store.write(async () => {
    throw error;
  });

  await expect(writing).rejects.toBe(error);
  expect(await backend(), "the connection was not to blame").toBe(before);
});

test("an error of a statement has the name that the store gives it", async () => {
  const writing = store.write(async (tx) => {
    await tx.query("set local statement_timeout = 20");
    await tx.query("select pg_sleep(10)");
  });
  await expect(writing).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", details: { reason: "57014" } });
});

test("a transaction that the server rolls back instead rejects with the error that was caught", async () => {
  const job = aNewJob();
  const writing = store.write(async (tx) => {
    await store.enqueue([job], tx);
    await tx.query("select 1 / 0").catch(() => undefined);
    await tx.query("select 1").catch(() => undefined);
  });

  await expect(writing).rejects.toMatchObject({ code: "22012" });
  expect(await store.get([job.id])).toEqual([null]);
});

test("an error that a savepoint made good is no error", async () => {
  const job = aNewJob();
  await store.write(async (tx) => {
    await store.enqueue([job], tx);
    await tx.query("savepoint risky");
    await tx.query("select 1 / 0").catch(() => tx.query("rollback to savepoint risky"));
  });
  expect(await store.get([job.id])).toMatchObject([{ state: "pending" }]);
});

test("a child whose key somebody else is about to take waits for them, then all of the completion happens", async () => {
  const workerId = randomUUID();
  const unique = aUniqueClaim();
  const again = aUniqueClaim({ key: "parent", onConflict: "rerun" });
  const parent = aNewJob({ type: "parent", unique: again });
  await store.heartbeat(aBeat({ workerId, types: [parent.type] }));
  await store.enqueue([parent]);
  const { jobs: held } = await store.claim(aClaim({ workerId, types: [parent.type] }));
  const successor = aNewJob({ type: "parent", unique: again });
  await store.enqueue([successor]);
  await other.query("begin");
  const holder = aNewJob({ unique });
  await store.enqueue([holder], other);

  const child = aNewJob({ unique });
  const completing = store.transact(
    () => "done",
    () => ({ write: "settle", settlement: completeOf(held[0]!, { children: [child] }) }),
  );
  const waiting = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%"${schema}".keys%'`;
  await expect.poll(async () => (await observer.query(waiting)).rows.length).toBe(1);
  await other.query("commit");

  expect(await completing).toEqual({ result: "applied", value: "done" });
  const jobs = await store.get([parent.id, successor.id, holder.id, child.id]);
  expect(jobs.map((job) => job?.state)).toEqual(["completed", "pending", "pending", undefined]);
});

test("a worker at work finds what a transaction commits late, be it pending or due by then", async () => {
  const type = defineJob({ type: "late", payload: z.object({ n: z.number() }) });
  const queue = new Queue({ store });
  const worker = new Worker({ store, processors: [handle(type, ({ payload }) => payload.n)] });
  await worker.start();

  await other.query("begin");
  const late = [
    await queue.enqueue(type, { n: 1 }, { tx: other }),
    await queue.enqueue(type, { n: 2 }, { tx: other, delayMs: 1 }),
  ];
  // Claimed meanwhile, and in the order of claims after the first of those.
  await queue.waitFor((await queue.enqueue(type, { n: 3 })).job);
  await other.query("commit");

  const ended = await Promise.all(late.map(({ job }) => queue.waitFor<number>(job)));
  expect(ended).toMatchObject([
    { state: "completed", output: 1 },
    { state: "completed", output: 2 },
  ]);
  await worker.stop();
});

test("a connection gets one statement at a time from calls that do not wait for each other", async () => {
  let isBusy = false;
  // As pg says it will be from version 9 on.
  const strict: PostgresTx = {
    async query(text, values) {
      if (isBusy) throw new Error("The connection is busy.");
      isBusy = true;
      return other.query(text, values as unknown[]).finally(() => (isBusy = false));
    },
  };
  const unique = aUniqueClaim({ key: "one at a time" });
  await other.query("begin");
  const results = await Promise.all(Array.from({ length: 3 }, () => store.enqueue([aNewJob({ unique })], strict)));
  await other.query("commit");

  expect(results.map(([result]) => result!.outcome)).toEqual(["created", "duplicate", "duplicate"]);
});

test("the next enqueue in a transaction does not wait for a failed one for ever", async () => {
  await other.query("begin");
  const tooLarge = store.enqueue([aNewJob({ priority: 2 ** 40 })], other);
  const next = store.enqueue([aNewJob()], other);
  await expect(tooLarge).rejects.toMatchObject({ code: "22003" });
  await expect(next).rejects.toMatchObject({ code: "25P02" });
  await other.query("rollback");
});

/** Of the only connection for applications. */
async function backend(): Promise<unknown> {
  const { rows } = await store.query("select pg_backend_pid() as pid");
  return (rows[0] as { pid: number }).pid;
}

test("an unfit payload rejects, and the transaction goes on", async () => {
  const type = defineJob({ type: "example", payload: z.object({ n: z.number() }) });
  const queue = new Queue({ store });

  const { id } = await store.write(async (tx) => {
    // Without a wait: were it thrown, it would not be caught here.
    const refused = queue.enqueue(type, { n: "one" } as never, { tx });
    await expect(refused).rejects.toMatchObject({ code: "INVALID_PAYLOAD" });
    return (await queue.enqueue(type, { n: 1 }, { tx })).job;
  });

  expect((await queue.get(id))?.payload).toEqual({ n: 1 });
});

test("a payload may be checked by an asynchronous schema within a transaction", async () => {
  const known = z.number().refine((n) => Promise.resolve(n < 10));
  const type = defineJob({ type: "example", payload: z.object({ n: known }) });
  const queue = new Queue({ store });

  await store.write(async (tx) => {
    await expect(queue.enqueue(type, { n: 11 }, { tx })).rejects.toMatchObject({ code: "INVALID_PAYLOAD" });
    const added = await queue.enqueueMany(type, [{ n: 1 }, { n: 2 }], { tx });
    expect(added.map(({ outcome }) => outcome)).toEqual(["created", "created"]);
  });
});
