/**
 * Makes one object searchable: chunks its text, computes real vectors off the main thread, and commits them together with
 * the object's state, the import's counter and the job's completion.
 */
import { setImmediate } from "node:timers/promises";
import { cancel, handle, type Processor } from "sluice";
import type { Connection, SqliteStore } from "sluice/sqlite";
import { eachChunk } from "./embedding/chunks.js";
import type { Embedder } from "./embedding/embedder.js";
import { embeddingModelId } from "./embedding/identity.js";
import { embed } from "./jobs.js";
import { findObject, markEmbedded } from "./library.js";
import { contentHash, parseObject, textForEmbedding, type CanonObject } from "./object.js";
import { replaceChunks } from "./search/index-tables.js";

export interface EmbedDeps {
  readonly store: SqliteStore;
  readonly embedder: Embedder;
  readonly now: () => number;
}

export function embedProcessor({ store, embedder, now }: EmbedDeps): Processor<typeof embed> {
  return handle(embed, async (job, ctx) => {
    const { game, objectId } = job.payload;
    const row = findObject(store.connection, game, objectId);
    const parsed = row && parseObject(JSON.parse(row.body));
    if (!parsed?.ok) return cancel("The object is gone.");

    const { object } = parsed;
    const { name } = object;
    const hash = contentHash(object);
    const texts = await chunksOf(object);
    const vectors = await embedder.embed(texts, { signal: ctx.signal });

    await ctx.transaction((tx: Connection) => {
      // The text changed meanwhile: what was computed is old, and the run that makes the new text searchable is on its way.
      if (findObject(tx, game, objectId)?.hash !== hash) return;
      const at = now();
      const chunks = texts.map((text, index) => ({ text, vector: vectors[index]! }));
      replaceChunks(tx, { game, objectId, name, chunks, model: embeddingModelId, at: new Date(at) });
      markEmbedded(tx, { game, id: objectId, hash, model: embeddingModelId, now: at });
    });
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
