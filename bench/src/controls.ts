/**
 * What each control of a type costs while it holds nothing back: the same work with it and without it, in turns, in one run; and
 * what all of it costs a type that uses none: this build beside one of an older commit.
 *
 * `node bench/dist/controls.js`; `--store sqlite|postgres`, `--url`, `--rounds 3`, `--jobs 20000`, `--seconds 2` (enqueues),
 * `--concurrency 10`, `--only WORD`, `--before DIR` (a worktree of the older commit, built), `--json FILE`.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { defineJob, Events, handle, handleBatch, Queue, Worker } from "sluice";
import type { BatchProcessor, DefinitionOptions, Processor, SettingsPatch, Store } from "sluice";
import { z } from "zod";
import { measureCallers } from "./measure.js";
import { postgresBed } from "./postgres-bed.js";
import { sqliteBed } from "./sqlite-bed.js";

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "sqlite" },
    url: { type: "string" },
    rounds: { type: "string", default: "3" },
    jobs: { type: "string", default: "20000" },
    seconds: { type: "string", default: "2" },
    concurrency: { type: "string", default: "10" },
    only: { type: "string", default: "" },
    before: { type: "string" },
    json: { type: "string" },
  },
});
const total = Number(values.jobs);
const rounds = Number(values.rounds);
const concurrency = Number(values.concurrency);
const callers = 32;
const warmUpJobs = 3_000;
/** More than are measured, so that the emptying of the queue is not part of it. */
const restJobs = 1_000;

const payload = z.object({ key: z.string(), text: z.string() });
type Options = Omit<DefinitionOptions<typeof payload>, "type" | "payload">;
type Definition = ReturnType<typeof define>;

interface Control {
  readonly name: string;
  readonly options?: Options;
  readonly settings?: SettingsPatch;
}

/** Far above what any machine needs. */
const rate = { limit: 1_000_000, perMs: 1_000 };

const drains: readonly Control[] = [
  { name: "concurrency of the type", options: { concurrency: 10_000 } },
  { name: "concurrency per key, 1,000 keys, 1 each", options: { concurrencyKey: ({ key }) => key } },
  { name: "rate of the type", options: { rate } },
  { name: "rate per key, 1,000 keys", options: { rateKey: ({ key }) => key, ratePerKey: rate } },
  { name: "group, 1,000 groups", options: { group: ({ key }) => key } },
  { name: "breaker, closed", options: { breaker: { failures: 10, of: 20 } } },
  { name: "batches of up to 10", options: { batch: { max: 10, min: 1 } } },
  { name: "batches of 10 that wait for company", options: { batch: { max: 10, min: 10, waitMs: 100 } } },
];

const enqueues: readonly Control[] = [
  { name: "group, 1,000 groups", options: { group: ({ key }) => key } },
  { name: "enqueueLimit, backlog", options: { enqueueLimit: { maxBacklog: 1_000_000_000 } } },
  { name: "enqueueLimit, rate", options: { enqueueLimit: { rate } } },
  { name: "rollout, 100 %", settings: { rollout: { percentage: 100 } } },
];

const bed = values.store === "postgres" ? await postgresBed(values.url) : sqliteBed();
console.log(`${bed.title}, ${rounds} rounds, ${total} jobs, concurrency ${concurrency}`);
const rows: object[] = [];

if (values.before !== undefined) await compareBuilds(values.before);
for (const control of drains) {
  await compare(`drain: ${control.name}`, {
    off: () => drain({ name: "off" }),
    on: () => drain(control),
  });
}
for (const control of enqueues) {
  await compare(`enqueue: ${control.name}`, {
    off: () => enqueue({ name: "off" }),
    on: () => enqueue(control),
  });
}
await bed.end();
console.table(rows);
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(rows, null, 2));

interface Sides {
  readonly off: () => Promise<number>;
  readonly on: () => Promise<number>;
}

/** In turns, the first one changing from round to round: what the machine does meanwhile meets both. */
async function compare(name: string, sides: Sides): Promise<void> {
  if (!name.includes(values.only)) return;
  const off: number[] = [];
  const on: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 1) on.push(await sides.on());
    off.push(await sides.off());
    if (round % 2 === 0) on.push(await sides.on());
  }
  const ratios = on.map((each, round) => each / off[round]!).sort((a, b) => a - b);
  const row = {
    what: name,
    "off /s": Math.round(median(off)),
    "on /s": Math.round(median(on)),
    ratio: median(ratios).toFixed(2),
    "ratio from": ratios[0]!.toFixed(2),
    "ratio to": ratios.at(-1)!.toFixed(2),
  };
  console.log(Object.values(row).join("  "));
  rows.push(row);
}

/** Each in a process of its own, since two builds cannot be warm in one. */
async function compareBuilds(before: string): Promise<void> {
  const here = fileURLToPath(new URL("../..", import.meta.url));
  const url = await bed.with((_, address) => Promise.resolve(address.split("#")[0]!));
  for (const what of ["drain", "enqueue"]) {
    const run = (root: string) => () => Promise.resolve(runPlain(root, what, url));
    await compare(`${what}: plain type, off = before`, { off: run(before), on: run(here) });
  }
}

function runPlain(root: string, what: string, url: string): number {
  const program = fileURLToPath(new URL("./plain.js", import.meta.url));
  const args = [program, root, values.store, url, what, String(concurrency), String(total), values.seconds];
  return Number(execFileSync(process.execPath, args, { encoding: "utf8", timeout: 120_000 }));
}

/** Jobs per second that a worker completes. */
function drain(control: Control): Promise<number> {
  return bed.with(async (store) => {
    const definition = define(control);
    const jobs = warmUpJobs + total + restJobs;
    const queue = await queueFor(store, control, definition);
    for (let added = 0; added < jobs; added += 1_000) {
      await queue.enqueueMany(
        definition,
        Array.from({ length: Math.min(1_000, jobs - added) }, (_, index) => payloadOf(added + index)),
      );
    }
    const events = new Events();
    let completed = 0;
    let startedAt = 0;
    let endedAt = 0;
    const done = new Promise<void>((resolve) => {
      events.on("job.completed", () => {
        completed += 1;
        if (completed === warmUpJobs) startedAt = performance.now();
        if (completed !== warmUpJobs + total) return;
        endedAt = performance.now();
        resolve();
      });
    });
    const worker = new Worker({ store, events, concurrency, processors: [processorOf(definition)] });
    await worker.start();
    await done;
    await worker.stop();
    return (total * 1_000) / (endedAt - startedAt);
  });
}

/** Jobs per second that callers enqueue one by one. */
function enqueue(control: Control): Promise<number> {
  return bed.with(async (store) => {
    const definition = define(control);
    const queue = await queueFor(store, control, definition);
    let added = 0;
    const one = () => queue.enqueue(definition, payloadOf(added++));
    await measureCallers(one, callers, 0.5);
    const { perSecond } = await measureCallers(one, callers, Number(values.seconds));
    return perSecond;
  });
}

function define({ options }: Control) {
  return defineJob({ type: "bench.controlled", payload, ...options });
}

function processorOf(definition: Definition): Processor | BatchProcessor {
  return definition.batch === null ? handle(definition, () => undefined) : handleBatch(definition, () => undefined);
}

async function queueFor(store: Store<unknown>, { settings }: Control, { type }: Definition): Promise<Queue<unknown>> {
  const queue = new Queue({ store });
  if (settings !== undefined) await queue.setType(type, settings);
  return queue;
}

function payloadOf(index: number): z.infer<typeof payload> {
  return { key: `key-${index % 1_000}`, text: "x".repeat(150) };
}

function median(unsorted: readonly number[]): number {
  const sorted = [...unsorted].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
