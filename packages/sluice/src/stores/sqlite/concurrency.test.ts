/**
 * A global concurrency under several processes on one file.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { expectNeverMore } from "../../testing/concurrency.test.suite.js";
import { sqlite } from "./index.js";

test(
  "four processes run no more of a type at once than is set, within a second of a change",
  { timeout: 60_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-concurrency-"));
    const path = join(folder, "jobs.db");
    const store = await sqlite({ path });
    try {
      await expectNeverMore(store, path);
    } finally {
      await store.close();
      rmSync(folder, { recursive: true });
    }
  },
);
