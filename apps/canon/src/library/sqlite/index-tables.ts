/**
 * The searchable index of the canon: its tables in the application's SQLite file, and the two ways to change it.
 * Hides FTS5 and sqlite-vec. Never begins a transaction: the caller's one keeps the index and the canon together.
 *
 * Three tables hold one row per chunk under the same id: canon_chunks (the text), canon_chunks_fts (words; kept in
 * step by triggers) and canon_vectors (vectors; kept in step by the functions here, which alone have the vector).
 */
import type { Connection } from "sluice/sqlite";
import { getLoadablePath } from "sqlite-vec";
import { embeddingModel } from "../../embedding/identity.js";
import type { SearchableObject } from "../library.js";

/**
 * Loads sqlite-vec into the connection. Once per connection, before anything else here; whoever opened the connection
 * has allowed extensions, and forbids them again after.
 * @throws {Error} When sqlite-vec has no binary for this platform.
 */
export function prepareSearch(db: { loadExtension(path: string): void }): void {
  db.loadExtension(getLoadablePath());
}

/** Creates the tables that do not exist yet. May be called at every start. */
export function migrateSearch(db: Connection): void {
  db.exec(schema);
}

const schema = `
  create table if not exists canon_chunks (
    id integer primary key,
    game text not null,
    object_id text not null,
    ordinal integer not null,
    name text not null,
    text text not null,
    is_restricted integer not null check (is_restricted in (0, 1)),
    model text not null,
    embedded_at integer not null, -- Unix milliseconds
    scope text generated always as ('g' || hex(game)) virtual, -- see scopeOf
    unique (game, object_id, ordinal)
  ) strict;

  -- External content: the words are indexed here, the text itself is stored once, in canon_chunks.
  -- The scope makes the game a word, so that a query reads the word lists of its own game only.
  create virtual table if not exists canon_chunks_fts using fts5 (
    scope,
    name,
    text,
    content = 'canon_chunks',
    content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
  );

  create trigger if not exists canon_chunks_after_insert after insert on canon_chunks begin
    insert into canon_chunks_fts (rowid, scope, name, text) values (new.id, new.scope, new.name, new.text);
  end;

  create trigger if not exists canon_chunks_after_delete after delete on canon_chunks begin
    insert into canon_chunks_fts (canon_chunks_fts, rowid, scope, name, text)
    values ('delete', old.id, old.scope, old.name, old.text);
  end;

  -- Partitions: a query reads the vectors of its game and its model only. Two models may be in use during an upgrade,
  -- and their vectors must never be compared.
  create virtual table if not exists canon_vectors using vec0 (
    id integer primary key,
    game text partition key,
    model text partition key,
    is_restricted integer,
    vector float[${embeddingModel.dimensions}] distance_metric=cosine,
    chunk_size=256
  );
`;

/** The game as one word of letters and digits, as the column `scope` of canon_chunks has it. */
export function scopeOf(game: string): string {
  return `g${Buffer.from(game).toString("hex")}`;
}

/** Makes these chunks the object's only ones; none removes it from the index. Call inside an open transaction. */
export function replaceChunks(db: Connection, object: Omit<SearchableObject, "hash">): void {
  const { game, id: objectId, name, chunks, model, now } = object;
  removeObject(db, { game, objectId });

  // The integer primary key gives the id; triggers index the words.
  const insertChunk = db.prepare(`
    insert into canon_chunks (game, object_id, ordinal, name, text, is_restricted, model, embedded_at)
    values (?, ?, ?, ?, ?, ?, ?, ?)
    returning id
  `);
  // vec0 finds the partition by game and model.
  const insertVector = db.prepare(`
    insert into canon_vectors (id, game, model, is_restricted, vector)
    values (?, ?, ?, ?, ?)
  `);
  for (const [ordinal, { text, vector, isRestricted = false }] of chunks.entries()) {
    const restricted = isRestricted ? 1n : 0n;
    const row = insertChunk.get(game, objectId, ordinal, name, text, restricted, model, now);
    const { id } = row as { id: number | bigint };
    // vec0 takes integers only as BigInt: a JavaScript number arrives as a floating-point value and is refused.
    insertVector.run(BigInt(id), game, model, restricted, vectorBytes(vector));
  }
}

/** Takes the object out of the index; nothing happens when it is not there. Call inside an open transaction. */
export function removeObject(db: Connection, object: { game: string; objectId: string }): void {
  const { game, objectId } = object;
  // Unique index (game, object_id, ordinal).
  const ids = db.prepare(`select id from canon_chunks where game = ? and object_id = ?`).all(game, objectId);
  if (ids.length === 0) return;

  // vec0 looks one id up directly; "id in (select …)" reads the whole table (query plan SCAN, 19 ms of 50,000 chunks).
  const deleteVector = db.prepare(`delete from canon_vectors where id = ?`);
  for (const { id } of ids as { id: number | bigint }[]) deleteVector.run(BigInt(id));
  // Unique index (game, object_id, ordinal); triggers remove the words.
  db.prepare(`delete from canon_chunks where game = ? and object_id = ?`).run(game, objectId);
}

/** The bytes of a vector, as sqlite-vec reads them. */
export function vectorBytes(vector: Float32Array): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
}
