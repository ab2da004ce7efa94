/**
 * Makes one object searchable: chunks its text, computes real vectors off the main thread, and commits them together with
 * the object's state, the import's counter and the job's completion.
 */
import { setImmediate } from "node:timers/promises";
import { cancel, handle, type Processor } from "sluice";
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

export function embedProcessor({ library, embedder, now }: EmbedDeps): Processor<typeof embed> {
  return handle(embed, async (job, ctx) => {
    const { game, objectId } = job.payload;
    const row = await library.findObject(game, objectId);
    const parsed = row && parseObject(JSON.parse(row.body));
    if (!parsed?.ok) return cancel("The object is gone.");

    const { object } = parsed;
    const { name } = object;
    const hash = contentHash(object);
    const texts = await chunksOf(object);
    const vectors = await embedder.embed(texts, { signal: ctx.signal });

    const chunks = texts.map((text, index) => ({ text, vector: vectors[index]! }));
    const searchable = { game, id: objectId, name, hash, chunks, model: embeddingModelId, now: now() };
    // Where the text changed meanwhile nothing happens: the run that makes the new text searchable is on its way.
    await ctx.transaction((tx) => library.makeSearchable(tx, searchable));
    return undefined;
  });
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
