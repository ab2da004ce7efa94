/**
 * Makes one object searchable: chunks its text, computes real vectors off the main thread, and commits them together with
 * the object's state, the import's counter and the job's completion.
 */
import { cancel, handle, type Processor, type Queue } from "sluice";
import type { Connection, SqliteStore } from "sluice/sqlite";
import { chunkText } from "./embedding/chunks.js";
import type { Embedder } from "./embedding/embedder.js";
import { embeddingModelId } from "./embedding/identity.js";
import { embed } from "./jobs.js";
import { findObject, markEmbedded, markEmbedFailed } from "./library.js";
import { contentHash, parseObject, textForEmbedding } from "./object.js";
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
    const hash = contentHash(object);
    const text = textForEmbedding(object);
    // The name is its first line, and the title of every chunk.
    const texts = chunkText(text.slice(text.indexOf("\n") + 1), { title: object.name });
    const vectors = await embedder.embed(texts, { signal: ctx.signal });

    await ctx.transaction((tx: Connection) => {
      const at = now();
      const model = embeddingModelId;
      const chunks = texts.map((text, index) => ({ text, vector: vectors[index]! }));
      replaceChunks(tx, { game, objectId, name: object.name, chunks, model, at: new Date(at) });
      // When the text changed meanwhile, the rerun that follows makes the new text searchable.
      if (findObject(tx, game, objectId)?.hash === hash) markEmbedded(tx, { game, id: objectId, hash, model, now: at });
    });
    return undefined;
  });
}

/**
 * Tells imports about objects whose embedding was given up: the job failed for good, perhaps with its process. Idempotent.
 * Run it at start and whenever an embed job fails.
 */
export async function reconcileFailedEmbeds(
  { store, now }: Pick<EmbedDeps, "store" | "now">,
  queue: Queue<Connection>,
): Promise<void> {
  let cursor: string | null = null;
  do {
    const page = await queue.list({ types: [embed.type], states: ["failed"], cursor, limit: 500 });
    const db = store.connection;
    db.exec("begin immediate");
    try {
      for (const job of page.jobs) {
        if (job.state !== "failed") continue;
        const { game, objectId } = job.payload as { game: string; objectId: string };
        const reason = `could not be made searchable: ${job.error.message}`;
        markEmbedFailed(db, { game, id: objectId, reason, now: now() });
      }
      db.exec("commit");
    } catch (error) {
      db.exec("rollback");
      throw error;
    }
    cursor = page.next;
  } while (cursor !== null);
}
