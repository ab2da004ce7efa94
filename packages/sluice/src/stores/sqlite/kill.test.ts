/**
 * I1, I3, I8, I9 under kill -9: processes on one file are killed again and again while jobs run. Nothing is lost, nothing
 * completes twice, the ledger counts one effect for each job. SLUICE_KILLS and SLUICE_KILL_JOBS make it longer.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { defineJob, Queue } from "../../index.js";
import { sqlite, type Connection } from "./index.js";

const kills = Number(process.env["SLUICE_KILLS"] ?? 12);
const jobs = Number(process.env["SLUICE_KILL_JOBS"] ?? 2_000);
const leaseMs = 600;

const work = defineJob({ type: "kill.work", payload: z.object({ n: z.number() }) });

test(
  `${kills} kills while ${jobs} jobs run lose nothing and repeat nothing`,
  { timeout: 60_000 + kills * 3_000 + jobs * 20 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-kill-"));
    const path = join(folder, "jobs.db");
    const store = await sqlite({ path });
    store.connection.exec("create table ledger (job text not null, pid integer not null)");
    const queue = new Queue({ store });
    const sent = await queue.enqueueMany(
      work,
      Array.from({ length: jobs }, (_, n) => ({ n })),
      { maxAttempts: 1_000 },
    );
    const processes = [await startWorker(path), await startWorker(path)];

    // One dies at a random moment, another takes its place; the second process keeps working throughout.
    for (let kill = 0; kill < kills; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 200));
      const victim = processes.shift()!;
      victim.kill("SIGKILL");
      processes.push(await startWorker(path));
    }
    await everyJobHasEnded(queue, jobs);
    for (const process of processes) process.kill("SIGKILL");

    const [counts] = await queue.counts();
    const ledger = store.connection
      .prepare("select count(*) as effects, count(distinct job) as jobs from ledger")
      .get() as { effects: number; jobs: number };
    const { integrity_check } = store.connection.prepare("pragma integrity_check").get() as { integrity_check: string };
    expect(counts!.counts).toMatchObject({ completed: jobs, failed: 0, pending: 0, processing: 0, retrying: 0 });
    expect({ ...ledger }).toEqual({ effects: jobs, jobs });
    expect(integrity_check).toBe("ok");
    expect(new Set(sent.map(({ job }) => job?.id)).size).toBe(jobs);

    await store.close();
    rmSync(folder, { recursive: true });
  },
);

async function startWorker(path: string): Promise<ChildProcess> {
  const child = fork(new URL("./kill.test.worker.js", import.meta.url), [path, String(leaseMs)]);
  await once(child, "message");
  return child;
}

async function everyJobHasEnded(queue: Queue<Connection>, total: number): Promise<void> {
  for (;;) {
    const [counts] = await queue.counts();
    const { completed = 0, failed = 0, cancelled = 0 } = counts?.counts ?? {};
    if (completed + failed + cancelled >= total) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
