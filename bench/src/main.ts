/**
 * `npm run bench`: measures a store beside its ceiling (../shared/ceiling) in the same run, and prints a table. Run it on a quiet
 * machine; the ratios mean more than the numbers.
 *
 * `--store sqlite|postgres`, `--seconds N` per scenario, `--only WORD` for scenarios with that word, `--ceiling DIR|none`, `--json FILE`.
 * PostgreSQL: the machine's own server with its default settings, fsync on; `--url` for another.
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { postgresBed } from "./postgres-bed.js";
import { drain, drainAt, enqueueLatency, enqueueWhileDraining, endToEnd, limit } from "./scenarios.js";
import { sqliteBed } from "./sqlite-bed.js";

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "sqlite" },
    seconds: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    ceiling: { type: "string", default: "../shared/ceiling" },
    url: { type: "string" },
    json: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const total = 30_000;
const rows: Record<string, unknown>[] = [];

const bed = values.store === "postgres" ? await postgresBed(values.url) : sqliteBed();
console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${bed.title}\n`);

async function scenario(name: string, run: () => Promise<object>): Promise<void> {
  if (!name.includes(values.only)) return;
  const figures = await run();
  const text = Object.entries(figures).map(([key, value]) => `${key} ${show(value)}`);
  console.log(`sluice   ${name.padEnd(36)} ${text.join("  ")}`);
  rows.push({ scenario: name, ...figures });
}

function show(value: unknown): string {
  if (typeof value !== "number") return JSON.stringify(value);
  return value < 100 ? value.toFixed(2) : String(Math.round(value));
}

function ceiling(...mode: string[]): void {
  if (values.ceiling === "none") return;
  const lines = bed.ceiling(values.ceiling, ...mode);
  for (const line of lines) console.log(`ceiling  ${line}`);
  rows.push({ ceiling: lines });
}

// Before and after: the speed of the machine may change in between.
if ("enqueue drain".includes(values.only)) ceiling();
for (const callers of [1, 32, 100]) {
  await scenario(`enqueue, ${callers} callers`, () => bed.with((store) => enqueueLatency(store, callers, seconds)));
}
await scenario("enqueue, 32 callers, draining", () => bed.with((store) => enqueueWhileDraining(store, 32, seconds)));
for (const concurrency of [1, 10, 100]) {
  await scenario(`drain, concurrency ${concurrency}`, () => bed.with((store) => drain(store, { total, concurrency })));
}
await scenario("drain, concurrency 100, limited type", () =>
  bed.with(async (store) => {
    await limit(store);
    return drain(store, { total, concurrency: 100 });
  }),
);
for (const perSecond of [50, 1_000, 5_000]) {
  const load = { perSecond, seconds: Math.max(seconds, 5) };
  const name = `end to end, ${perSecond}/s`;
  if (bed.rawEndToEnd) await scenario(`${name}, raw`, () => bed.rawEndToEnd!(load));
  await scenario(name, () => bed.with((store, address) => endToEnd(store, { address, ...load })));
  if (bed.rawEndToEnd) await scenario(`${name}, raw again`, () => bed.rawEndToEnd!(load));
}
if ("enqueue drain".includes(values.only)) ceiling();

for (const depth of [1_000, 100_000, 1_000_000]) {
  await scenario(`depth, ${depth} pending`, () =>
    bed.with((store) =>
      drainAt(store, { depth, total: 20_000, whenFilled: () => bed.calm?.(store) ?? Promise.resolve() }),
    ),
  );
}
if (bed.fillHistory) {
  await scenario("depth, 1000 pending, 1000000 in history", () =>
    bed.with(async (store) => {
      await bed.fillHistory!(store, 1_000_000);
      return drainAt(store, { depth: 1_000, total: 20_000, whenFilled: () => bed.calm?.(store) ?? Promise.resolve() });
    }),
  );
}
if (bed.holdTransaction) {
  await scenario("long transaction, 200000 jobs", () =>
    bed.with(async (store) => {
      const letGo = await bed.holdTransaction!(store);
      const figures = await drainAt(store, { depth: 200_000, total: 200_000 });
      await letGo();
      return figures;
    }),
  );
  if ("long transaction".includes(values.only)) ceiling("long");
}

await bed.end();
if (values.json) writeFileSync(values.json, JSON.stringify(rows, null, 2));
