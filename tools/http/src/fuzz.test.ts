/** A short run of the fuzzer on SQLite; `npm run fuzz` is the long one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fuzz } from "./fuzz.js";

test(
  "nothing that is sent makes the service fail, say what it has not announced, or repeat it",
  { timeout: 180_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-fuzz-"));
    try {
      const report = await fuzz({ store: `sqlite:${join(folder, "jobs.db")}`, seed: 20_261, rounds: 3, runs: 8 });
      expect(report.faults).toEqual([]);
      expect(report.requests).toBeGreaterThan(400);
      const [, twoThirds = 0, end = 0] = report.heapMb;
      expect(end).toBeLessThan(twoThirds * 1.15 + 4);
      for (const [kind, count] of Object.entries(report.handles.after))
        expect({ kind, count }).toEqual({ kind, count: Math.min(count, report.handles.before[kind] ?? 0) });
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
