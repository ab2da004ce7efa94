/**
 * Many at once want the same rows and keys, also where the server's own isolation is stricter than ours: deadlocks and serialization
 * failures are run again and nobody hears of them, and each key has one holder (reliability: I3, I5, I7; fault 17).
 */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { fixed } from "../../backoff.js";
import { defineJob } from "../../definition.js";
import { Events } from "../../events.js";
import { handle } from "../../processor.js";
import {
  aBeat,
  aClaim,
  aCommand,
  aNewJob,
  aUniqueClaim,
  cancelOf,
  completeOf,
  failOf,
  releaseOf,
  retryOf,
} from "../../testing/index.js";
import type { ClaimedJob, Settlement } from "../../store.js";
import { Bed, countsOf, drained, until } from "./faults.test.bed.js";
import type { PostgresStore, PostgresTx } from "./index.js";

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.start();
});
afterEach(() => bed.clear());
afterAll(() => bed.server.stop());

async function openStores(n: number, url: string): Promise<readonly PostgresStore[]> {
  const stores: PostgresStore[] = [];
  while (stores.length < n) stores.push(await bed.store({ url }));
  return stores;
}

test.each(["serializable", "repeatable read"])(
  "where %s is the rule, four workers run 500 jobs that are sent four times, each once, and without a word",
  { timeout: 120_000 },
  async (isolation) => {
    const url = await bed.database({ default_transaction_isolation: isolation });
    const stores = await openStores(4, url);
    await stores[0]!.query("create table ledger (n integer not null)");
    const work = defineJob({
      type: "example",
      payload: z.object({ n: z.number() }),
      unique: { by: ({ n }) => String(n), while: { periodMs: 3_600_000 } },
      retry: fixed({ attempts: 3, delayMs: 20 }),
    });
    const troubles: unknown[] = [];
    const processor = handle(work, async ({ payload: { n } }, ctx) => {
      if (n % 5 === 0 && ctx.attempt === 1) throw new Error("not yet");
      const write = (tx: PostgresTx) => tx.query("insert into ledger values ($1)", [n]);
      if (n % 2 === 0) await ctx.transaction(write);
      else await ctx.transactionStep("effect", async (tx: PostgresTx) => void (await write(tx)));
    });
    for (const store of stores) {
      const events = new Events();
      events.on("worker.troubled", (event) => troubles.push(event));
      await bed.worker({ store, events, processors: [processor], leaseMs: 15_000 });
    }

    const sent = stores.map((store) => {
      const queue = bed.queue({ store });
      const ns = Array.from({ length: 500 }, (_, n) => n).sort(() => randomInt(3) - 1);
      return Promise.all(ns.map((n) => queue.enqueue(work, { n })));
    });
    const outcomes = (await Promise.all(sent)).flat().map(({ outcome }) => outcome);
    await drained(stores[0]!);

    const { rows } = await stores[0]!.query("select n, count(*)::int as effects from ledger group by n");
    expect(troubles).toEqual([]);
    expect(outcomes.filter((outcome) => outcome === "created")).toHaveLength(500);
    expect(await countsOf(stores[0]!)).toEqual({ completed: 500 });
    expect(rows).toHaveLength(500);
    expect(rows.filter((row) => (row as { effects: number }).effects !== 1)).toEqual([]);
  },
);

test(
  "a storm of enqueues, settlements and commands for the same keys raises no error, and each key has one holder",
  { timeout: 120_000 },
  async () => {
    const url = await bed.database();
    const stores = await openStores(4, url);
    const storm = new Storm(stores);
    const tooMany: unknown[] = [];
    const watch = setInterval(() => void bed.ask(holdersOfOneKey, url).then((rows) => tooMany.push(...rows)), 50);

    await storm.rage(4_000).finally(() => clearInterval(watch));
    await storm.abate();

    const [left] = await bed.ask(
      "select (select count(*) from sluice.jobs)::int as jobs, (select count(*) from sluice.keys)::int as keys",
      url,
    );
    const ended = await bed.ask<{ state: string; n: number }>(
      "select state, count(*)::int as n from sluice.history group by state",
      url,
    );
    expect(tooMany).toEqual([]);
    expect(left).toEqual({ jobs: 0, keys: 0 });
    expect(await countsOf(stores[0]!)).toEqual(Object.fromEntries(ended.map(({ state, n }) => [state, n])));
    expect(storm.created).toBeGreaterThan(5);
    expect(ended.reduce((sum, { n }) => sum + n, 0)).toBe(storm.created);
  },
);

const holdersOfOneKey = `
  select unique_key, array_agg(state) as states
  from sluice.jobs
  group by unique_key
  having count(*) filter (where state not in ('blocked', 'failed')) > 1
    or count(*) filter (where state = 'blocked') > 1`;

/** Everybody does everything at once, each with the same few keys in an order of its own. */
class Storm {
  readonly #stores: readonly PostgresStore[];
  readonly #ids = new Set<string>();
  #isOver = false;
  created = 0;

  constructor(stores: readonly PostgresStore[]) {
    this.#stores = stores;
  }

  async rage(ms: number): Promise<void> {
    await this.#stores[0]!.heartbeat(aBeat());
    const all = this.#stores.flatMap((store) => [this.#enqueue(store), this.#run(store), this.#command(store)]);
    // As long as all is well.
    await Promise.race([sleep(ms), Promise.all(all)]);
    this.#isOver = true;
    await Promise.all(all);
  }

  /** Runs what is left. */
  async abate(): Promise<void> {
    const store = this.#stores[0]!;
    await until("nothing to be left", async () => {
      const { jobs } = await store.claim(aClaim({ limit: 100 }));
      await store.settle(jobs.map((job) => completeOf(job)));
      const failed = await store.list({ filter: { states: ["failed"] }, page: { before: null, limit: 1_000 } });
      await store.amend(aCommand("discard", failed.jobs.map(({ id }) => id))); // prettier-ignore
      const counts = await countsOf(store);
      return jobs.length === 0 && Object.keys(counts).every((state) => state === "completed" || state === "cancelled");
    });
  }

  async #enqueue(store: PostgresStore): Promise<void> {
    for (let round = 0; !this.#isOver; round++) {
      const jobs = shuffled(["a", "b", "c", "d", "e", "f"]).map((name) =>
        aNewJob({
          payload: JSON.stringify({ round }),
          unique: aUniqueClaim({ key: `example:${name}`, onConflict: oneOf(["keep", "replace", "rerun"]) }),
        }),
      );
      const results = await store.enqueue(jobs);
      this.created += results.filter(({ outcome }) => outcome === "created").length;
      for (const { id } of jobs) this.#ids.add(id);
    }
  }

  async #run(store: PostgresStore): Promise<void> {
    while (!this.#isOver) {
      const { jobs } = await store.claim(aClaim({ limit: 4 }));
      await store.settle(shuffled(jobs).map(endingOf));
    }
  }

  async #command(store: PostgresStore): Promise<void> {
    while (!this.#isOver) {
      const ids = shuffled([...this.#ids]).slice(0, 8);
      await store.amend(aCommand(oneOf(["cancel", "retry", "discard"]), ids));
    }
  }
}

function endingOf(job: ClaimedJob): Settlement {
  return oneOf([completeOf(job), retryOf(job, { delayMs: 1 }), releaseOf(job), failOf(job), cancelOf(job)]);
}

function oneOf<T>(values: readonly T[]): T {
  return values[randomInt(values.length)]!;
}

function shuffled<T>(values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ value }) => value);
}

describe("of two who want one key", () => {
  const unique = aUniqueClaim({ key: "example:one", onConflict: "rerun" });
  /** How many statements wait for a lock. */
  const waiting = async () => (await bed.ask("select 1 from pg_locks where not granted")).length;

  test("one adds a job behind another that the second ends, and it becomes runnable", async () => {
    const [store] = await openStores(1, await bed.database());
    await store!.heartbeat(aBeat());
    await store!.enqueue([aNewJob({ unique })]);
    const [holder] = (await store!.claim(aClaim())).jobs;
    let ending: Promise<unknown> = Promise.resolve();

    await store!.write(async (tx) => {
      await store!.enqueue([aNewJob({ unique })], tx);
      ending = store!.settle([completeOf(holder!)]);
      await until("the settlement to wait", async () => (await waiting()) > 0);
    });

    expect(await ending).toEqual(["applied"]);
    expect(await countsOf(store!)).toEqual({ completed: 1, pending: 1 });
  });

  test("one revives a failed job that the second cancels, and the key is free", async () => {
    const url = await bed.database();
    const [store, other] = await openStores(2, url);
    await store!.heartbeat(aBeat());
    const job = aNewJob({ unique });
    await store!.enqueue([job]);
    await store!.settle((await store!.claim(aClaim())).jobs.map((held) => failOf(held)));
    const holdUp = new pg.Client(url);
    await holdUp.connect();
    bed.atEnd(() => holdUp.end());
    await holdUp.query("begin");
    await holdUp.query("lock table sluice.audit in share mode");

    const retried = store!.amend(aCommand("retry", [job.id]));
    await until("the retry to wait", async () => (await waiting()) === 1);
    const cancelled = other!.amend(aCommand("cancel", [job.id]));
    await until("the cancellation to wait", async () => (await waiting()) === 2);
    await holdUp.query("rollback");

    expect((await retried).results).toMatchObject([{ outcome: "applied", state: "pending" }]);
    expect((await cancelled).results).toMatchObject([{ outcome: "applied", state: "cancelled" }]);
    expect((await store!.enqueue([aNewJob({ unique })]))[0]?.outcome).toBe("created");
  });

  test("one sends a job again while the second ends it, and it does not come back", async () => {
    const url = await bed.database();
    const [store, other] = await openStores(2, url);
    await store!.heartbeat(aBeat());
    const [first, job] = [aNewJob(), aNewJob()];
    await store!.enqueue([job]);
    const { jobs } = await store!.claim(aClaim());
    // The second send waits here, with its view of things taken.
    const holdUp = new pg.Client(url);
    await holdUp.connect();
    bed.atEnd(() => holdUp.end());
    await holdUp.query("begin");
    await other!.enqueue([first], holdUp);

    const again = other!.enqueue([first, job]);
    await until("the second send to wait", async () => (await waiting()) === 1);
    expect(await store!.settle(jobs.map((held) => completeOf(held)))).toEqual(["applied"]);
    await holdUp.query("rollback");

    expect((await again).map(({ outcome }) => outcome)).toEqual(["created", "created"]);
    expect(await countsOf(store!)).toEqual({ completed: 1, pending: 1 });
    expect((await store!.claim(aClaim({ limit: 10 }))).jobs.map(({ id }) => id)).toEqual([first.id]);
  });
});

describe("a row that somebody keeps locked", () => {
  const work = defineJob({ type: "example", payload: z.object({ n: z.number() }) });

  /** As an operator with a transaction open at lunch. */
  async function lock(id: string, url: string): Promise<pg.Client> {
    const client = new pg.Client(url);
    await client.connect();
    bed.atEnd(() => client.end());
    await client.query("begin");
    await client.query("select 1 from sluice.jobs where id = $1 for update", [id]);
    return client;
  }

  test("does not keep the other jobs of a lost worker from being run elsewhere", async () => {
    const url = await bed.database();
    const [store] = await openStores(1, url);
    const queue = bed.queue({ store: store! });
    const { job: locked } = await queue.enqueue(work, { n: 1 });
    const { job: free } = await queue.enqueue(work, { n: 2 });
    await store!.heartbeat(aBeat({ workerId: "dead", leaseMs: 1 }));
    await store!.claim(aClaim({ workerId: "dead", limit: 2 }));
    const holder = await lock(locked.id, url);

    await bed.worker({ store: store!, processors: [handle(work, () => undefined)] });

    expect((await queue.waitFor(free, { timeoutMs: 10_000 })).state).toBe("completed");
    expect((await queue.get(locked.id))?.state).toBe("processing");
    await holder.query("rollback");
    expect((await queue.waitFor(locked)).state).toBe("completed");
  });

  test("makes a settlement give up in time, also on the server", async () => {
    const url = await bed.database();
    const store = await bed.store({ url, timeoutMs: 500 });
    await store.heartbeat(aBeat());
    await store.enqueue([aNewJob({ unique: aUniqueClaim() })]);
    const { jobs } = await store.claim(aClaim());
    const holder = await lock(jobs[0]!.id, url);

    const refused = await store.settle(jobs.map((job) => completeOf(job))).catch((error: unknown) => error);

    expect(refused).toMatchObject({ code: "STORE_UNAVAILABLE", details: { reason: "55P03" } });
    expect(await bed.ask("select 1 from pg_locks where not granted", url)).toEqual([]);
    await holder.query("rollback");
    expect(await store.settle(jobs.map((job) => completeOf(job)))).toEqual(["applied"]);
  });
});

describe("with one key, in transactions of their own", () => {
  const work = defineJob({
    type: "example",
    payload: z.object({ n: z.number() }),
    unique: { by: () => "one", while: "active" },
  });

  test("of fifty callers one gets the job after the first was rolled back, and the others hear of it", async () => {
    const url = await bed.database();
    const stores = await openStores(2, url);
    let isFirst = true;

    const calls = Array.from({ length: 50 }, async (_, n) => {
      const store = stores[n % 2]!;
      return store.write(async (tx) => {
        const { outcome } = await bed.queue({ store }).enqueue(work, { n }, { tx });
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
    expect(await countsOf(stores[0]!)).toEqual({ pending: 1 });
  });

  test("what a caller's own client wrote before the enqueue stays, though another was quicker", async () => {
    const url = await bed.database();
    const [store] = await openStores(1, url);
    await store!.query("create table orders (n integer not null)");
    const queue = bed.queue({ store: store! });
    const [one, other] = [new pg.Client(url), new pg.Client(url)];
    for (const client of [one, other]) {
      await client.connect();
      bed.atEnd(() => client.end());
      await client.query("begin");
    }

    await queue.enqueue(work, { n: 1 }, { tx: one });
    await other.query("insert into orders values (2)");
    const second = queue.enqueue(work, { n: 2 }, { tx: other });
    await until(
      "the second to wait",
      async () => (await bed.ask("select 1 from pg_locks where not granted")).length > 0,
    );
    await one.query("commit");

    expect((await second).outcome).toBe("duplicate");
    await other.query("commit");
    expect((await store!.query("select n from orders")).rows).toEqual([{ n: 2 }]);
  });
});
