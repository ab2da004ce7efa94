/** A move from SQLite to PostgreSQL as people make it: with the program, killed or not, and a real worker afterwards. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { defineJob, fixed, handle, Queue, Worker, type Store } from "sluice";
import { postgres, type PostgresStore } from "sluice/postgres";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { aBeat, aClaim, aNewJob, aStep, aUniqueClaim, completeOf, failOf, retryOf } from "sluice/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { aFolder, aSchema, everythingIn, sluice, startSluice, type Folder, type Schema } from "../cli.test.process.js";

let folder: Folder;
let target: Schema;
let from: SqliteStore;
let to: PostgresStore;

beforeEach(async () => {
  folder = aFolder();
  target = await aSchema();
  from = await sqlite({ path: folder.path("jobs.db") });
  to = await postgres(target);
});

afterEach(async () => {
  await Promise.all([from.close(), to.close()]);
  folder.remove();
  await target.drop();
});

const copyArgs = (...more: readonly string[]) => [
  "copy",
  ...["--from", `sqlite:${folder.path("jobs.db")}`, "--to", target.url, "--schema", target.schema],
  ...more,
];

/** A worker that claimed what it could and then died: its lease is over. */
async function claimAndDie(...types: readonly string[]) {
  await from.heartbeat(aBeat({ workerId: "dead", leaseMs: 0 }));
  return (await from.claim(aClaim({ workerId: "dead", types, limit: 1_000 }))).jobs;
}

const both = async () => [await everythingIn(to), await everythingIn(from)];

test("what was copied is said in a table, and a worker runs it to its end", { timeout: 60_000 }, async () => {
  const work = defineJob({
    type: "work",
    payload: z.object({ n: z.number() }),
    unique: { by: ({ n }) => String(n), while: "active", onConflict: "rerun" },
    retry: fixed({ attempts: 3, delayMs: 1 }),
  });
  const before = new Queue({ store: from });
  const held = (await before.enqueue(work, { n: 1 })).job;
  const failing = (await before.enqueue(work, { n: 2 })).job;
  const [first, second] = await claimAndDie("work");
  await from.remember([aStep(first!, { name: "effect", output: '"made before"' })]);
  await from.settle([retryOf(second!, { delayMs: 0 })]);
  const behind = (await before.enqueue(work, { n: 1 })).job;
  const later = (await before.enqueue(work, { n: 3 }, { delayMs: 50 })).job;
  const waiting = (await before.enqueue(work, { n: 4 })).job;
  const ids = [held, failing, behind, later, waiting].map(({ id }) => id);
  expect((await from.get(ids)).map((job) => job?.state)).toEqual([
    "processing",
    "retrying",
    "blocked",
    "scheduled",
    "pending",
  ]);

  const { code, stdout, stderr } = await sluice(copyArgs());

  expect(stderr).not.toContain("sluice:");
  expect(code).toBe(0);
  expect(stdout).toContain("work  pending          1       1\n");
  expect(stdout).toMatch(/\nCopied 5 jobs, in \d+\.\d s\.\nStart no worker on the source again/);
  const [copied, source] = await both();
  expect(copied).toEqual(source);

  let effects = 0;
  const queue = new Queue({ store: to });
  const worker = new Worker({
    store: to,
    pollMs: 20,
    processors: [
      handle(work, async (_job, context) => {
        const made = await context.step("effect", () => `made ${++effects}`);
        return { made };
      }),
    ],
  });
  await worker.start();
  const ended = await Promise.all(ids.map((id) => queue.waitFor(id, { timeoutMs: 20_000 })));
  await worker.stop();

  expect(ended.map(({ state }) => state)).toEqual(["completed", "completed", "completed", "completed", "completed"]);
  expect(ended[0]).toMatchObject({ attempt: 2, crashes: 1, output: { made: "made before" } });
  expect(ended[1]).toMatchObject({ attempt: 2, crashes: 0 });
  expect(effects).toBe(4);
  expect((await to.get([held.id]))[0]!.epoch).toBe(first!.epoch + 1);
});

test("killed again and again, it ends as if it never was", { timeout: 120_000 }, async () => {
  const jobs = Array.from({ length: 4_000 }, (_, n) =>
    aNewJob({
      type: n % 3 === 0 ? "kept" : "ended",
      payload: JSON.stringify({ n }),
      correlation: { entityId: `e${n}` },
      unique: n % 10 === 0 ? aUniqueClaim({ key: `kept ${n}` }) : null,
    }),
  );
  for (let at = 0; at < jobs.length; at += 1_000) await from.enqueue(jobs.slice(at, at + 1_000));
  const held = [...(await claimAndDie("ended")), ...(await claimAndDie("kept"))];
  await from.remember(held.slice(0, 300).map((hold) => aStep(hold)));
  await from.settle(
    held.slice(100).map((hold, n) => (n % 2 === 0 ? completeOf(hold, { output: `{"n":${n}}` }) : failOf(hold))),
  );
  const blobs = [randomBytes(6_000_000), randomBytes(2_000_000)];
  for (const content of blobs) {
    const { id } = await from.blobs.put(chunks(content));
    await from.enqueue([aNewJob({ type: "large", blob: id, payload: JSON.stringify({ blob: id }) })]);
  }
  await from.amend({
    ...{ actor: "me", reason: "enough", requestId: null, action: "cancel" },
    target: { filter: { types: ["kept"] }, page: { before: null, limit: 1_500 } },
  });

  const total = 4_002;
  let seen = 0;
  for (let kill = 0; kill < 4; kill++) {
    const child = startSluice(copyArgs());
    const ended = once(child, "exit");
    // In the middle: when it has just brought something.
    const isOver = ended.then(() => true);
    while (!(await Promise.race([isOver, hasMoreThan(seen)])));
    child.kill("SIGKILL");
    await ended;
    seen = await jobsIn(to);
    if (kill === 0) expect(seen).toBeLessThan(total);
  }
  expect(seen).toBeGreaterThan(0);
  const last = await sluice(copyArgs("--json"));

  expect(last.stderr).not.toContain("sluice:");
  expect(last.code).toBe(0);
  const report = JSON.parse(last.stdout) as { copied: number; known: number };
  expect(report).toMatchObject({
    ok: true,
    problems: [],
    foreign: 0,
    isEqual: true,
    copied: total - seen,
    known: seen,
  });
  const [copied, source] = await both();
  expect(copied).toEqual(source);
  for (const job of source!.jobs.filter(({ type }) => type === "large")) {
    const { blob } = JSON.parse(job.payload) as { blob: string };
    expect(Buffer.compare(await read(to.blobs.get(blob)), await read(from.blobs.get(blob)))).toBe(0);
  }
});

async function jobsIn(store: Store<unknown>): Promise<number> {
  const counts = await store.counts();
  return counts.flatMap(({ counts }) => Object.values(counts)).reduce((sum, n) => sum + n, 0);
}

async function hasMoreThan(jobs: number): Promise<boolean> {
  return (await jobsIn(to)) > jobs;
}

async function* chunks(content: Uint8Array) {
  for (let at = 0; at < content.length; at += 1 << 16) yield content.subarray(at, at + (1 << 16));
}

async function read(blob: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts = [];
  for await (const part of blob) parts.push(part);
  return Buffer.concat(parts);
}

test("Ctrl+C stops it between two pages, and it says how to go on", { timeout: 60_000 }, async () => {
  for (let at = 0; at < 6; at++) await from.enqueue(Array.from({ length: 2_000 }, () => aNewJob()));
  const child = startSluice(copyArgs());
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = once(child, "close");
  while (!(await hasMoreThan(0)));
  child.kill("SIGINT");

  expect((await ended)[0]).toBe(130);
  expect(stderr).toContain("sluice: Stopped. Nothing is half done; run the same command again to go on.\n");
  expect((await sluice(copyArgs())).code).toBe(0);
});

test("jobs of others stay untouched and are reported, with exit code 1", async () => {
  await to.enqueue([aNewJob({ type: "theirs", unique: aUniqueClaim({ key: "k" }) }), aNewJob({ type: "theirs" })]);
  const before = await everythingIn(to);
  const ours = aNewJob({ type: "ours", unique: aUniqueClaim({ key: "k" }) });
  await from.enqueue([ours, aNewJob({ type: "ours" })]);

  const { code, stdout, stderr } = await sluice(copyArgs());

  expect(code).toBe(1);
  expect(stdout).toContain("ours    pending       2       1  differs\n");
  expect(stderr.split("\n")).toEqual([
    `sluice: Left out: 1 job of the source, because another job of the target holds the same unique key (${ours.id}). Let that one end, then copy again.`,
    "sluice: Left alone: 2 jobs of the target that the source does not have.",
    "",
  ]);
  const after = await everythingIn(to);
  expect(after.jobs.filter(({ type }) => type === "theirs")).toEqual(before.jobs);
});

test("it refuses while a worker is alive, and says how to go on all the same", async () => {
  await from.heartbeat(aBeat({ workerId: "alive", pid: 7, host: "box", leaseMs: 60_000 }));
  await from.enqueue([aNewJob()]);

  const refused = await sluice(copyArgs("--json"));
  const forced = await sluice(copyArgs("--json", "--force"));

  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toMatch(
    /^sluice: A worker is running on the source \(process 7 on box\)[^\n]+--force[^\n]+\n$/,
  );
  expect(forced.code).toBe(0);
  expect(JSON.parse(forced.stdout)).toMatchObject({ ok: true, copied: 1 });
});
