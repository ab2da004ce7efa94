/**
 * `npm run fuzz -- --seconds 60 --seed 1 [--postgres URL]`: a fuzz run against a service of its own, on SQLite or, in a schema that is
 * dropped at the end, on PostgreSQL. Exit code 1 when something was found.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { fuzz, type FuzzReport } from "./fuzz.js";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    postgres: { type: "string" },
  },
});
const seed = Number(values.seed);
const folder = await mkdtemp(join(tmpdir(), "sluice-fuzz-"));
const schema = `fuzz_${Date.now() % 1_000_000}`;
const store =
  values.postgres === undefined ? `sqlite:${join(folder, "jobs.db")}` : `postgres:${values.postgres} ${schema}`;
try {
  process.stdout.write(`seed ${seed}, ${values.seconds} s\n`);
  print(await fuzz({ store, seed, seconds: Number(values.seconds) }));
} finally {
  await rm(folder, { recursive: true });
  if (values.postgres !== undefined) await drop(values.postgres);
}

async function drop(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(`drop schema if exists "${schema}" cascade`);
  await client.end();
}

function print({ requests, faults, answers, codes, heapMb, handles }: FuzzReport): void {
  for (const [id, counts] of Object.entries(answers))
    process.stdout.write(
      `${id.padEnd(16)}${Object.entries(counts)
        .map(([status, n]) => ` ${status}×${n}`)
        .join("")}\n`,
    );
  process.stdout.write(
    `${Object.entries(codes)
      .map(([code, n]) => `${code}×${n}`)
      .join(" ")}\n`,
  );
  process.stdout.write(
    `heap ${heapMb.map((mb) => `${mb.toFixed(1)} MB`).join(" → ")}, handles ${JSON.stringify(handles)}\n`,
  );
  for (const fault of faults) process.stdout.write(`FOUND ${fault}\n`);
  process.stdout.write(`${requests} requests, ${faults.length} found\n`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}
