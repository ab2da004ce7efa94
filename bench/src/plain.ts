/**
 * One figure of one build, for `controls.ts`: a type without any control, by the build's own scenarios. Prints jobs per second.
 *
 * `node bench/dist/plain.js ROOT sqlite|postgres URL drain|enqueue CONCURRENCY JOBS SECONDS`
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as PostgresBed from "./postgres-bed.js";
import type * as Scenarios from "./scenarios.js";
import type * as SqliteBed from "./sqlite-bed.js";

const [root, name, url, what, concurrency, jobs, seconds] = process.argv.slice(2) as [
  string,
  "sqlite" | "postgres",
  string,
  "drain" | "enqueue",
  ...string[],
];
const { drain, enqueueLatency } = await load<typeof Scenarios>("scenarios.js");
const bed =
  name === "postgres"
    ? await (await load<typeof PostgresBed>("postgres-bed.js")).postgresBed(url)
    : (await load<typeof SqliteBed>("sqlite-bed.js")).sqliteBed();
const { perSecond } = await bed.with<{ perSecond: number }>((store) =>
  what === "drain"
    ? drain(store, { concurrency: Number(concurrency), total: Number(jobs) })
    : enqueueLatency(store, 32, Number(seconds)),
);
await bed.end();
console.log(perSecond);

async function load<Module>(file: string): Promise<Module> {
  return (await import(pathToFileURL(join(root, "bench/dist", file)).href)) as Module;
}
