/**
 * Enqueue in transactions of the application's own, with each library that opens them: what the job becomes, and what the
 * transaction does to it.
 */
import { randomUUID } from "node:crypto";
import { testPostgresUrl } from "@sluice/test-postgres";
import { openPrisma } from "@sluice/test-prisma";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineJob, handle, Queue, Worker } from "../../index.js";
import type { Enqueued, EnqueueOptions, JobRecord, Processor } from "../../index.js";
import { libraries } from "./executors.test.libraries.js";
import type { Library } from "./executors.test.libraries.js";
import { fromDrizzle, fromKysely, fromPrisma, postgres } from "./index.js";
import type { PostgresStore, PostgresTx } from "./index.js";

const payload = z.object({ n: z.number(), text: z.string().optional() });
type Payload = z.infer<typeof payload>;
const plain = defineJob({ type: "tx.plain", payload });
const correlated = defineJob({
  type: "tx.correlated",
  payload,
  correlation: ({ n }) => ({ n: `${n}` }),
  unique: false,
});
const daily = defineJob({
  type: "tx.daily",
  payload,
  unique: { by: ({ n }) => `${n}`, while: { periodMs: 86_400_000.5 } },
});
const [keep, replace, rerun] = (["keep", "replace", "rerun"] as const).map((onConflict) =>
  defineJob({
    type: `tx.${onConflict}`,
    payload,
    correlation: ({ n }) => ({ n: `${n}` }),
    unique: { while: "active", onConflict },
  }),
) as [typeof correlated, typeof correlated, typeof correlated];

let store: PostgresStore;
let queue: Queue<PostgresTx>;
/** Another connection, as the other side of a conflict. */
let otherSide: Library;
let worker: Worker<PostgresTx> | undefined;
/** Of the present test: keys and correlations of its own. */
let n = 0;

const schema = `test_${randomUUID().slice(0, 8)}`;
beforeAll(async () => {
  store = await postgres({ url: testPostgresUrl(), schema });
  queue = new Queue({ store });
  otherSide = await libraries["a pooled client of pg"]!(testPostgresUrl());
});
beforeEach(() => n++);
afterEach(async () => {
  await worker?.stop({ graceMs: 0 });
  worker = undefined;
});
afterAll(async () => {
  await store.query(`drop schema "${schema}" cascade`);
  await Promise.all([store.close(), otherSide.close()]);
});

describe.each(Object.entries(libraries))("in a transaction of %s", (_name, open) => {
  let library: Library;
  beforeAll(async () => (library = await open(testPostgresUrl())));
  afterAll(() => library.close());

  /** What the same enqueue makes outside of any transaction, apart from what is never the same. */
  async function expectSame(definition: typeof plain, input: Payload, options: EnqueueOptions) {
    const inside = await library.transaction(({ tx }) => queue.enqueue(definition, input, { ...options, tx }));
    const outside = await queue.enqueue(definition, input, options);
    expect(inside.outcome).toBe("created");
    expect(await kept(inside)).toEqual(await kept(outside));
  }

  test("a job is what it is outside", async () => {
    await expectSame(plain, { n, text: `"{}\\,', ''; $1 🐉 NULL 2026-01-01T00:00:00.000Z` }, {});
    await expectSame(
      correlated,
      { n },
      { correlation: { world: "{Faerûn}", 'a "b"': "" }, priority: -7, maxAttempts: 2 },
    );
    await expectSame(
      correlated,
      { n },
      { runAt: new Date(Date.now() + 86_400_000), trace: { traceparent: "00-1-2-01" } },
    );
    await expectSame(correlated, { n }, { delayMs: 86_400_000 });
  });

  test("a job is there when the transaction commits, not before, and runs", async () => {
    const { job } = await library.transaction(async ({ tx }) => {
      const enqueued = await queue.enqueue(plain, { n, text: "runs" }, { tx });
      expect(await queue.get(enqueued.job.id)).toBeNull();
      return enqueued;
    });
    await work(handle(plain, (each) => each.payload));
    expect(await queue.waitFor(job)).toMatchObject({ state: "completed", output: { n, text: "runs" } });
  });

  test("a job never was when the transaction is rolled back", async () => {
    const before = await queue.counts({ types: ["tx.correlated", "tx.keep"] });
    const jobs: Enqueued[] = [];
    const enqueuing = library.transaction(async ({ tx }) => {
      jobs.push(await queue.enqueue(correlated, { n }, { tx }), await queue.enqueue(keep, { n }, { tx }));
      throw new Error("out of stock");
    });

    await expect(enqueuing).rejects.toThrow("out of stock");
    expect(await store.get(jobs.map(({ job }) => job.id))).toEqual([null, null]);
    expect(await queue.counts({ types: ["tx.correlated", "tx.keep"] })).toEqual(before);
    expect((await queue.enqueue(keep, { n })).outcome).toBe("created");
  });

  test("a unique key that is held decides as it does outside", async () => {
    const outcomes: string[] = [];
    for (const definition of [keep, daily, replace, rerun]) {
      const holder = await queue.enqueue(definition, { n, text: "first" });
      const { outcome, job } = await library.transaction(({ tx }) =>
        queue.enqueue(definition, { n, text: "second" }, { tx }),
      );
      outcomes.push(outcome);
      expect(job.id).toBe(holder.job.id);
      expect(job.createdAt).toEqual(holder.job.createdAt);
      expect(await kept({ job })).toMatchObject({ payload: JSON.stringify(job.payload), correlation: job.correlation });
      expect(job.payload).toEqual({ n, text: outcome === "duplicate" ? "first" : "second" });
    }
    expect(outcomes).toEqual(["duplicate", "duplicate", "replaced", "replaced"]);
  });

  test("a job that must run again waits behind the one that runs", async () => {
    const first = await queue.enqueue(rerun, { n });
    let open = () => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    await work(handle(rerun, () => gate));
    await expect.poll(async () => (await store.get([first.job.id]))[0]?.state).toBe("processing");

    const [second, third] = await library.transaction(async ({ tx }) => [
      await queue.enqueue(rerun, { n, text: "second" }, { tx }),
      await queue.enqueue(rerun, { n, text: "third" }, { tx }),
    ]);

    expect([second.outcome, third.outcome, third.job.id]).toEqual(["created", "replaced", second.job.id]);
    expect(await kept(second)).toMatchObject({ state: "blocked", payload: JSON.stringify({ n, text: "third" }) });
    open();
    await queue.waitFor(second.job);
  });

  test("many jobs are one call", async () => {
    const holder = await queue.enqueue(keep, { n: n * 1_000 + 7 });
    const inputs = Array.from({ length: 50 }, (_, at) => ({ n: n * 1_000 + at, text: "x".repeat(at) }));
    const [loose, keyed] = await library.transaction(async ({ tx }) => [
      await queue.enqueueMany(correlated, inputs, { tx, priority: 3 }),
      await queue.enqueueMany(keep, inputs, { tx }),
    ]);

    expect(loose.map(({ job }) => job.payload)).toEqual(inputs);
    expect(keyed.map(({ outcome }) => outcome)).toEqual(inputs.map((_, at) => (at === 7 ? "duplicate" : "created")));
    expect(keyed[7]!.job.id).toBe(holder.job.id);
    const records = await store.get([...loose, ...keyed].map(({ job }) => job.id));
    expect(records.map((record) => record?.correlation?.["n"])).toEqual(
      [...inputs, ...inputs].map((each) => `${each.n}`),
    );
  });

  test("calls that do not wait for each other are answered as if they did", async () => {
    const results = await library.transaction(({ tx }) =>
      Promise.all([1, 2, 3].map((text) => queue.enqueue(keep, { n, text: `${text}` }, { tx }))),
    );
    expect(results.map(({ outcome }) => outcome)).toEqual(["created", "duplicate", "duplicate"]);
    expect(new Set(results.map(({ job }) => job.id)).size).toBe(1);
  });

  test("a key that another transaction is about to take is waited for", async () => {
    const inputs = [n * 1_000, n, n * 1_000 + 1].map((each) => ({ n: each }));
    let inOther: Promise<readonly Enqueued[]> | undefined;
    const first = await library.transaction(async ({ tx }) => {
      const enqueued = await queue.enqueue(keep, { n, text: "first" }, { tx });
      inOther = otherSide.transaction((other) => queue.enqueueMany(keep, inputs, { tx: other.tx }));
      await somebodyWaits();
      return enqueued;
    });

    const others = await inOther!;
    expect(others.map(({ outcome }) => outcome)).toEqual(["created", "duplicate", "created"]);
    expect(others[1]!.job.id).toBe(first.job.id);
    const records = await store.get(others.map(({ job }) => job.id));
    expect(records.map((record) => record?.correlation)).toEqual(inputs.map((each) => ({ n: `${each.n}` })));
  });

  test("a key is free again when the transaction that was about to take it is rolled back", async () => {
    let inOther: Promise<Enqueued> | undefined;
    const first = library.transaction(async ({ tx }) => {
      await queue.enqueue(keep, { n }, { tx });
      inOther = otherSide.transaction((other) => queue.enqueue(keep, { n, text: "second" }, { tx: other.tx }));
      await somebodyWaits();
      throw new Error("out of stock");
    });
    await expect(first).rejects.toThrow("out of stock");
    const second = await inOther!;
    expect(second.outcome).toBe("created");
    expect(await kept(second)).toMatchObject({ payload: JSON.stringify({ n, text: "second" }) });
  });

  test("a savepoint takes back what was enqueued under it, and nothing else", async () => {
    const [before, under, after] = await library.transaction(async (outer) => {
      const first = await queue.enqueue(keep, { n: n * 1_000 }, { tx: outer.tx });
      let second: Enqueued | undefined;
      const nested = outer.nested(async ({ tx }) => {
        second = await queue.enqueue(keep, { n: n * 1_000 + 1 }, { tx });
        throw new Error("changed my mind");
      });
      await expect(nested).rejects.toThrow("changed my mind");
      return [first, second!, await outer.nested(({ tx }) => queue.enqueue(keep, { n: n * 1_000 + 2 }, { tx }))];
    });
    const records = await store.get([before, under, after].map(({ job }) => job.id));
    expect(records.map((record) => record?.state)).toEqual(["pending", undefined, "pending"]);
    expect((await queue.enqueue(keep, { n: n * 1_000 + 1 })).outcome).toBe("created");
  });

  test("a refused payload leaves the transaction as it was", async () => {
    const { job } = await library.transaction(async ({ tx }) => {
      const refused = async () => queue.enqueue(plain, { n: "one" as never }, { tx });
      await expect(refused()).rejects.toMatchObject({ code: "INVALID_PAYLOAD" });
      return queue.enqueue(plain, { n }, { tx });
    });
    expect(await queue.get(job.id)).not.toBeNull();
  });

  test("an error of the server ends the transaction, unless there is a savepoint", async () => {
    const { job } = await library.transaction(async (outer) => {
      const nested = outer.nested(async ({ tx }) => {
        await expect(tx.query("select 1 / $1::int", [0])).rejects.toSatisfy(
          (error) => library.codeOf(error) === "22012",
        );
        await queue.enqueue(plain, { n }, { tx });
      });
      await expect(nested).rejects.toSatisfy((error) => library.codeOf(error) === "25P02");
      return queue.enqueue(plain, { n }, { tx: outer.tx });
    });
    expect(await queue.get(job.id)).not.toBeNull();
  });

  test("a serialization failure is the library's own error, and a second try goes through", async () => {
    const tries: unknown[] = [];
    const attempt = () =>
      library.transaction(async ({ tx }) => {
        await tx.query("select count(*) from pg_class");
        if (tries.length === 0) await queue.enqueue(replace, { n, text: "somebody else's" });
        return queue.enqueue(replace, { n, text: "mine" }, { tx });
      }, "serializable");
    const first = await attempt().catch((error: unknown) => tries.push(library.codeOf(error)));

    expect([first, tries]).toEqual([1, ["40001"]]);
    expect(await attempt()).toMatchObject({ outcome: "replaced", job: { payload: { n, text: "mine" } } });
  });
});

test("the database is refused where a transaction is needed", async () => {
  const pool = new pg.Pool({ connectionString: testPostgresUrl() });
  const prisma = openPrisma(testPostgresUrl());
  const refused = expect.objectContaining({ code: "INVALID_OPTIONS" });
  // @ts-expect-error -- no transaction
  expect(() => fromKysely(new Kysely({ dialect: new PostgresDialect({ pool }) }))).toThrow(refused);
  // @ts-expect-error -- no transaction
  expect(() => fromDrizzle(drizzle({ client: pool }), sql)).toThrow(refused);
  // @ts-expect-error -- no transaction
  expect(() => fromPrisma(prisma)).toThrow(refused);
  // @ts-expect-error -- a pool has no transaction either
  const tx: PostgresTx = pool;
  await expect((async () => queue.enqueue(plain, { n }, { tx }))()).rejects.toEqual(refused);
  await pool.end();
});

async function work(processor: Processor): Promise<void> {
  worker = new Worker({ store, processors: [processor] });
  await worker.start();
}

/** Until a connection waits for a lock on a key of this schema. */
async function somebodyWaits(): Promise<void> {
  const waiting = `
    select 1
    from pg_stat_activity
    where wait_event_type = 'Lock' and query like '%"${schema}".keys%'`;
  await expect.poll(async () => (await store.query(waiting)).rows.length).toBe(1);
}

async function kept({
  job,
}: Pick<Enqueued, "job">): Promise<Omit<JobRecord, "id" | "createdAt" | "runAt"> & { dueInHours: number }> {
  const [record] = await store.get([job.id]);
  const { id: _id, createdAt, runAt, ...rest } = record!;
  return { ...rest, dueInHours: Math.round((runAt - createdAt) / 3_600_000) };
}
