/**
 * A poison among many: a payload that kills the process of whoever runs it, in batches, under workers that are started again and
 * again. It ends as crashed; everything else completes, once.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { defineJob, Queue } from "../../index.js";
import { defaultMaxCrashes, suspectAfter } from "../../settlement.js";
import { sqlite, type Connection } from "./index.js";

const jobs = 200;
const leaseMs = 600;

const work = defineJob({ type: "poison.work", payload: z.object({ n: z.number(), isPoison: z.boolean() }) });

test("a poison ends as crashed and takes nobody with it", { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-poison-"));
  const path = join(folder, "jobs.db");
  const store = await sqlite({ path });
  store.connection.exec("create table ledger (job text not null, pid integer not null)");
  const queue = new Queue({ store });
  const payloads = Array.from({ length: jobs }, (_, n) => ({ n, isPoison: n === 13 }));
  const sent = await queue.enqueueMany(work, payloads, { maxAttempts: 20 });
  const poison = sent[13]!.job!;

  const deaths = await keepWorking(path, () => everyJobHasEnded(queue, jobs));

  const ended = await queue.get(poison.id);
  expect(ended).toMatchObject({ state: "failed", reason: "crashed", crashes: defaultMaxCrashes });
  expect(ended?.state === "failed" && ended.error.message).toContain("opening the poison");
  expect(deaths).toBe(defaultMaxCrashes);
  const ledger = store.connection
    .prepare("select count(*) as effects, count(distinct job) as jobs from ledger")
    .get() as { effects: number; jobs: number };
  expect({ ...ledger }).toEqual({ effects: jobs - 1, jobs: jobs - 1 });
  // Bystanders were charged while nobody could know, and never after.
  const { jobs: others } = await queue.list({ states: ["completed"], limit: 1_000 });
  expect(others).toHaveLength(jobs - 1);
  expect(Math.max(...others.map(({ crashes }) => crashes))).toBeLessThanOrEqual(suspectAfter);

  await store.close();
  rmSync(folder, { recursive: true });
});

/** Starts a worker whenever the last one has died, until the work is done. @returns How many have died. */
async function keepWorking(path: string, isDone: () => Promise<boolean>): Promise<number> {
  let deaths = 0;
  let isOver = false;
  let child: ChildProcess | null = null;
  const working = (async () => {
    while (!isOver) {
      child = fork(new URL("./poison.test.worker.js", import.meta.url), [path, String(leaseMs)]);
      await once(child, "exit");
      if (!isOver) deaths++;
    }
  })();
  while (!(await isDone())) await new Promise((resolve) => setTimeout(resolve, 50));
  isOver = true;
  (child as ChildProcess | null)?.kill("SIGKILL");
  await working;
  return deaths;
}

async function everyJobHasEnded(queue: Queue<Connection>, total: number): Promise<boolean> {
  const [counts] = await queue.counts();
  const { completed = 0, failed = 0, cancelled = 0 } = counts?.counts ?? {};
  return completed + failed + cancelled >= total;
}
