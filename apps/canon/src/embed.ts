/**
 * Makes objects searchable, many at once: chunks their texts, computes real vectors off the main thread in one call, and commits
 * each object's vectors together with its state, the import's counter and its job's completion.
 */
import { setImmediate } from "node:timers/promises";
import { cancel, handleBatch, type BatchItem, type BatchProcessor, type PayloadOf } from "sluice";
import { eachChunk } from "./embedding/chunks.js";
import type { Embedder } from "./embedding/embedder.js";
import { embeddingModelId } from "./embedding/identity.js";
import { embed } from "./jobs.js";
import type { Library } from "./library/library.js";
import { contentHash, parseObject, textForEmbedding, type CanonObject } from "./object.js";

export interface EmbedDeps {
  readonly library: Library;
  readonly embedder: Embedder;
  readonly now: () => number;
}

type Item = BatchItem<PayloadOf<typeof embed>>;

interface Work {
  readonly item: Item;
  readonly object: CanonObject;
  readonly texts: readonly string[];
}

export function embedProcessor(deps: EmbedDeps): BatchProcessor<typeof embed> {
  const { library, embedder, now } = deps;
  return handleBatch(embed, async (items, { signal }) => {
    const works = await read(library, items);
    const vectors = await embedTogether(embedder, works, signal);
    await Promise.all(works.map((work, index) => work.item.run(() => save(work, vectors?.[index]))));
  });

  async function save({ item, object, texts }: Work, known: readonly Float32Array[] | undefined): Promise<undefined> {
    const { job, ctx } = item;
    const vectors = known ?? (await embedder.embed(texts, { signal: ctx.signal }));
    const { game, objectId: id } = job.payload;
    const chunks = texts.map((text, index) => ({ text, vector: vectors[index]! }));
    const { name } = object;
    const searchable = { game, id, name, hash: contentHash(object), chunks, model: embeddingModelId, now: now() };
    // Where the text changed meanwhile nothing happens: the run that makes the new text searchable is on its way.
    await ctx.transaction((tx) => library.makeSearchable(tx, searchable));
    return undefined;
  }
}

/** What there is to embed. Settles the jobs of which there is nothing. */
async function read(library: Library, items: readonly Item[]): Promise<Work[]> {
  const works: Work[] = [];
  for (const item of items) {
    const { game, objectId } = item.job.payload;
    try {
      const row = await library.findObject(game, objectId);
      const parsed = row && parseObject(JSON.parse(row.body));
      if (parsed?.ok) works.push({ item, object: parsed.object, texts: await chunksOf(parsed.object) });
      else item.end(cancel("The object is gone."));
    } catch (error) {
      item.fail(error);
    }
  }
  return works;
}

/**
 * The vectors of each, from one call of the model. Null when that failed: then each is embedded by itself, so that a text the model
 * cannot take uses up its own attempts and not those of its company.
 */
async function embedTogether(
  embedder: Embedder,
  works: readonly Work[],
  signal: AbortSignal,
): Promise<Float32Array[][] | null> {
  try {
    const vectors = await embedder.embed(
      works.flatMap(({ texts }) => texts),
      { signal },
    );
    let at = 0;
    return works.map(({ texts }) => vectors.slice(at, (at += texts.length)));
  } catch (error) {
    if (signal.aborted || works.length === 1) throw error;
    return null;
  }
}

async function chunksOf(object: CanonObject): Promise<string[]> {
  const text = textForEmbedding(object);
  const chunks: string[] = [];
  // The name is the first line of the text, and the title of every chunk.
  for (const chunk of eachChunk(text.slice(text.indexOf("\n") + 1), { title: object.name })) {
    chunks.push(chunk);
    if (chunks.length % 20 === 0) await setImmediate();
  }
  return chunks;
}
