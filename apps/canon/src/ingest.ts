/**
 * Reads an import body and saves its objects, batch by batch. Each batch, its counters, the jobs that embed its objects and
 * the place to go on from commit in one transaction: a crash neither repeats a batch nor skips one.
 */
import { setImmediate, setTimeout } from "node:timers/promises";
import {
  cancel,
  handle,
  type BlobStore,
  type Context,
  type JobInHand,
  type PayloadOf,
  type Processor,
  type Queue,
} from "sluice";
import { embed, ingest } from "./jobs.js";
import type { BatchRecord } from "./library/batch.js";
import { andEnqueue, andThen } from "./library/eventual.js";
import type { Library } from "./library/library.js";
import { contentHash, parseObject } from "./object.js";
import { readRecords, UnreadableBody, type Cursor, type RecordItem } from "./records/reader.js";

/** One batch is one commit, with SQLite on the main thread: large enough to share its cost, small enough not to be felt there. */
const maxBatchObjects = 50;
const maxBatchBytes = 256 * 1024;
/** A part is this many batches; then the next job takes over. */
const batchesPerPart = 40;
/** How long to rest after a batch, as a multiple of the time it took. */
const pauseShare = 2;
/** A body that is nearly all rubbish is not read to its end. */
const hopelessFailures = 100_000;
const hopelessShare = 0.9;

/** Where the reading stands. */
interface Checkpoint {
  readonly cursor: Cursor;
  readonly total: number;
  readonly failed: number;
}

export interface IngestDeps {
  readonly library: Library;
  readonly blobs: BlobStore;
  readonly queue: Queue<unknown>;
  readonly now: () => number;
}

export function ingestProcessor(deps: IngestDeps): Processor<typeof ingest> {
  return handle(ingest, async (job, ctx) => {
    const { library, now } = deps;
    const { game, importId, blob, bytes } = job.payload;
    if (!(await library.findImport(game, importId))) return cancel("The import is gone.");
    await library.write((tx) => library.resumeReading(tx, importId));

    let part: Part;
    try {
      part = await readPart(deps, job, ctx);
    } catch (error) {
      if (!(error instanceof UnreadableBody)) throw error;
      part = { isLast: true, problem: error.message, at: { total: 0, failed: 0 } };
    }

    if (!part.isLast) {
      // Exists when, and only when, this part completes.
      await ctx.enqueue(ingest, { game, importId, blob, bytes, from: part.at });
      return undefined;
    }
    // The import moves on in the transaction that completes the job.
    const { problem } = part;
    await ctx.transaction((tx) =>
      problem === null
        ? library.finishReading(tx, importId, now())
        : library.endImport(tx, importId, { phase: "failed", problem, now: now() }),
    );
    await removeSpentBlobs(deps);
    return undefined;
  });
}

type Part =
  | { readonly isLast: false; readonly at: Checkpoint }
  | { readonly isLast: true; readonly problem: string | null; readonly at: { total: number; failed: number } };

async function readPart(deps: IngestDeps, job: JobInHand<PayloadOf<typeof ingest>>, ctx: Context): Promise<Part> {
  const { blob, bytes, from } = job.payload;
  let at: Checkpoint | undefined = from;
  let batches = 0;
  for (let known; (known = ctx.recall<Checkpoint>(stepName(batches))) !== undefined; batches++) at = known;

  const body = deps.blobs.get(blob, at?.cursor.offset ?? 0);
  for await (const items of inBatches(readRecords(body, at ? { from: at.cursor } : {}))) {
    if (batches === batchesPerPart) return { isLast: false, at: at! };
    ctx.signal.throwIfAborted();
    const startedAt = performance.now();
    const records = await check(items);
    const { next } = items.at(-1)!;
    at = await saveBatch(deps, ctx, { step: stepName(batches++), job: job.payload, records, next, before: at });
    ctx.progress(at.cursor.offset, bytes);
    if (at.failed >= hopelessFailures && at.failed >= at.total * hopelessShare) {
      const problem = `Reading stopped on line ${at.cursor.line}: ${at.failed} of ${at.total} records could not be read. Is this the right file?`;
      return { isLast: true, problem, at };
    }
    // Most of the time belongs to whoever else needs this thread: embedding is the slow part anyway.
    await setTimeout(pauseShare * (performance.now() - startedAt));
  }
  const { total = 0, failed = 0 } = at ?? {};
  return { isLast: true, problem: total === failed ? noneAccepted(total) : null, at: { total, failed } };
}

/** What needs no transaction: parsing, validating, hashing. Gives the thread away between large records. */
async function check(items: readonly RecordItem[]): Promise<readonly BatchRecord[]> {
  const records: BatchRecord[] = [];
  let turnEndsAt = performance.now() + 5;
  for (const item of items) {
    records.push(toRecord(item));
    if (performance.now() < turnEndsAt) continue;
    await setImmediate();
    turnEndsAt = performance.now() + 5;
  }
  return records;
}

function toRecord(item: RecordItem): BatchRecord {
  if (item.kind === "broken") return refused(item, { pointer: "", reason: item.reason, name: null });
  const parsed = parseObject(item.value);
  if (!parsed.ok) return refused(item, { ...parsed, name: nameIn(item.value) });
  const { id, kind, name, attributes = [] } = parsed.object;
  const { index, line } = item.position;
  return {
    kind: "object",
    object: {
      id,
      kind,
      name,
      body: JSON.stringify(item.value),
      hash: contentHash(parsed.object),
      hasRestricted: attributes.some(({ restricted }) => restricted === true),
      index,
      line,
    },
  };
}

function refused(
  item: RecordItem,
  { pointer, reason, name }: { pointer: string; reason: string; name: string | null },
): BatchRecord {
  const { index, line } = item.position;
  return { kind: "refused", failure: { index, line, name, pointer, reason } };
}

function saveBatch(
  { library, queue, now }: IngestDeps,
  ctx: Context,
  batch: {
    step: string;
    job: PayloadOf<typeof ingest>;
    records: readonly BatchRecord[];
    next: Cursor;
    before: Checkpoint | undefined;
  },
): Promise<Checkpoint> {
  const { step, job, records, next, before = { total: 0, failed: 0 } } = batch;
  const { game, importId } = job;
  const lengths = new Map<string, number>();
  for (const record of records) if (record.kind === "object") lengths.set(record.object.id, record.object.body.length);
  return ctx.transactionStep(step, (tx) => {
    const saved = andEnqueue(
      library.saveBatch(tx, {
        game,
        importId,
        records,
        readBytes: next.offset,
        failedBefore: before.failed,
        now: now(),
      }),
      ({ toEmbed }) =>
        queue.enqueueMany(
          embed,
          toEmbed.map((objectId) => ({ game, objectId, importId, length: lengths.get(objectId) })),
          { tx },
        ),
    );
    return andThen(saved, ({ failed }) => ({
      cursor: next,
      total: before.total + records.length,
      failed: before.failed + failed,
    }));
  });
}

/** Deletes the bodies that nobody will read again. Also run at start: a crash may have come between the two. */
export async function removeSpentBlobs({ library, blobs }: Pick<IngestDeps, "library" | "blobs">): Promise<void> {
  for (const { id, blob } of await library.listSpentBlobs()) {
    await blobs.remove([blob]);
    await library.write((tx) => library.forgetBlob(tx, id));
  }
}

async function* inBatches(items: AsyncIterable<RecordItem>): AsyncGenerator<readonly RecordItem[]> {
  let batch: RecordItem[] = [];
  let startsAt = 0;
  for await (const item of items) {
    if (batch.length === 0) startsAt = item.position.offset;
    batch.push(item);
    if (batch.length < maxBatchObjects && item.next.offset - startsAt < maxBatchBytes) continue;
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
