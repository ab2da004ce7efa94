/**
 * Imports hear of jobs that ended without doing their work. Real store, real worker; only the handler gives up at once.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { handle, NonRetryableError, Queue, Worker } from "sluice";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Database } from "./database/database.js";
import { openSqlite } from "./database/sqlite.js";
import { embed, ingest } from "./jobs.js";
import type { Library } from "./library/library.js";
import { reconcileAll } from "./reconcile.js";

const game = "g";
const now = () => 1_000;

let folder: string;
let store: Database["store"];
let library: Library;
let queue: Queue<unknown>;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "canon-reconcile-"));
  ({ store, library } = (await openSqlite(join(folder, "canon.db"))) as Database);
  queue = new Queue({ store });
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

test("an object whose embedding was given up is listed, and its import ends", async () => {
  await importOf("first", "anna");
  await giveUpEmbedding("first", "anna");

  await reconcileAll({ library, queue, now });
  await reconcileAll({ library, queue, now });

  expect(await library.findImport(game, "first")).toMatchObject({
    phase: "done",
    total: 1,
    failed: 1,
    succeeded: 0,
  });
  expect(await library.listFailures("first", { after: -1, limit: 10 })).toMatchObject([
    { line: 7, name: "anna", reason: "could not be made searchable: no model" },
  ]);
});

test("a later import that has taken the object over is not told about the failure of an older one", async () => {
  await importOf("first", "anna");
  await giveUpEmbedding("first", "anna");
  await importOf("second", "anna");

  await reconcileAll({ library, queue, now });

  expect(await library.findImport(game, "second")).toMatchObject({ phase: "indexing", failed: 0 });
});

test("an import whose reading was cancelled ends as cancelled, one whose reading failed says why", async () => {
  for (const id of ["cancelled", "failed"]) {
    await library.write((tx) => library.addImport(tx, { id, game, blob: "none", bytes: 1, now: now() }));
  }
  const { job } = await queue.enqueue(ingest, { game, importId: "cancelled", blob: "none", bytes: 1 });
  await queue.cancel(job.id);
  await runToFailure(
    async () => (await queue.enqueue(ingest, { game, importId: "failed", blob: "none", bytes: 1 })).job.id,
  );

  await reconcileAll({ library, queue, now });

  expect((await library.findImport(game, "cancelled"))?.phase).toBe("cancelled");
  expect(await library.findImport(game, "failed")).toMatchObject({
    phase: "failed",
    problem: expect.stringContaining("no model"),
  });
});

async function importOf(importId: string, name: string): Promise<void> {
  const object = { id: name, kind: "npc", name, body: "{}", hash: importId, hasRestricted: false, index: 0, line: 7 };
  const records = [{ kind: "object" as const, object }];
  const batch = { game, importId, records, readBytes: 1, failedBefore: 0, now: now() };
  await library.write((tx) => library.addImport(tx, { id: importId, game, blob: "none", bytes: 1, now: now() }));
  await library.write((tx) => library.saveBatch(tx, batch));
  await library.write((tx) => library.finishReading(tx, importId, now()));
}

async function giveUpEmbedding(importId: string, objectId: string): Promise<void> {
  await runToFailure(async () => (await queue.enqueue(embed, { game, objectId, importId })).job.id);
}

async function runToFailure(enqueue: () => Promise<string>): Promise<void> {
  const giveUp = () => {
    throw new NonRetryableError("no model");
  };
  const worker = new Worker({ store, processors: [handle(embed, giveUp), handle(ingest, giveUp)] });
  await worker.start();
  expect((await queue.waitFor(await enqueue())).state).toBe("failed");
  await worker.stop();
}
