/**
 * Reads an import body and saves its objects, batch by batch. Each batch, its counters, the jobs that embed its objects and
 * the place to go on from commit in one transaction: a crash neither repeats a batch nor skips one.
 */
import { cancel, handle, type Context, type Processor, type Queue } from "sluice";
import type { Connection, SqliteStore } from "sluice/sqlite";
import { embed, ingest } from "./jobs.js";
import {
  addFailure,
  advanceImport,
  endImport,
  findImport,
  finishReading,
  saveObject,
  type ImportFailure,
} from "./library.js";
import { contentHash, parseObject } from "./object.js";
import { readRecords, UnreadableBody, type Cursor, type RecordItem } from "./records/reader.js";

/** One batch is one commit on the main thread: large enough to share its cost, small enough not to be felt there. */
const batchSize = 100;

interface Checkpoint {
  readonly next: Cursor;
  readonly total: number;
  readonly failed: number;
}

export interface IngestDeps {
  readonly store: SqliteStore;
  readonly queue: Queue<Connection>;
  readonly now: () => number;
}

export function ingestProcessor(deps: IngestDeps): Processor<typeof ingest> {
  return handle(ingest, async (job, ctx) => {
    const { game, importId, blob, bytes } = job.payload;
    if (!findImport(deps.store.connection, game, importId)) return cancel("The import is gone.");

    let batches = 0;
    let last: Checkpoint | undefined;
    for (let known; (known = ctx.recall<Checkpoint>(stepName(batches))) !== undefined; batches++) last = known;

    try {
      const from = last?.next;
      const body = deps.store.blobs.get(blob, from?.offset ?? 0);
      for await (const items of inBatches(readRecords(body, from ? { from } : {}), batchSize)) {
        ctx.signal.throwIfAborted();
        last = await saveBatch(deps, ctx, stepName(batches++), { game, importId, items, before: last });
        ctx.progress(last.next.offset, bytes);
      }
    } catch (error) {
      if (!(error instanceof UnreadableBody)) throw error;
      const problem = error.message;
      await ctx.transactionStep("unreadable", (tx: Connection) =>
        endImport(tx, importId, { phase: "failed", problem, now: deps.now() }),
      );
      // The import has ended, with a plain sentence; the job did what there was to do.
      return { total: 0, accepted: 0, failed: 0 };
    }

    const { total, failed } = last ?? { total: 0, failed: 0 };
    const accepted = total - failed;
    return ctx.transaction((tx: Connection) => {
      if (accepted === 0) {
        endImport(tx, importId, { phase: "failed", problem: noneAccepted(total), now: deps.now() });
      } else {
        finishReading(tx, importId, deps.now());
      }
      return { total, accepted, failed };
    });
  });
}

function saveBatch(
  { queue, now }: IngestDeps,
  ctx: Context,
  step: string,
  batch: { game: string; importId: string; items: readonly RecordItem[]; before: Checkpoint | undefined },
): Promise<Checkpoint> {
  const { game, importId, items, before } = batch;
  return ctx.transactionStep(step, (tx: Connection) => {
    const toEmbed: { game: string; objectId: string }[] = [];
    let failed = 0;
    let skipped = 0;
    for (const item of items) {
      const outcome = saveItem(tx, { game, importId, item, now: now() });
      if ("failure" in outcome) {
        failed++;
        addFailure(tx, importId, outcome.failure);
      } else if (outcome.needsEmbedding) {
        toEmbed.push({ game, objectId: outcome.objectId });
      } else {
        skipped++;
      }
    }
    const { next } = items.at(-1)!;
    advanceImport(tx, importId, { readBytes: next.offset, total: items.length, failed, skipped });
    void queue.enqueueMany(embed, toEmbed, { tx });
    return { next, total: (before?.total ?? 0) + items.length, failed: (before?.failed ?? 0) + failed };
  });
}

type ItemOutcome = { failure: ImportFailure } | { objectId: string; needsEmbedding: boolean };

function saveItem(
  tx: Connection,
  { game, importId, item, now }: { game: string; importId: string; item: RecordItem; now: number },
): ItemOutcome {
  const { index, line } = item.position;
  const refuse = (pointer: string, reason: string, name: string | null) => ({
    failure: { index, line, name, pointer, reason },
  });
  if (item.kind === "broken") return refuse("", item.reason, null);

  const parsed = parseObject(item.value);
  if (!parsed.ok) return refuse(parsed.pointer, parsed.reason, nameIn(item.value));

  const { object } = parsed;
  const { id, kind, name } = object;
  const hash = contentHash(object);
  const saved = saveObject(tx, { game, id, kind, name, body: JSON.stringify(item.value), hash, importId, line }, now);
  switch (saved.result) {
    case "saved":
      return { objectId: id, needsEmbedding: true };
    case "unchanged":
      return { objectId: id, needsEmbedding: false };
    case "repeated":
      return refuse(
        "/id",
        `has the same id ("${id}") as the object on line ${saved.firstLine}; that one was kept.`,
        name,
      );
  }
}

async function* inBatches(items: AsyncIterable<RecordItem>, size: number): AsyncGenerator<readonly RecordItem[]> {
  let batch: RecordItem[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

function stepName(batch: number): string {
  return `batch:${batch}`;
}

function noneAccepted(total: number): string {
  return total === 0
    ? 'The file holds no objects. Send a JSON array, { "objects": [...] }, or one JSON object per line.'
    : `None of the ${total} records could be imported. The list of failures says why for each.`;
}

function nameIn(value: unknown): string | null {
  const name = (value as { name?: unknown } | null)?.name;
  return typeof name === "string" ? name.slice(0, 200) : null;
}
