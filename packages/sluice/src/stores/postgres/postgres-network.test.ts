/**
 * The network between us and the server loses answers, goes silent without a word, and cuts the listener off: what was committed
 * counts once, whoever waits is told in time, and nothing stays behind in the hands of a worker that never heard of it
 * (reliability: I1, I3, I7, I10; faults 9 and 10).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startFlakyProxy } from "@sluice/test-postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { fixed } from "../../backoff.js";
import { defineJob } from "../../definition.js";
import { handle } from "../../processor.js";
import { aBeat, aClaim, aNewJob, completeOf, retryOf } from "../../testing/index.js";
import type { WakeHint } from "../../store.js";
import { Bed, changed, countsOf, drained, until } from "./faults.test.bed.js";
import { Load, makeLedger, workOnLedger } from "./faults.test.load.js";
import { startReadingProxy } from "./faults.test.proxy.js";
import type { ReadingProxy } from "./faults.test.proxy.js";
import type { PostgresStore, PostgresTx } from "./index.js";

const work = defineJob({
  type: "example",
  payload: z.object({ n: z.number() }),
  retry: fixed({ attempts: 3, delayMs: 10 }),
});

/** As a statement of its own, and not the end of "read committed". */
const commit = "commit\0";

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.start();
});
afterEach(() => bed.clear());
afterAll(() => bed.server.stop());

describe("when the answer gets lost", () => {
  let proxy: ReadingProxy;
  /** Through the proxy. */
  let store: PostgresStore;
  /** Past it. */
  let witness: PostgresStore;

  beforeEach(async () => {
    const url = await bed.database();
    proxy = await startReadingProxy(url);
    bed.atEnd(() => proxy.stop());
    witness = await bed.store({ url });
    store = await bed.store({ url: changed(url, (to) => (to.port = String(proxy.port))), listenUrl: null });
  });

  test("an enqueue is sent again, and there is one job", async () => {
    const lost = proxy.loseAnswer("add_jobs");

    const { outcome, job } = await bed.queue({ store }).enqueue(work, { n: 1 });

    await lost;
    expect(outcome).toBe("created");
    expect(await countsOf(witness)).toEqual({ pending: 1 });
    expect((await witness.get([job.id]))[0]?.state).toBe("pending");
  });

  test("an enqueue with a unique key is sent again, and the job holds its key", async () => {
    const lost = proxy.loseAnswer(commit);
    const unique = { key: "one", while: "active", onConflict: "keep" } as const;
    const keyed = defineJob({ type: "example", payload: work.payload, unique: { by: () => unique.key } });

    const { outcome, job } = await bed.queue({ store }).enqueue(keyed, { n: 1 });

    await lost;
    expect(outcome).toBe("created");
    expect(await countsOf(witness)).toEqual({ pending: 1 });
    const second = await bed.queue({ store: witness }).enqueue(keyed, { n: 2 });
    expect([second.outcome, second.job.id]).toEqual(["duplicate", job.id]);
  });

  test("a completion is sent again, and the job has run and completed once", async () => {
    let runs = 0;
    const lost = proxy.loseAnswer("complete_");
    await bed.worker({ store, processors: [handle(work, () => ({ run: ++runs }))] });

    const { job } = await bed.queue({ store: witness }).enqueue(work, { n: 1 });

    await lost;
    await drained(witness);
    const [record] = await witness.get([job.id]);
    expect([record?.state, record?.output, runs]).toEqual(["completed", '{"run":1}', 1]);
    expect(await countsOf(witness)).toEqual({ completed: 1 });
  });

  test("a retry is sent again, and the attempt counts once", async () => {
    await witness.enqueue([aNewJob()]);
    await store.heartbeat(aBeat());
    const [job] = (await store.claim(aClaim())).jobs;
    const lost = proxy.loseAnswer(commit);
    const settlement = retryOf(job!, { delayMs: 60_000 });

    await expect(store.settle([settlement])).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    const again = await store.settle([settlement]);

    await lost;
    expect(again).toEqual(["lease_lost"]);
    expect((await witness.history(job!.id)).attempts).toHaveLength(1);
    expect(await countsOf(witness)).toEqual({ retrying: 1 });
  });

  test.each(["transaction", "transactionStep"] as const)(
    "what a handler's %s committed is not done again",
    async (tool) => {
      await witness.query("create table ledger (n integer not null)");
      const write = async (tx: PostgresTx) => void (await tx.query("insert into ledger values (1)"));
      const processor = handle(work, (_job, ctx) =>
        tool === "transaction" ? ctx.transaction(write) : ctx.transactionStep("effect", write),
      );
      const lost = proxy.loseAnswer(commit);
      await bed.worker({ store, processors: [processor] });

      const { job } = await bed.queue({ store: witness }).enqueue(work, { n: 1 });

      await lost;
      await drained(witness);
      expect((await witness.query("select n from ledger")).rows).toEqual([{ n: 1 }]);
      expect((await witness.get([job.id]))[0]?.state).toBe("completed");
    },
  );

  test("what a claim took is run by the same worker, which lives", async () => {
    const lost = proxy.loseAnswer("claim_");
    await bed.worker({ store, processors: [handle(work, () => undefined)], leaseMs: 60_000 });

    const { job } = await bed.queue({ store: witness }).enqueue(work, { n: 1 });

    await lost;
    await drained(witness);
    expect((await witness.get([job.id]))[0]).toMatchObject({ state: "completed", attempt: 1, crashes: 0 });
  });

  test("what a claim took is told, and what the worker has in hand stays there", async () => {
    await store.heartbeat(aBeat());
    await witness.enqueue([aNewJob()]);
    const [inHand] = (await store.claim(aClaim())).jobs;
    await witness.enqueue([aNewJob()]);
    const lost = proxy.loseAnswer("claim_");
    await expect(store.claim(aClaim())).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await lost;

    const held = await store.heldBy(aBeat().workerId);

    expect(held.map(({ attempt, epoch }) => ({ attempt, epoch }))).toEqual([
      { attempt: 1, epoch: 1 },
      { attempt: 1, epoch: 1 },
    ]);
    expect(await store.settle(held.map((job) => completeOf(job)))).toEqual(["applied", "applied"]);
    expect(held.map(({ id }) => id)).toContain(inHand!.id);
  });
});

describe("when nothing passes", () => {
  test("a statement is given up in time, work goes on afterwards, and each job has run once", async () => {
    const url = await bed.database();
    const proxy = await startFlakyProxy({ targetPort: bed.server.port });
    bed.atEnd(() => proxy.stop());
    const through = changed(url, (to) => (to.port = String(proxy.port)));
    const [store, witness] = [await bed.store({ url: through, timeoutMs: 500 }), await bed.store({ url })];
    await makeLedger(witness);
    for (const each of [store, witness]) await bed.worker({ store: each, processors: [workOnLedger()] });
    const load = new Load(bed.queue({ store: witness })).start(2);
    bed.atEnd(() => load.stop());
    await until("some jobs to complete", async () => ((await countsOf(witness)).completed ?? 0) > 20);

    proxy.freeze();
    const askedAt = performance.now();
    await expect(store.counts()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    const tookMs = performance.now() - askedAt;
    await until("the lease to run out", async () => (await witness.workers()).some(({ isLost }) => isLost));
    proxy.thaw();

    expect(tookMs).toBeLessThan(5_000);
    await load.stop();
    await load.expectEachOnce(witness);
  });

  test.each([
    ["a handler's transaction", defineJob({ type: "example", payload: work.payload, retry: work.retry })],
    [
      "a settlement",
      defineJob({
        type: "example",
        payload: work.payload,
        retry: work.retry,
        unique: { by: ({ n }) => String(n), while: "active" },
      }),
    ],
  ])("%s whose network dies before the commit lets go of its job", async (what, type) => {
    const url = await bed.database();
    const proxy = await startReadingProxy(url);
    bed.atEnd(() => proxy.stop());
    const through = changed(url, (to) => (to.port = String(proxy.port)));
    const store = await bed.store({ url: through, listenUrl: null, timeoutMs: 1_000 });
    const witness = await bed.store({ url, listenUrl: null });
    await witness.query("create table ledger (n integer not null)");
    const { job } = await bed.queue({ store: witness }).enqueue(type, { n: 1 });
    const isTransaction = what !== "a settlement";
    const write = async (tx: PostgresTx) => void (await tx.query("insert into ledger values (1)"));
    const silent = proxy.goSilent(commit);

    await bed.worker({
      store,
      processors: [handle(type, async (_job, ctx) => (isTransaction ? ctx.transaction(write) : undefined))],
    });

    await silent;
    await drained(witness);
    expect((await witness.get([job.id]))[0]?.state).toBe("completed");
    expect((await witness.query("select n from ledger")).rows).toEqual(isTransaction ? [{ n: 1 }] : []);
  });

  test("a store closes, though nobody answers its goodbyes", async () => {
    const proxy = await startFlakyProxy({ targetPort: bed.server.port });
    bed.atEnd(() => proxy.stop());
    const url = await bed.database();
    const store = await bed.store({ url: changed(url, (to) => (to.port = String(proxy.port))) });
    await hintsOf(store).hearsOf(await bed.store({ url }));

    proxy.freeze();
    await store.close();

    await expect(store.counts()).rejects.toMatchObject({ code: "STORE_CLOSED" });
  });

  test("a store that cannot be opened says so in time", async () => {
    const proxy = await startFlakyProxy({ targetPort: bed.server.port });
    bed.atEnd(() => proxy.stop());
    proxy.freeze();

    const opening = bed.store({ url: changed(bed.server.url, (to) => (to.port = String(proxy.port))), timeoutMs: 300 });

    await expect(opening).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });
});

describe("the listener", () => {
  afterEach(() => vi.useRealTimers());

  /** Fifteen seconds pass at once; what they set in motion takes its time. */
  function quickenTime(): void {
    vi.useFakeTimers({
      toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"],
      shouldAdvanceTime: true,
    });
  }

  test("hears of jobs that another process enqueues, again after it was killed", async () => {
    const url = await bed.database();
    const [front, back] = [await bed.store({ url }), await bed.store({ url })];
    const hints = hintsOf(back);
    await hints.hearsOf(front);

    expect(await bed.terminate("listen")).not.toBe(0);

    await hints.hearsOf(front);
  });

  test("that went deaf without a word is noticed, hints come at regular times, and then it hears again", async () => {
    const url = await bed.database();
    const proxy = await startFlakyProxy({ targetPort: bed.server.port });
    bed.atEnd(() => proxy.stop());
    const listenUrl = changed(url, (to) => (to.port = String(proxy.port)));
    const [front, back] = [await bed.store({ url }), await bed.store({ url, listenUrl })];
    quickenTime();
    const hints = hintsOf(back);
    await hints.hearsOf(front);

    proxy.freeze();
    await vi.advanceTimersByTimeAsync(15_000);
    await vi.advanceTimersByTimeAsync(5_000);
    await hints.next(({ work, ended }) => work && ended);
    proxy.thaw();

    await hints.hearsOf(front);
  });

  test("whose first words get no answer tries again", async () => {
    const url = await bed.database();
    const proxy = await startReadingProxy(url);
    bed.atEnd(() => proxy.stop());
    const listenUrl = changed(url, (to) => (to.port = String(proxy.port)));
    const [front, back] = [await bed.store({ url }), await bed.store({ url, listenUrl })];
    quickenTime();
    const silent = proxy.goSilent("listen");
    const hints = hintsOf(back);
    await silent;

    await vi.advanceTimersByTimeAsync(5_000);

    await hints.hearsOf(front);
  });

  test("that cannot be made at the moment costs hints, not the process", async () => {
    const url = await bed.database();
    const folder = mkdtempSync(join(tmpdir(), "sluice-network-"));
    bed.atEnd(() => rmSync(folder, { recursive: true }));
    const certificate = join(folder, "ca.pem");
    const listenUrl = changed(url, (to) => to.searchParams.set("sslrootcert", certificate));
    const store = await bed.store({ url, listenUrl });

    const hints = hintsOf(store);

    await hints.next(({ work, ended }) => work && ended);
  });
});

// ── hints ───────────────────────────────────────────────────────────────────

/** Hints as they come. Those that a store gives itself while it hears nobody name both kinds, a job that was enqueued names one. */
function hintsOf(store: PostgresStore) {
  const listeners = new Set<(hint: WakeHint) => void>();
  bed.atEnd(store.subscribe((hint) => listeners.forEach((listener) => listener(hint))));
  const next = (isWanted: (hint: WakeHint) => boolean) =>
    new Promise<void>((resolve) => {
      const listener = (hint: WakeHint) => {
        if (!isWanted(hint)) return;
        listeners.delete(listener);
        resolve();
      };
      listeners.add(listener);
    });
  return {
    next,
    /** Waits until it is told of a job that `other` enqueues. */
    async hearsOf(other: PostgresStore): Promise<void> {
      let isHeard = false;
      void next(({ work, ended }) => work && !ended).then(() => (isHeard = true));
      await until("a hint from another process", async () => {
        if (!isHeard) await other.enqueue([aNewJob()]);
        return isHeard;
      });
    },
  };
}
