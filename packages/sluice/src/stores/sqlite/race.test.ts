/**
 * Several processes on one file: nobody hears of SQLITE_BUSY, no job is claimed twice, and no request adds two jobs (I7).
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { EnqueueResult } from "../../store.js";
import { sqlite } from "./index.js";

const requests = 50;
const processes = 4;
const jobsOfEach = 500;

test(
  "four processes enqueue, claim and settle at once, and each job is claimed once",
  { timeout: 60_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-race-"));
    const path = join(folder, "jobs.db");
    const children = Array.from({ length: processes }, () =>
      fork(new URL("./process.test.worker.js", import.meta.url), ["race", path]),
    );
    await Promise.all(children.map((child) => once(child, "message")));

    const answers = children.map(async (child) => (await once(child, "message"))[0] as readonly string[]);
    for (const child of children) child.send("go");
    const claimed = (await Promise.all(answers)).flat();

    const store = await sqlite({ path });
    const [counts] = await store.counts();
    const { integrity_check } = store.connection.prepare("pragma integrity_check").get() as { integrity_check: string };
    expect(new Set(claimed).size).toBe(claimed.length);
    expect(claimed).toHaveLength(processes * jobsOfEach);
    expect(counts?.counts).toMatchObject({ completed: processes * jobsOfEach, pending: 0, processing: 0 });
    expect(integrity_check).toBe("ok");

    await store.close();
    rmSync(folder, { recursive: true });
  },
);

test("two processes send the same fifty requests at once, and each adds one job", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-race-"));
  const path = join(folder, "jobs.db");
  const children = [0, 1].map(() => fork(new URL("./process.test.worker.js", import.meta.url), ["request", path]));
  await Promise.all(children.map((child) => once(child, "message")));

  const answers = children.map(async (child) => (await once(child, "message"))[0] as readonly EnqueueResult[]);
  for (const child of children) child.send("go");
  const results = (await Promise.all(answers)).flat();

  const store = await sqlite({ path });
  const { jobs } = await store.list({ filter: {}, page: { before: null, limit: 1_000 } });
  const named = results.flatMap((result) => (result.outcome === "repeated" ? result.id : []));
  expect(results.filter(({ outcome }) => outcome === "created")).toHaveLength(requests + 1);
  expect(named).toHaveLength(2 * 2 * requests - requests - 1);
  expect(new Set(named)).toEqual(new Set(jobs.map(({ id }) => id)));
  expect(jobs).toHaveLength(requests + 1);

  await store.close();
  rmSync(folder, { recursive: true });
});
