/**
 * 100 jobs of a small group that come after 100,000 of a large one: how long they wait with a `group` and without (R3).
 *
 * `node bench/dist/fairness.js`; `--large 100000`, `--small 100`, `--rounds 3`, `--store sqlite|postgres`, `--url`,
 * `--svg bench/results/fairness.svg` for the plot of the last round.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { defineJob, handle, Queue, Worker } from "sluice";
import type { Store } from "sluice";
import { z } from "zod";
import { plotOf } from "./fairness-plot.js";
import type { Wait } from "./fairness-plot.js";
import { quantiles } from "./measure.js";
import { postgresBed } from "./postgres-bed.js";
import { sqliteBed } from "./sqlite-bed.js";

const { values } = parseArgs({
  options: {
    large: { type: "string", default: "100000" },
    small: { type: "string", default: "100" },
    rounds: { type: "string", default: "3" },
    store: { type: "string", default: "sqlite" },
    url: { type: "string" },
    svg: { type: "string" },
  },
});
const large = Number(values.large);
const small = Number(values.small);

const payload = z.object({ group: z.string() });
const grouped = defineJob({ type: "bench.grouped", payload, group: (job) => job.group });
const ungrouped = defineJob({ type: "bench.ungrouped", payload });

const bed = values.store === "postgres" ? await postgresBed(values.url) : sqliteBed();
console.log(`${bed.title}: ${large} jobs of a large group, then ${small} of a small one`);
const rows: object[] = [];
let last: { readonly with: readonly Wait[]; readonly without: readonly Wait[] } | null = null;
for (let round = 0; round < Number(values.rounds); round++) {
  const without = await bed.with((store) => waits(store, ungrouped));
  const withGroup = await bed.with((store) => waits(store, grouped));
  rows.push({ group: "no", ...figuresOf(without) }, { group: "yes", ...figuresOf(withGroup) });
  last = { with: withGroup, without };
}
await bed.end();
console.table(rows);
if (values.svg !== undefined && last !== null) writeFileSync(values.svg, plotOf({ ...last, large, small }));

/** The worker has been at the large group for a while when the small one comes. */
async function waits(store: Store<unknown>, definition: typeof grouped): Promise<readonly Wait[]> {
  const queue = new Queue({ store });
  for (let added = 0; added < large; added += 1_000) await enqueue(queue, "large", Math.min(1_000, large - added));

  const found: Wait[] = [];
  let largeBegun = 0;
  let sent = { at: 0, largeBegun: 0 };
  const isWarm = signal();
  const isDone = signal();
  const worker = new Worker({
    store,
    concurrency: 10,
    processors: [
      handle(definition, (job) => {
        if (job.payload.group === "large") {
          largeBegun += 1;
          if (largeBegun === Math.ceil(large / 50)) isWarm.give();
          return;
        }
        found.push({ ms: performance.now() - sent.at, largeBefore: largeBegun - sent.largeBegun });
        if (found.length === small) isDone.give();
      }),
    ],
  });
  await worker.start();
  await isWarm.given;
  sent = { at: performance.now(), largeBegun };
  await enqueue(queue, "small", small);
  await isDone.given;
  await worker.stop();
  return found;

  async function enqueue(to: Queue<unknown>, group: string, jobs: number): Promise<void> {
    await to.enqueueMany(
      definition,
      Array.from({ length: jobs }, () => ({ group })),
    );
  }
}

function signal(): { readonly given: Promise<void>; readonly give: () => void } {
  let give!: () => void;
  const given = new Promise<void>((resolve) => (give = resolve));
  return { given, give };
}

function figuresOf(found: readonly Wait[]): object {
  const ms = found.map((wait) => wait.ms);
  const { p50, p95 } = quantiles(ms);
  return {
    "p50, ms": Math.round(p50),
    "p95, ms": Math.round(p95),
    "max, ms": Math.round(Math.max(...ms)),
    "large ones before the first": found[0]!.largeBefore,
    "large ones before the last": found.at(-1)!.largeBefore,
  };
}
