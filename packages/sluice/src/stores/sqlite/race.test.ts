/**
 * Several processes on one file: nobody hears of SQLITE_BUSY, and no job is claimed twice.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sqlite } from "./index.js";

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
