/**
 * SQLite: one file for each scenario, in the system's temporary folder.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqlite } from "sluice/sqlite";
import { runCeiling } from "./bed.js";
import type { Bed } from "./bed.js";

export function sqliteBed(): Bed {
  return {
    title: "SQLite WAL, synchronous=FULL",
    async with(run) {
      const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
      const path = join(folder, "jobs.db");
      const store = await sqlite({ path });
      try {
        return await run(store, `sqlite:${path}`);
      } finally {
        await store.close();
        rmSync(folder, { recursive: true });
      }
    },
    ceiling: (folder) => runCeiling(folder, "sqlite.mjs", []),
    end: async () => {},
  };
}
