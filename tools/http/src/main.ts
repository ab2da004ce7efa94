/**
 * `npm run conformance -- [url] [key]`: walks a service that is running with the demo jobs (`sluice serve --jobs
 * tools/http/dist/demo-jobs.js`), or, without a url, one of its own on SQLite. Exit code 1 when a row does not hold.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqlite } from "sluice/sqlite";
import { startDemo } from "./demo.js";
import { walk, type Row } from "./walk.js";

const [url, key] = process.argv.slice(2);
const rows = url === undefined ? await walkOwn() : await walk({ baseUrl: url, ...(key !== undefined && { key }) });
for (const { row, holds, seen } of rows)
  process.stdout.write(`${holds ? "holds " : "FAILS "} ${row}${seen === "" ? "" : `: ${seen}`}\n`);
process.stdout.write(`${rows.filter(({ holds }) => holds).length} of ${rows.length} rows hold\n`);
process.exitCode = rows.every(({ holds }) => holds) ? 0 : 1;

async function walkOwn(): Promise<readonly Row[]> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-walk-"));
  const store = await sqlite({ path: join(folder, "jobs.db") });
  const demo = await startDemo(store);
  try {
    return await walk({ baseUrl: demo.service.url });
  } finally {
    await demo.stop();
    await store.close();
    await rm(folder, { recursive: true });
  }
}
