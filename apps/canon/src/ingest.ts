/**
 * Reads an import body and saves its objects, batch by batch. Each batch, its counters, the jobs that embed its objects and
 * the place to go on from commit in one transaction: a crash neither repeats a batch nor skips one.
 */
import { setImmediate, setTimeout } from "node:timers/promises";
import { cancel, handle, type Context, type JobInHand, type PayloadOf, type Processor, type Queue } from "sluice";
import type { Connection, SqliteStore } from "sluice/sqlite";
import { embed, ingest } from "./jobs.js";
import {
  addFailure,
  advanceImport,
  endImport,
  findImport,
  finishReading,
  forgetBlob,
  listSpentBlobs,
  maxListedFailures,
  resumeReading,
  saveObject,
  type ImportFailure,
} from "./library.js";
import { contentHash, parseObject, type CanonObject } from "./object.js";
import { readRecords, UnreadableBody, type Cursor, type RecordItem } from "./records/reader.js";
import { removeObject } from "./search/index-tables.js";

/** One batch is one commit on the main thread: large enough to share its cost, small enough not to be felt there. */
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

/** A record on its way into the library: checked outside the transaction, which should only write. */
type Candidate = { readonly item: RecordItem } & (
  | { readonly kind: "object"; readonly object: CanonObject; readonly body: string; readonly hash: string }
  | { readonly kind: "refused"; readonly failure: ImportFailure }
);

export interface IngestDeps {
  readonly store: SqliteStore;
  readonly queue: Queue<Connection>;
  readonly now: () => number;
}

export function ingestProcessor(deps: IngestDeps): Processor<typeof ingest> {
  return handle(ingest, async (job, ctx) => {
    const { store, queue, now } = deps;
    const { game, importId, blob, bytes } = job.payload;
    if (!findImport(store.connection, game, importId)) return cancel("The import is gone.");
    await store.write((tx) => resumeReading(tx, importId));

    let part: Part;
    try {
      part = await readPart(deps, job, ctx);
    } catch (error) {
      if (!(error instanceof UnreadableBody)) throw error;
      part = { isLast: true, problem: error.message, at: { total: 0, failed: 0 } };
    }

    // The import moves on in the transaction that completes the job.
    await ctx.transaction((tx: Connection) => {
      if (!part.isLast) {
        const from = part.at;
        void queue.enqueue(ingest, { game, importId, blob, bytes, from }, { tx });
      } else if (part.problem !== null) {
        endImport(tx, importId, { phase: "failed", problem: part.problem, now: now() });
      } else {
        finishReading(tx, importId, now());
      }
    });
    if (part.isLast) await removeSpentBlobs(deps);
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

  const body = deps.store.blobs.get(blob, at?.cursor.offset ?? 0);
  for await (const items of inBatches(readRecords(body, at ? { from: at.cursor } : {}))) {
    if (batches === batchesPerPart) return { isLast: false, at: at! };
    ctx.signal.throwIfAborted();
    const startedAt = performance.now();
    const candidates = await check(items);
    at = await saveBatch(deps, ctx, { step: stepName(batches++), job: job.payload, candidates, before: at });
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
async function check(items: readonly RecordItem[]): Promise<readonly Candidate[]> {
  const candidates: Candidate[] = [];
  let turnEndsAt = performance.now() + 5;
  for (const item of items) {
    candidates.push(toCandidate(item));
    if (performance.now() < turnEndsAt) continue;
    await setImmediate();
    turnEndsAt = performance.now() + 5;
  }
  return candidates;
}

function toCandidate(item: RecordItem): Candidate {
  if (item.kind === "broken") return refused(item, { pointer: "", reason: item.reason, name: null });
  const parsed = parseObject(item.value);
  if (!parsed.ok) return refused(item, { ...parsed, name: nameIn(item.value) });
  const { object } = parsed;
  return { item, kind: "object", object, body: JSON.stringify(item.value), hash: contentHash(object) };
}

function refused(
  item: RecordItem,
  { pointer, reason, name }: { pointer: string; reason: string; name: string | null },
): Candidate {
  const { index, line } = item.position;
  return { item, kind: "refused", failure: { index, line, name, pointer, reason } };
}

function saveBatch(
  { queue, now }: IngestDeps,
  ctx: Context,
  batch: {
    step: string;
    job: PayloadOf<typeof ingest>;
    candidates: readonly Candidate[];
    before: Checkpoint | undefined;
  },
): Promise<Checkpoint> {
  const { step, job, candidates, before = { total: 0, failed: 0 } } = batch;
  const { game, importId } = job;
  return ctx.transactionStep(step, (tx: Connection) => {
    const toEmbed: { game: string; objectId: string; importId: string }[] = [];
    let failed = 0;
    let skipped = 0;
    for (const candidate of candidates) {
      const outcome = candidate.kind === "refused" ? candidate : save(tx, candidate, { game, importId, now: now() });
      if ("failure" in outcome) {
        if (before.failed + failed < maxListedFailures) addFailure(tx, importId, outcome.failure);
        failed++;
      } else if (outcome.needsEmbedding) {
        toEmbed.push({ game, objectId: outcome.objectId, importId });
      } else {
        skipped++;
      }
    }
    const { next } = candidates.at(-1)!.item;
    advanceImport(tx, importId, { readBytes: next.offset, total: candidates.length, failed, skipped });
    void queue.enqueueMany(embed, toEmbed, { tx });
    return { cursor: next, total: before.total + candidates.length, failed: before.failed + failed };
  });
}

function save(
  tx: Connection,
  { item, object, body, hash }: Candidate & { kind: "object" },
  { game, importId, now }: { game: string; importId: string; now: number },
): { failure: ImportFailure } | { objectId: string; needsEmbedding: boolean } {
  const { id, kind, name } = object;
  const { index, line } = item.position;
  const saved = saveObject(tx, { game, id, kind, name, body, hash, importId, line }, now);
  switch (saved.result) {
    case "saved":
      // What has become a secret must not stay in the index until the object is embedded again.
      if (saved.wasSearchable && object.attributes?.some(({ restricted }) => restricted === true)) {
        removeObject(tx, { game, objectId: id });
      }
      return { objectId: id, needsEmbedding: true };
    case "unchanged":
      return { objectId: id, needsEmbedding: false };
    case "repeated": {
      const reason = `has the same id ("${id}") as the object on line ${saved.firstLine}; that one was kept.`;
      return { failure: { index, line, name, pointer: "/id", reason } };
    }
  }
}

/** Deletes the bodies that nobody will read again. Also run at start: a crash may have come between the two. */
export async function removeSpentBlobs({ store }: Pick<IngestDeps, "store">): Promise<void> {
  for (const { id, blob } of listSpentBlobs(store.connection)) {
    await store.blobs.remove([blob]);
    await store.write((tx) => forgetBlob(tx, id));
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
