/**
 * Answers a query about the canon of one game: full text, vectors and names, fused by rank (fusion.ts). The library gives the
 * rankings, the caller embeds the query. Full text finds names and exact words, vectors find paraphrases; each alone missed
 * answers the other had (stack.md, section 3).
 */
import { embeddingModelId } from "../embedding/identity.js";
import type { Audience, Library, RankedObject } from "../library/library.js";
import { fuseRankings } from "./fusion.js";
import { tellingWords } from "./words.js";

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
export async function search(
  library: Pick<Library, "rankByWords" | "rankByVector">,
  request: SearchRequest,
): Promise<SearchHit[]> {
  const { game, query, vector, as, model = embeddingModelId } = request;
  if (query.trim() === "") return [];
  const limit = Math.min(200, Math.max(1, Math.trunc(request.limit)));
  // Deeper than the answer: an object in the middle of both rankings beats one at the top of one.
  const depth = Math.max(50, limit * 3);

  const words = tellingWords(query);
  const [byWords, byVector] = await Promise.all([
    words.length === 0 ? [] : library.rankByWords({ game, words, as, depth }),
    vector === null ? [] : library.rankByVector({ game, vector, model, as, depth }),
  ]);
  // A third ranking for the objects of exactly that name. Without it "fireball" found Delayed Blast Fireball first.
  const byName = [...new Set([...byWords, ...byVector].filter(isNamed(query)).map(({ id }) => id))];
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

function isNamed(query: string): (object: RankedObject) => boolean {
  const plain = (text: string) => text.normalize("NFKC").toLowerCase().trim();
  const wanted = plain(query);
  return ({ name }) => plain(name) === wanted;
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
