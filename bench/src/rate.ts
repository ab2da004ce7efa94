/**
 * A rate of 50 a second under four worker processes: how many began in any window of one second, by what the handlers wrote down
 * themselves and by what the store says (R2).
 *
 * `node bench/dist/rate.js`; `--store sqlite|postgres`, `--url`, `--seconds 60`, `--processes 4`.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Queue } from "sluice";
import type { Store } from "sluice";
import { startCrew } from "./crew.js";
import { paced } from "./experiment-jobs.js";
import { postgresBed } from "./postgres-bed.js";
import { sqliteBed } from "./sqlite-bed.js";

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "sqlite" },
    url: { type: "string" },
    seconds: { type: "string", default: "60" },
    processes: { type: "string", default: "4" },
  },
});
const seconds = Number(values.seconds);
const limit = 50;
const burst = 5;

const bed = values.store === "postgres" ? await postgresBed(values.url) : sqliteBed();
console.log(`${bed.title}: ${limit}/s, burst ${burst}, ${values.processes} processes, ${seconds} s`);
await bed.with(async (store, address) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-rate-"));
  const marks = join(folder, "marks");
  try {
    const queue = new Queue({ store });
    const jobs = Array.from({ length: (seconds + 5) * limit + burst }, (_, index) => ({ index }));
    await queue.enqueueMany(paced, jobs);
    const crew = await startCrew(Number(values.processes), "./rate-worker.js", [address, marks]);
    await sleep(seconds * 1_000);
    await crew.stop();

    const lines = readFileSync(marks, "utf8").trim().split("\n");
    const by = new Map<string, number>();
    for (const line of lines) by.set(line.split(" ")[0]!, (by.get(line.split(" ")[0]!) ?? 0) + 1);
    console.table({
      "handlers began": figuresOf(lines.map((line) => Number(line.split(" ")[1]))),
      "store's startedAt": figuresOf(await startsInStore(store)),
    });
    console.log(`by process: ${[...by.values()].join(", ")}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
await bed.end();

async function startsInStore(store: Store<unknown>): Promise<readonly number[]> {
  const queue = new Queue({ store });
  const starts: number[] = [];
  let cursor: string | null = null;
  do {
    const page = await queue.list({ types: [paced.type], states: ["completed"], cursor, limit: 1_000 });
    for (const job of page.jobs) if (job.state === "completed") starts.push(job.startedAt.getTime());
    cursor = page.next;
  } while (cursor !== null);
  return starts;
}

function figuresOf(unsorted: readonly number[]): object {
  const starts = [...unsorted].sort((a, b) => a - b);
  // What the burst lets begin at once is above the average by design, so it is not part of it.
  const average = ((starts.length - burst) * 1_000) / (starts.at(-1)! - starts[0]!);
  const gaps = starts.slice(1).map((at, index) => at - starts[index]!);
  return {
    starts: starts.length,
    "average/s": average.toFixed(2),
    "most in any 1 s": mostIn(starts, 1_000),
    "most in any 100 ms": mostIn(starts, 100),
    "fewest in any 1 s": fewestIn(starts, 1_000),
    "longest gap, ms": Math.round(Math.max(...gaps)),
  };
}

/** The fullest window is one that begins with a start. */
function mostIn(starts: readonly number[], windowMs: number): number {
  let most = 0;
  let first = 0;
  starts.forEach((at, index) => {
    while (starts[first]! <= at - windowMs) first += 1;
    most = Math.max(most, index - first + 1);
  });
  return most;
}

/** The emptiest window is one that begins right after a start. */
function fewestIn(starts: readonly number[], windowMs: number): number {
  let fewest = Infinity;
  let next = 0;
  starts.forEach((at, index) => {
    if (at + windowMs > starts.at(-1)!) return;
    while (starts[next]! <= at + windowMs) next += 1;
    fewest = Math.min(fewest, next - index - 1);
  });
  return fewest;
}
