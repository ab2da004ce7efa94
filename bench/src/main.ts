/**
 * `npm run bench`: measures the SQLite store beside the ceiling (../shared/ceiling) in the same run, and prints a table.
 * Run it on a quiet machine; the ratios mean more than the numbers. `--seconds N` per scenario, `--json FILE` to keep it.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sqlite } from "sluice/sqlite";
import { drain, enqueueLatency, enqueueWhileDraining } from "./scenarios.js";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    ceiling: { type: "string", default: "../shared/ceiling/sqlite.mjs" },
    json: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const total = 30_000;
const rows: Record<string, unknown>[] = [];

function report(scenario: string, figures: Record<string, number>): void {
  const text = Object.entries(figures).map(
    ([name, value]) => `${name} ${value < 100 ? value.toFixed(2) : Math.round(value)}`,
  );
  console.log(`sluice   ${scenario.padEnd(34)} ${text.join("  ")}`);
  rows.push({ scenario, ...figures });
}

async function withStore<T>(run: (store: Awaited<ReturnType<typeof sqlite>>) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  const store = await sqlite({ path: join(folder, "jobs.db") });
  try {
    return await run(store);
  } finally {
    await store.close();
    rmSync(folder, { recursive: true });
  }
}

console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, SQLite WAL, synchronous=FULL\n`);
for (const callers of [1, 32, 100]) {
  report(`enqueue, ${callers} callers`, { ...(await withStore((store) => enqueueLatency(store, callers, seconds))) });
}
report("enqueue, 32 callers, draining", { ...(await withStore((store) => enqueueWhileDraining(store, 32, seconds))) });
for (const concurrency of [1, 10, 100]) {
  report(`drain, concurrency ${concurrency}`, await withStore((store) => drain(store, { total, concurrency })));
}

if (existsSync(values.ceiling)) {
  const output = execFileSync(process.execPath, [values.ceiling], { encoding: "utf8", timeout: 180_000 });
  console.log(`\n${output.trim().replaceAll(/^/gm, "ceiling  ")}`);
  rows.push({ ceiling: output.trim().split("\n") });
} else {
  console.log(`\nNo ceiling at ${values.ceiling}: run from the project's root, or name it with --ceiling.`);
}
if (values.json) writeFileSync(values.json, JSON.stringify(rows, null, 2));
