/**
 * Builders for the tests of this folder: an in-memory library, and vectors that need no model.
 */
import { DatabaseSync } from "@photostructure/sqlite";
import { embeddingModel, embeddingModelId } from "../../embedding/identity.js";
import type { IndexedChunk } from "../library.js";
import { prepareSearch, replaceChunks } from "./index-tables.js";
import { migrateLibrary } from "./tables.js";

export type Database = InstanceType<typeof DatabaseSync>;

/** An empty library. */
export function aDatabase(): Database {
  const db = new DatabaseSync(":memory:", { allowExtension: true });
  db.enableLoadExtension(true);
  prepareSearch(db);
  migrateLibrary(db);
  return db;
}

export interface ObjectFixture {
  id: string;
  game?: string;
  name?: string;
  model?: string;
  chunks?: readonly (string | IndexedChunk)[];
}

/** Adds an object and its chunks, in one transaction. A chunk given as a string has the vector of axis 0. */
export function addObject(db: Database, object: ObjectFixture): void {
  const { id, game = "g1", name = id, model = embeddingModelId, chunks = [name] } = object;
  const vector = new Float32Array(embeddingModel.dimensions);
  vector[0] = 1;
  db.exec("begin");
  db.prepare(
    `insert or replace into canon_objects (game, id, kind, name, body, hash, import_id, line, updated_at)
     values (?, ?, 'place', ?, '{}', '', '', 1, 0)`,
  ).run(game, id, name);
  replaceChunks(db, {
    game,
    id,
    name,
    chunks: chunks.map((chunk) => (typeof chunk === "string" ? { text: chunk, vector } : chunk)),
    model,
    now: 0,
  });
  db.exec("commit");
}
