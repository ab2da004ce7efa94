/**
 * The two rankings of a search, in PostgreSQL: words by full text search, vectors by whoever compares them here (pgvector, or this
 * process). Reads only.
 */
import type { RankedObject, VectorQuery, WordsQuery } from "../library.js";
import { rowsOf, type PostgresTx } from "./connection.js";
import { scopeOf, wordQueries } from "./full-text.js";

/** The best chunk of an object. */
export interface Place {
  readonly objectId: string;
  readonly ordinal: number;
}

/** Finds the nearest objects, best first, each at its nearest chunk. Exact: every vector of the game is compared. */
export interface VectorSearch {
  nearest(query: VectorQuery): Promise<readonly Place[]>;
}

export async function rankByWords(
  db: PostgresTx,
  { game, words, as, depth }: WordsQuery,
): Promise<readonly RankedObject[]> {
  const queries = wordQueries(words);
  if (queries.length === 0) return [];
  const places = await rowsOf<Place>(db, selectByWords, [game, `'${scopeOf(game)}'`, queries, as === "gm", depth]);
  return describe(db, game, places);
}

export async function rankByVector(
  db: PostgresTx,
  vectors: VectorSearch,
  query: VectorQuery,
): Promise<readonly RankedObject[]> {
  return describe(db, query.game, await vectors.nearest(query));
}

/** What was replaced since it was ranked is left out. */
async function describe(db: PostgresTx, game: string, places: readonly Place[]): Promise<readonly RankedObject[]> {
  if (places.length === 0) return [];
  const objectIds = places.map(({ objectId }) => objectId);
  const ordinals = places.map(({ ordinal }) => ordinal);
  return rowsOf<RankedObject>(db, selectPlaces, [game, objectIds, ordinals]);
}

// chunks_by_word, once for each word: the scope keeps it to the game, and a condition on the game itself would only tempt the
// planner to read the whole game instead. The chunks of the game are counted in their primary key.
// ts_rank alone would not do: it takes every word for equally telling. So words are ranked one by one, and weigh the more the fewer
// chunks have them: ln((N - n + 0.5) / (n + 0.5)), next to nothing when half of them do, as BM25 does it in SQLite. With 1 for the
// name and 0.65 for the text, a name counts 1.8 times a word of the text, as it does there with the weights 4 and 1, which saturate.
// (1 and 0.25 put every spell with "dead" in its name before the one that brings the dead back.)
// Rounded, so that the order in which a sum was made does not tell equals apart.
const selectByWords = `
  with word as materialized (
    select query, row_number() over () as number
    from (select distinct to_tsquery('pg_catalog.english', asked) as query from unnest($3::text[]) as asked) as asked
    where numnode(query) > 0
  ), matching as materialized (
    select chunk.object_id, chunk.ordinal, word.number, ts_rank('{0.65, 0, 0, 1}', chunk.words, word.query) as relevance
    from word
    join canon.chunks as chunk on chunk.words @@ ($2::tsquery && word.query)
    where not chunk.is_restricted or $4
  ), game as materialized (
    select count(*)::float8 as chunks
    from canon.chunks
    where game = $1
  ), telling as materialized (
    select found.number, greatest(0.01, ln((game.chunks - found.chunks + 0.5) / (found.chunks + 0.5))) as weight
    from game, (select number, count(*)::float8 as chunks from matching group by number) as found
  ), ranked as (
    select object_id, ordinal, round(sum(matching.relevance * telling.weight) * 1e6) as relevance
    from matching
    join telling using (number)
    group by object_id, ordinal
  ), best as (
    select distinct on (object_id) object_id, ordinal, relevance
    from ranked
    order by object_id, relevance desc, ordinal
  )
  select object_id as "objectId", ordinal
  from best
  order by relevance desc, object_id
  limit $5`;

// Primary keys.
const selectPlaces = `
  select object.id, object.kind, object.name, chunk.name as "indexedName", chunk.text
  from unnest($2::text[], $3::integer[]) with ordinality as place (object_id, ordinal, rank)
  join canon.objects as object on object.game = $1 and object.id = place.object_id
  join canon.chunks as chunk
    on chunk.game = $1 and chunk.object_id = place.object_id and chunk.ordinal = place.ordinal
  order by place.rank`;
