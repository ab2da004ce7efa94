/**
 * `node apps/canon/dist/embed.bench.js`: makes objects of the sample world searchable, one by one and in batches, in turns in one run;
 * everything durable (SQLite, `synchronous=FULL`). `--objects N` a round (128), `--rounds N` (3), `--threads N` (one a processor).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Events, Queue, Worker } from "sluice";
import { openSqlite } from "./database/sqlite.js";
import { embedProcessor } from "./embed.js";
import { createEmbedder, type Embedder } from "./embedding/embedder.js";
import { embed } from "./jobs.js";
import { contentHash, parseObject } from "./object.js";
import { sampleWorld } from "./sample.js";

const { values } = parseArgs({
  options: {
    objects: { type: "string", default: "128" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});
const ways = [
  { max: 1, concurrency: 4 },
  { max: 8, concurrency: 4 },
  { max: 32, concurrency: 4 },
];

const embedder = createEmbedder({ threads: Number(values.threads) });
// The threads load their models now, not in the first way's time.
await embedder.embed(Array.from({ length: 64 }, (_, n) => `warm up ${n}`));
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const way of ways) {
    const count = Number(values.objects);
    const { seconds, halfMs, cpuMs } = await run(embedder, count, way);
    const label = `batches of ${way.max}, ${way.concurrency} at once`;
    const figures = [
      `${(count / seconds).toFixed(1)} objects/s`,
      // Says more than the rate where others use the machine.
      `${(cpuMs / count).toFixed(0)} ms of CPU each`,
      `half done after ${(halfMs / 1_000).toFixed(1)} s`,
    ];
    console.log(`round ${round}  ${label.padEnd(26)} ${figures.join(", ")}`);
  }
}
await embedder.close();

async function run(embedder: Embedder, count: number, { max, concurrency }: (typeof ways)[number]) {
  const folder = mkdtempSync(join(tmpdir(), "canon-bench-"));
  const { store, library } = await openSqlite(join(folder, "canon.db"));
  const events = new Events();
  const queue = new Queue({ store, events });
  const [game, importId] = ["bench", "import"];

  const records = sample(count);
  await library.write((tx) => library.addImport(tx, { id: importId, game, blob: "none", bytes: 0, now: 0 }));
  await library.write((tx) =>
    library.saveBatch(tx, { game, importId, records, readBytes: 0, failedBefore: 0, now: 0 }),
  );
  const jobs = records.map(({ object }) => ({ game, objectId: object.id, importId, length: object.body.length }));
  await queue.enqueueMany(embed, jobs);

  const definition = { ...embed, batch: { ...embed.batch!, max } };
  const processor = Object.assign(embedProcessor({ library, embedder, now: () => 0 }), { definition });
  const worker = new Worker({ store, events, processors: [processor], concurrency });
  const startedAt = performance.now();
  const startedCpu = process.cpuUsage();
  const endedAtMs: number[] = [];
  await new Promise<void>((resolve, reject) => {
    events.on("job.completed", () => endedAtMs.push(performance.now() - startedAt) === count && resolve());
    events.on("job.failed", ({ error }) => reject(new Error(error.message)));
    worker.start().catch(reject);
  });
  const seconds = (performance.now() - startedAt) / 1_000;
  const { user, system } = process.cpuUsage(startedCpu);
  await worker.stop();
  await store.close();
  rmSync(folder, { recursive: true });
  return { seconds, cpuMs: (user + system) / 1_000, halfMs: endedAtMs[Math.floor(count / 2)]! };
}

/** Spread over the whole world, so that short and long texts come as they do there. */
function sample(count: number) {
  const world = [...sampleWorld()];
  const step = Math.max(1, Math.floor(world.length / count));
  return world
    .filter((_object, index) => index % step === 0)
    .slice(0, count)
    .map((value, index) => {
      const parsed = parseObject(value);
      if (!parsed.ok) throw new Error(parsed.reason);
      const { id, kind, name } = parsed.object;
      const hash = contentHash(parsed.object);
      const object = { id, kind, name, body: JSON.stringify(value), hash, hasRestricted: false, index, line: index };
      return { kind: "object" as const, object };
    });
}
