/**
 * Imports hear of jobs that ended without doing their work. Real store, real worker; only the handler gives up at once.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { handle, NonRetryableError, Queue, Worker } from "sluice";
import { sqlite, type Connection, type SqliteStore } from "sluice/sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { embed, ingest } from "./jobs.js";
import {
  addImport,
  advanceImport,
  findImport,
  finishReading,
  listFailures,
  migrateLibrary,
  saveObject,
} from "./library.js";
import { reconcileAll } from "./reconcile.js";

const game = "g";
const now = () => 1_000;

let folder: string;
let store: SqliteStore;
let queue: Queue<Connection>;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "canon-reconcile-"));
  store = await sqlite({ path: join(folder, "canon.db") });
  await store.write((tx) => migrateLibrary(tx));
  queue = new Queue({ store });
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

test("an object whose embedding was given up is listed, and its import ends", async () => {
  await importOf("first", "anna");
  await giveUpEmbedding("first", "anna");

  await reconcileAll({ store, queue, now });
  await reconcileAll({ store, queue, now });

  expect(findImport(store.connection, game, "first")).toMatchObject({
    phase: "done",
    total: 1,
    failed: 1,
    succeeded: 0,
  });
  expect(listFailures(store.connection, "first", { after: -1, limit: 10 })).toMatchObject([
    { line: 7, name: "anna", reason: "could not be made searchable: no model" },
  ]);
});

test("a later import that has taken the object over is not told about the failure of an older one", async () => {
  await importOf("first", "anna");
  await giveUpEmbedding("first", "anna");
  await importOf("second", "anna");

  await reconcileAll({ store, queue, now });

  expect(findImport(store.connection, game, "second")).toMatchObject({ phase: "indexing", failed: 0 });
});

test("an import whose reading was cancelled ends as cancelled, one whose reading failed says why", async () => {
  for (const id of ["cancelled", "failed"]) {
    await store.write((tx) => addImport(tx, { id, game, blob: "none", bytes: 1, now: now() }));
  }
  const { job } = await queue.enqueue(ingest, { game, importId: "cancelled", blob: "none", bytes: 1 });
  await queue.cancel(job.id);
  await runToFailure(
    async () => (await queue.enqueue(ingest, { game, importId: "failed", blob: "none", bytes: 1 })).job.id,
  );

  await reconcileAll({ store, queue, now });

  expect(findImport(store.connection, game, "cancelled")?.phase).toBe("cancelled");
  expect(findImport(store.connection, game, "failed")).toMatchObject({
    phase: "failed",
    problem: expect.stringContaining("no model"),
  });
});

async function importOf(importId: string, name: string): Promise<void> {
  await store.write((tx) => {
    addImport(tx, { id: importId, game, blob: "none", bytes: 1, now: now() });
    saveObject(tx, { game, id: name, kind: "npc", name, body: "{}", hash: importId, importId, line: 7 }, now());
    advanceImport(tx, importId, { readBytes: 1, total: 1, failed: 0, skipped: 0 });
    finishReading(tx, importId, now());
  });
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
