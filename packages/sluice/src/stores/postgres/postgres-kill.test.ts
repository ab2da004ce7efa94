/**
 * I1, I3, I8, I9 under kill -9: processes on one database are killed again and again while jobs run, and the server crashes in the
 * middle. Nothing is lost, nothing completes twice, the ledger counts one effect for each job. And I5, I6 under SIGSTOP: who wakes up
 * after its lease changes nothing. SLUICE_KILLS and SLUICE_KILL_JOBS make it longer.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { defineJob } from "../../definition.js";
import { Bed, countsOf, until } from "./faults.test.bed.js";
import type { PostgresStore } from "./index.js";
import { allTakenIn } from "../../queue.js";

const kills = Number(process.env["SLUICE_KILLS"] ?? 12);
const jobs = Number(process.env["SLUICE_KILL_JOBS"] ?? 2_000);
const leaseMs = 600;

const work = defineJob({
  type: "kill.work",
  payload: z.object({ n: z.number(), ms: z.number(), isHeld: z.boolean() }),
});

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.start({ max_connections: "60" });
});
afterEach(() => bed.clear());
afterAll(() => bed.server.stop());

test(
  `${kills} kills and a crash of the server while ${jobs} jobs run lose nothing and repeat nothing`,
  { timeout: 90_000 + kills * 6_000 + jobs * 20 },
  async () => {
    const url = await bed.database();
    const store = await openWithLedger(url);
    const payloads = Array.from({ length: jobs }, (_, n) => ({ n, ms: n % 10, isHeld: false }));
    const sent = await bed.queue({ store }).enqueueMany(work, payloads, { maxAttempts: 1_000 });
    const processes = [await startWorker(url), await startWorker(url)];

    // One dies at a random moment, another takes its place; the second process keeps working throughout.
    for (let kill = 0; kill < kills; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 200));
      processes.shift()!.kill("SIGKILL");
      if (kill === Math.floor(kills / 2)) {
        await bed.crash();
        await bed.server.restart();
      }
      processes.push(await startWorker(url));
    }
    await everyJobHasEnded(store);

    const { rows } = await store.query("select count(*)::int as effects, count(distinct job)::int as jobs from ledger");
    expect(await countsOf(store)).toEqual({ completed: jobs });
    expect(rows).toEqual([{ effects: jobs, jobs }]);
    expect(new Set(sent.map(({ job }) => job?.id)).size).toBe(jobs);
    const [left] = await bed.ask("select (select count(*) from sluice.jobs)::int as jobs", url);
    expect(left).toEqual({ jobs: 0 });
  },
);

test(
  "a process that is stopped for longer than its lease changes nothing when it goes on",
  { timeout: 60_000 },
  async () => {
    const url = await bed.database();
    const store = await openWithLedger(url);
    const queue = bed.queue({ store });
    const stopped = await startWorker(url);
    const started = heard(stopped, "started", 4);
    const lost = heard(stopped, "lost", 4);
    const payloads = [0, 1, 2, 3].map((n) => ({ n, ms: 0, isHeld: true }));
    const ids = allTakenIn(await queue.enqueueMany(work, payloads)).map(({ job }) => job.id);
    expect((await started).sort()).toEqual([...ids].sort());
    stopped.kill("SIGSTOP");

    const other = await startWorker(url);
    other.send("go");
    await everyJobHasEnded(store, 4);
    stopped.kill("SIGCONT");
    stopped.send("go");

    expect((await lost).sort()).toEqual([...ids].sort());
    const { rows } = await store.query("select job, pid from ledger");
    expect((rows as { job: string }[]).map(({ job }) => job).sort()).toEqual([...ids].sort());
    expect(new Set((rows as { pid: number }[]).map(({ pid }) => pid))).toEqual(new Set([other.pid]));
    expect(await countsOf(store)).toEqual({ completed: 4 });
    // It goes on under another id.
    const again = heard(stopped, "started", 1);
    await until("the stopped process to run a job", async () => {
      await queue.enqueue(work, { n: 0, ms: 0, isHeld: false });
      return Promise.race([again.then(() => true), new Promise<boolean>((resolve) => setTimeout(resolve, 20, false))]);
    });
  },
);

async function openWithLedger(url: string): Promise<PostgresStore> {
  const store = await bed.store({ url });
  await store.query("create table ledger (job uuid not null, pid integer not null)");
  return store;
}

async function startWorker(url: string): Promise<ChildProcess> {
  const child = fork(new URL("./postgres-kill.test.worker.js", import.meta.url), [url, String(leaseMs)]);
  bed.atEnd(() => child.kill("SIGKILL"));
  await once(child, "message");
  return child;
}

/** The jobs of which the process tells this, as soon as there are so many. */
function heard(child: ChildProcess, what: "started" | "lost", count: number): Promise<string[]> {
  return new Promise((resolve) => {
    const ids: string[] = [];
    child.on("message", (message: { readonly [what in "started" | "lost"]?: string }) => {
      const id = message[what];
      if (id !== undefined && ids.push(id) === count) resolve(ids);
    });
  });
}

async function everyJobHasEnded(store: PostgresStore, total = jobs): Promise<void> {
  for (;;) {
    const counts = await countsOf(store).catch(() => ({}));
    const { completed = 0, failed = 0, cancelled = 0 } = counts as Awaited<ReturnType<typeof countsOf>>;
    if (completed + failed + cancelled >= total) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
