import { fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { testPostgresUrl } from "@sluice/test-postgres";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Queue, Worker } from "sluice";
import { postgres, type PostgresStore, type PostgresTx } from "sluice/postgres";
import { credit, creditor } from "./postgres-completion.js";
import { shopWithDrizzle } from "./postgres-drizzle.js";
import { shopWithKysely } from "./postgres-kysely.js";
import { shopWithPg } from "./postgres-pg.js";
import { shopWithPrisma } from "./postgres-prisma.js";

// Each makes a database, the schema of the store in it, and processes; on a busy machine that takes its time.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

/** Of a database of its own, as the examples use the schema "sluice" and tables without one. */
let url: string;

beforeEach(async () => {
  const database = `example_${randomUUID().slice(0, 8)}`;
  await onServer(`create database ${database}`);
  url = Object.assign(new URL(testPostgresUrl()), { pathname: database }).href;
});
afterEach(() => onServer(`drop database ${new URL(url).pathname.slice(1)} with (force)`));

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client(testPostgresUrl());
  await client.connect();
  await client.query(statement);
  await client.end();
}

test.each(Object.entries({ pg: shopWithPg, Kysely: shopWithKysely, Drizzle: shopWithDrizzle, Prisma: shopWithPrisma }))(
  "an order and its confirmation exist together or not at all, with %s",
  async (_name, shop) => {
    expect(await shop(url)).toEqual({ ordered: 2, confirmed: 2 });
  },
);

describe("an account is credited once when the worker is killed", () => {
  let store: PostgresStore;
  let queue: Queue<PostgresTx>;

  beforeEach(async () => {
    store = await postgres({ url });
    queue = new Queue({ store });
    await store.query("create table accounts (id text primary key, balance int not null)");
    await store.query("insert into accounts values ('alice', 0)");
  });
  afterEach(() => store.close());

  test("before the commit: then there is neither the credit nor the completion", async () => {
    const { job } = await queue.enqueue(credit, { account: "alice", amount: 42 });
    await killWorkerWhen("credited", "stay");
    expect([(await queue.get(job.id))?.state, await balance()]).toEqual(["processing", 0]);

    const worker = new Worker({ store, processors: [creditor()] });
    await worker.start();
    expect(await queue.waitFor(job)).toMatchObject({ state: "completed", crashes: 1 });
    expect(await balance()).toBe(42);
    await worker.stop();
  });

  test("after the commit: then there are both", async () => {
    const { job } = await queue.enqueue(credit, { account: "alice", amount: 42 });
    await killWorkerWhen("completed", "go on");
    expect([(await queue.get(job.id))?.state, await balance()]).toEqual(["completed", 42]);
  });

  async function killWorkerWhen(word: string, whatThen: "stay" | "go on"): Promise<void> {
    const program = fork(new URL("./postgres-completion.test.program.js", import.meta.url), [url, whatThen]);
    for (let said: unknown; said !== word;) [said] = (await once(program, "message")) as [unknown];
    program.kill("SIGKILL");
    await once(program, "exit");
  }

  async function balance(): Promise<unknown> {
    const { rows } = await store.query("select balance from accounts where id = 'alice'");
    return (rows[0] as { balance: number }).balance;
  }
});
