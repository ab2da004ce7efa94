/**
 * The two rankings of a search, in SQLite: words by FTS5 and BM25, vectors by sqlite-vec. Reads only.
 */
import type { Connection } from "sluice/sqlite";
import type { Audience, RankedObject, VectorQuery, WordsQuery } from "../library.js";
import { anyOfWithin } from "./full-text.js";
import { scopeOf, vectorBytes } from "./index-tables.js";

export function rankByWords(db: Connection, { game, words, as, depth }: WordsQuery): readonly RankedObject[] {
  const expression = anyOfWithin(scopeOf(game), words);
  if (expression === null) return [];
  // canon_chunks_fts by scope and words; then canon_chunks by primary key, canon_objects by primary key (game, id).
  // bm25: lower is better. Weights of scope, name, text: who types a name wants that object.
  // With min(), SQLite takes the other columns from the row that has the minimum: the object's best chunk.
  const statement = db.prepare(`
    with matching as materialized (
      select rowid as chunk_id, bm25(canon_chunks_fts, 0.0, 4.0, 1.0) as relevance
      from canon_chunks_fts
      where canon_chunks_fts match ?
    )
    select o.id, o.kind, o.name, c.name as "indexedName", c.text, min(m.relevance) as best
    from matching m
    cross join canon_chunks c on c.id = m.chunk_id
    join canon_objects o on o.game = c.game and o.id = c.object_id
    where c.game = ?
      and c.is_restricted <= ?
    group by o.id
    order by best, o.id
    limit ?
  `);
  return statement.all(expression, game, mostRestricted(as), depth) as RankedObject[];
}

export function rankByVector(db: Connection, query: VectorQuery): readonly RankedObject[] {
  const { game, vector, model, as, depth } = query;
  // canon_vectors by partition (game, model), restricted chunks left out during the search, not after it;
  // then canon_chunks by primary key, canon_objects by primary key (game, id).
  const statement = db.prepare(`
    with nearest as materialized (
      select id, distance
      from canon_vectors
      where vector match ?
        and k = ?
        and game = ?
        and model = ?
        and is_restricted <= ?
    )
    select o.id, o.kind, o.name, c.name as "indexedName", c.text
    from nearest n
    cross join canon_chunks c on c.id = n.id
    join canon_objects o on o.game = c.game and o.id = c.object_id
    order by n.distance, o.id, c.ordinal
  `);

  // vec0 counts chunks, we count objects: ask for more while one long text fills the answer.
  for (let k = depth * 2; ; k *= 4) {
    const asked = Math.min(k, maxNearest);
    const chunks = statement.all(vectorBytes(vector), BigInt(asked), game, model, mostRestricted(as)) as RankedObject[];
    const objects = firstOfEach(chunks);
    if (objects.length >= depth || chunks.length < asked || asked === maxNearest) return objects.slice(0, depth);
  }
}

const maxNearest = 4_096; // vec0's own limit

/** The highest is_restricted the asker may see. */
function mostRestricted(as: Audience): bigint {
  switch (as) {
    case "gm":
      return 1n;
    case "player":
      return 0n;
  }
}

function firstOfEach(chunks: readonly RankedObject[]): RankedObject[] {
  const objects = new Map<string, RankedObject>();
  for (const chunk of chunks) {
    if (!objects.has(chunk.id)) objects.set(chunk.id, chunk);
  }
  return [...objects.values()];
}
