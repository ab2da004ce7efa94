/**
 * What the compiler knows of a handler's transactions, and what happens to those who do not listen to it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { defineJob, handle, noRetry, Queue, Worker } from "./index.js";
import type { Context, Processor } from "./index.js";
import type { PostgresTx } from "./stores/postgres/index.js";
import { sqlite } from "./stores/sqlite/index.js";
import type { Connection, SqliteStore } from "./stores/sqlite/index.js";

const type = defineJob({ type: "typed", payload: z.object({ n: z.number() }), retry: noRetry });

let folder: string;
let store: SqliteStore;
let worker: Worker<Connection> | undefined;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-context-"));
  store = await sqlite({ path: join(folder, "jobs.db") });
  store.connection.exec("create table rows (n integer)");
});
afterEach(async () => {
  await worker?.stop();
  await store.close();
  rmSync(folder, { recursive: true });
});

async function run(hired: Worker<Connection>) {
  worker = hired;
  await worker.start();
  const queue = new Queue({ store });
  const { job } = await queue.enqueue(type, { n: 7 });
  return queue.waitFor(job);
}

test("a handler for the store's transactions has them typed, with what they return", async () => {
  const processor = handle(type, async (job, ctx: Context<Connection>) => {
    const saved: string = await ctx.transactionStep("save", (tx) => {
      tx.prepare("insert into rows values (?)").run(job.payload.n);
      return "saved";
    });
    await ctx.transaction((tx) => `${saved} ${(tx.prepare("select n from rows").get() as { n: number }).n}`);
  });
  expect(await run(new Worker({ store, processors: [processor] }))).toMatchObject({ output: "saved 7" });
});

test("asynchronous work in a synchronous transaction does not compile, and is refused", async () => {
  const processors: Processor[] = [
    handle(type, async (_job, ctx: Context<Connection>) => {
      // @ts-expect-error -- SQLite's transactions cannot wait
      await ctx.transaction(async (tx) => tx.exec("insert into rows values (1)"));
    }),
    handle(type, async (_job, ctx) => {
      // @ts-expect-error -- also where only the work says what it takes
      await ctx.transactionStep("save", async (tx: Connection) => tx.exec("insert into rows values (1)"));
    }),
  ];
  for (const processor of processors) {
    const ended = await run(new Worker({ store, processors: [processor] }));
    expect(ended).toMatchObject({ state: "failed", error: { message: expect.stringMatching(/returned a promise/) } });
    await worker!.stop();
  }
  expect(store.connection.prepare("select count(*) as n from rows").get()).toMatchObject({ n: 0 });
});

test("a handler for another store's transactions does not compile in this store's worker, and fails there", async () => {
  const processor = handle(type, (_job, ctx: Context<PostgresTx>) => ctx.transaction((tx) => tx.query("select 1")));
  // @ts-expect-error -- PostgreSQL's transactions are not SQLite's
  const ended = await run(new Worker({ store, processors: [processor] }));
  expect(ended).toMatchObject({
    state: "failed",
    error: { message: expect.stringMatching(/query is not a function/) },
  });
});
