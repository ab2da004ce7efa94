/**
 * Builders for the tests of this folder: an in-memory library, and vectors that need no model.
 */
import { DatabaseSync } from "@photostructure/sqlite";
import { embeddingModel, embeddingModelId } from "../embedding/identity.js";
import { migrateSearch, prepareSearch, replaceChunks } from "./index-tables.js";
import type { IndexedChunk } from "./index-tables.js";

export type Library = InstanceType<typeof DatabaseSync>;

/** An empty library with the table of objects, which the application owns. */
export function aLibrary(path = ":memory:"): Library {
  const db = new DatabaseSync(path, { allowExtension: true });
  db.exec(`
    create table canon_objects (
      game text not null, id text not null, kind text not null, name text not null, primary key (game, id)
    )
  `);
  db.enableLoadExtension(true);
  prepareSearch(db);
  migrateSearch(db);
  return db;
}

/** Two objects with the same axis are alike; with different axes they have nothing in common. */
export function aVector(axis: number): Float32Array {
  const vector = new Float32Array(embeddingModel.dimensions);
  vector[axis] = 1;
  return vector;
}

export interface ObjectFixture {
  id: string;
  game?: string;
  kind?: string;
  name?: string;
  model?: string;
  chunks?: readonly (string | IndexedChunk)[];
}

/** Adds an object and its chunks, in one transaction. A chunk given as a string has the vector of axis 0. */
export function addObject(db: Library, object: ObjectFixture): void {
  const { id, game = "g1", kind = "place", name = id, model = embeddingModelId, chunks = [name] } = object;
  db.exec("begin");
  db.prepare("insert or replace into canon_objects (game, id, kind, name) values (?, ?, ?, ?)").run(
    game,
    id,
    kind,
    name,
  );
  replaceChunks(db, {
    game,
    objectId: id,
    name,
    chunks: chunks.map((chunk) => (typeof chunk === "string" ? { text: chunk, vector: aVector(0) } : chunk)),
    model,
    at: new Date(0),
  });
  db.exec("commit");
}
