/**
 * The server goes away, comes back, throws us out, has no place for us or takes no writes: nothing that was accepted is lost, nothing
 * ends twice, and the process lives (reliability: I1, I3, I8, I12; faults 8 and 11).
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { defineJob } from "../../definition.js";
import { Events } from "../../events.js";
import { handle } from "../../processor.js";
import { aBeat, aNewJob, aUniqueClaim } from "../../testing/index.js";
import { Bed, changed, countsOf, Gate, until } from "./faults.test.bed.js";
import { Load, makeLedger, workOnLedger } from "./faults.test.load.js";
import type { PostgresStore } from "./index.js";

const work = defineJob({ type: "example", payload: z.object({}) });

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.start({ max_connections: "60" });
});
afterEach(() => bed.clear());
afterAll(() => bed.server.stop());

const outages: readonly (readonly [string, () => Promise<void>])[] = [
  [
    "stopped immediately, for two seconds",
    async () => {
      await bed.crash();
      await sleep(2_000);
      await bed.server.restart();
    },
  ],
  [
    "killed",
    async () => {
      await bed.crash("SIGKILL");
      await bed.server.restart();
    },
  ],
  [
    "ending our sessions five times a second, for five seconds",
    async () => {
      for (let times = 0; times < 25; times++) {
        await bed.terminate();
        await sleep(200);
      }
    },
  ],
  [
    "that takes no writes, for a second",
    async () => {
      await bed.takeWrites(false);
      await sleep(1_000);
      await bed.takeWrites(true);
    },
  ],
];

test.each(outages)("a server %s loses nothing and repeats nothing", { timeout: 90_000 }, async (_what, inflict) => {
  const url = await bed.database();
  const [front, back] = [await bed.store({ url }), await bed.store({ url })];
  await makeLedger(front);
  await bed.worker({ store: back, processors: [workOnLedger()] });
  const load = new Load(bed.queue({ store: front, retryForMs: 1_000 })).start(4);
  bed.atEnd(() => load.stop());
  await sleep(300);

  await inflict();
  const acceptedBefore = load.accepted;
  await sleep(500);
  await load.stop();

  expect(load.accepted).toBeGreaterThan(acceptedBefore);
  await load.expectEachOnce(back);
});

describe("a server that takes no writes", () => {
  afterEach(() => bed.takeWrites(true));

  test("is named, and its connections are given up: the address may lead to another server by now", async () => {
    const store = await bed.store({ url: await bed.database(), connections: { main: 1 }, listenUrl: null });
    await store.enqueue([aNewJob({ unique: aUniqueClaim() })]);
    const before = await bed.sessions("main");

    await bed.takeWrites(false);
    const refused = await store
      .enqueue([aNewJob({ unique: aUniqueClaim({ key: "other" }) })])
      .catch((error: unknown) => error);
    await bed.takeWrites(true);

    expect(refused).toMatchObject({ code: "STORE_UNAVAILABLE", details: { reason: "25006" } });
    await store.enqueue([aNewJob({ unique: aUniqueClaim({ key: "other" }) })]);
    expect(await bed.sessions("main")).not.toEqual(before);
  });
});

describe("a server without a connection left", () => {
  test("still takes heartbeats and settlements, and an enqueue says what is wrong", async () => {
    const { store, witness, hogs } = await openWithFewConnections();
    const gate = new Gate();
    const events = new Events();
    const started = new Promise((resolve) => events.on("job.started", resolve));
    await bed.worker({ store, events, leaseMs: 600, processors: [handle(work, () => gate.opened)] });
    const queue = bed.queue({ store, retryForMs: 200 });
    await queue.enqueue(work, {});
    await started;

    await hogs.takeAllBut("reserved");
    const [before] = await witness.workers();
    await until("the lease to be renewed twice", async () => {
      const [worker] = await witness.workers();
      return worker!.leaseExpiresAt > before!.leaseExpiresAt + 600;
    });
    const refused = await queue.enqueue(work, {}).catch((error: unknown) => error);
    gate.open();
    await until("the job to complete", async () => (await countsOf(witness)).completed === 1);

    expect(refused).toMatchObject({ code: "STORE_UNAVAILABLE", details: { reason: "53300" } });
    expect((refused as Error).message).toContain("has no connection left. Raise max_connections");
    expect((await witness.workers())[0]).toMatchObject({ isLost: false, workerId: before!.workerId });
    await hogs.leave();
    await queue.enqueue(work, {});
  });

  test("finds the reserved places taken, however long nobody has used them", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"], shouldAdvanceTime: true });
    bed.atEnd(() => vi.useRealTimers());
    const store = await bed.store({ url: await bed.database(), listenUrl: null });
    await Promise.all([store.heartbeat(aBeat()), store.counts()]);
    const places = await bed.sessions("reserved");

    await vi.advanceTimersByTimeAsync(3_600_000);
    await until("the other connections to be closed", async () => (await bed.sessions("main")).length === 0);

    expect(places).toHaveLength(1);
    expect(await bed.sessions("reserved")).toEqual(places);
  });
});

// ── few connections ─────────────────────────────────────────────────────────

/** A store whose role may have seven, a witness that may have more, and who takes those that are left. */
async function openWithFewConnections(): Promise<{ store: PostgresStore; witness: PostgresStore; hogs: Hogs }> {
  const url = await bed.database();
  const database = new URL(url).pathname.slice(1);
  await bed.ask("create role few login password 'few' connection limit 7");
  await bed.ask(`alter database ${database} owner to few`);
  const asFew = changed(url, (to) => Object.assign(to, { username: "few", password: "few" }));
  const store = await bed.store({ url: asFew, listenUrl: null, connections: { main: 1, reserved: 1, application: 1 } });
  const hogs = new Hogs(asFew);
  bed.atEnd(() => hogs.leave());
  return { store, witness: await bed.store({ url, listenUrl: null }), hogs };
}

class Hogs {
  readonly #url: string;
  #clients: pg.Client[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  /** Until the library has connections of this lane only, and the server gives it no other. */
  async takeAllBut(lane: string): Promise<void> {
    await until("every other connection to be taken", async () => {
      while (await this.#take());
      const others = await bed.ask<{ ended: boolean }>(
        `select pg_terminate_backend(pid) as ended from pg_stat_activity
         where usename = 'few' and application_name like 'sluice %' and application_name <> 'sluice ${lane}'`,
      );
      return others.length === 0;
    });
  }

  async leave(): Promise<void> {
    await Promise.all(this.#clients.splice(0).map((client) => client.end()));
  }

  /** One more; false when there is none. */
  async #take(): Promise<boolean> {
    const client = new pg.Client(this.#url);
    client.on("error", () => undefined);
    try {
      await client.connect();
      this.#clients.push(client);
      return true;
    } catch {
      return false;
    }
  }
}
