/**
 * Answers a query about the canon of one game: full text, vectors and names, fused by rank (fusion.ts).
 * Reads the index only (index-tables.ts); the caller embeds the query. Full text finds names and exact words,
 * vectors find paraphrases; each alone missed answers the other had (stack.md, section 3).
 */
import type { Connection } from "sluice/sqlite";
import { embeddingModelId } from "../embedding/identity.js";
import { matchAnyWord, withinScope } from "./full-text.js";
import { fuseRankings } from "./fusion.js";
import { scopeOf, vectorBytes } from "./index-tables.js";

/** Who asks: the game master sees everything, a player nothing restricted. */
export type Audience = "gm" | "player";

export interface SearchRequest {
  game: string;
  /** As typed, in any form; a blank one finds nothing. */
  query: string;
  /** The embedded query; null searches by words only, for when the model is not at hand. */
  vector: Float32Array | null;
  /** At most so many hits, 1 to 200. */
  limit: number;
  as: Audience;
  /** What made the vector. Default: `embeddingModelId`. Chunks of another model are found by their words only. */
  model?: string;
}

export interface SearchHit {
  id: string;
  kind: string;
  name: string;
  /** Comparable within one answer only: at most 3/61, for first place by words, by vector and by name. */
  score: number;
  /** From the object's best chunk that the asker may see, without the name in front. */
  snippet: string;
}

/** The best objects for the query, best first, one hit per object. Ties are ordered by id. Writes nothing. */
export function search(db: Connection, request: SearchRequest): SearchHit[] {
  if (request.query.trim() === "") return [];
  const limit = Math.min(200, Math.max(1, Math.trunc(request.limit)));
  // Deeper than the answer: an object in the middle of both rankings beats one at the top of one.
  const depth = Math.max(50, limit * 3);

  const byWords = rankByWords(db, request, depth);
  const byVector = rankByVector(db, request, depth);
  // A third ranking for the objects of exactly that name. Without it "fireball" found Delayed Blast Fireball first.
  const byName = [...new Set([...byWords, ...byVector].filter(isNamed(request.query)).map(({ id }) => id))];
  const scores = fuseRankings([byWords.map(({ id }) => id), byVector.map(({ id }) => id), byName]);

  // The chunk of the better rank is shown; with equal ranks the one with the words in it.
  const shown = new Map<string, RankedObject & { rank: number }>();
  for (const ranking of [byWords, byVector]) {
    for (const [rank, object] of ranking.entries()) {
      const other = shown.get(object.id);
      if (!other || rank < other.rank) shown.set(object.id, { ...object, rank });
    }
  }
  return [...shown.values()]
    .map(({ id, kind, name, indexedName, text }) => ({
      id,
      kind,
      name,
      score: scores.get(id) ?? 0,
      snippet: snippetOf(text, indexedName),
    }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, limit);
}

/** An object and its best chunk. */
interface RankedObject {
  id: string;
  kind: string;
  name: string;
  /** The name when the chunk was made. */
  indexedName: string;
  text: string;
}

function isNamed(query: string): (object: RankedObject) => boolean {
  const plain = (text: string) => text.normalize("NFKC").toLowerCase().trim();
  const wanted = plain(query);
  return ({ name }) => plain(name) === wanted;
}

function rankByWords(db: Connection, { game, query, as }: SearchRequest, depth: number): RankedObject[] {
  const words = matchAnyWord(query);
  if (words === null) return [];
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
  return statement.all(withinScope(scopeOf(game), words), game, mostRestricted(as), depth) as RankedObject[];
}

function rankByVector(db: Connection, request: SearchRequest, depth: number): RankedObject[] {
  const { game, vector, as, model = embeddingModelId } = request;
  if (vector === null) return [];
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

const snippetLength = 240;

/** A chunk is short, about 60 words, so its beginning will do. */
function snippetOf(text: string, indexedName: string): string {
  const body = text.startsWith(`${indexedName}: `) ? text.slice(indexedName.length + 2) : text;
  if (body.length <= snippetLength) return body;
  const space = body.lastIndexOf(" ", snippetLength);
  const end = space > snippetLength / 2 ? space : snippetLength;
  // Half of a surrogate pair at the cut would be an unreadable character.
  return `${body.slice(0, end).replace(/[\uD800-\uDBFF]$/, "")}…`;
}
