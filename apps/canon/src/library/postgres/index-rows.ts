/**
 * The rows of the searchable index: a chunk's text and words, and its vector. Whoever changes them gives the object a new index
 * version in the same transaction (objects.ts).
 */
import type { SearchableObject } from "../library.js";
import { storable } from "../storable.js";
import type { PostgresTx } from "./connection.js";
import { scopeOf, textOfWords } from "./full-text.js";

/** Vectors go with their chunks. */
export async function deleteChunks(tx: PostgresTx, game: string, objectIds: readonly string[]): Promise<void> {
  await tx.query(dropChunks, [game, objectIds]);
}

export async function insertChunks(tx: PostgresTx, object: Omit<SearchableObject, "hash">): Promise<void> {
  const { game, id, name, chunks, model, now } = object;
  if (chunks.length === 0) return;
  const rows = chunks.map(({ text, vector, isRestricted = false }, ordinal) => ({
    ordinal,
    text: storable(text),
    words: textOfWords(text),
    isRestricted,
    // A float as JSON is the shortest decimal that gives the same double, hence the same float again.
    vector: Array.from(vector),
  }));
  const values = [game, id, name, model, now, scopeOf(game), textOfWords(name), JSON.stringify(rows)];
  await tx.query(addChunks, values);
}

// Primary key, whose first columns are game and object_id; vectors by the same.
const dropChunks = `
  delete from canon.chunks
  where game = $1
    and object_id = any($2::text[])`;

// The foreign key of a vector is checked when the statement ends, and its chunk is there by then.
const addChunks = `
  with new as materialized (
    select ordinal, text, words, "isRestricted", vector
    from json_to_recordset($8::json)
      as chunk (ordinal integer, text text, words text, "isRestricted" boolean, vector real[])
  ), inserted as (
    insert into canon.chunks (game, object_id, ordinal, name, text, is_restricted, model, embedded_at, words)
    select $1, $2, ordinal, $3, text, "isRestricted", $4, $5,
      setweight(to_tsvector('pg_catalog.english', $7), 'A')
        || setweight(to_tsvector('pg_catalog.english', words), 'D')
        || array_to_tsvector(array[$6])
    from new
  )
  insert into canon.vectors (game, object_id, ordinal, model, is_restricted, embedding)
  select $1, $2, ordinal, $4, "isRestricted", vector
  from new`;
