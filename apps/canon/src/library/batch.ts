/**
 * Decides what becomes of the records of a batch: new, unchanged, repeated, taken over from another import. Pure: a database
 * finds the objects that are known, and writes what is decided here.
 */
import type { Batch, ImportFailure } from "./library.js";

export type BatchRecord =
  | { readonly kind: "object"; readonly object: IncomingObject }
  | { readonly kind: "refused"; readonly failure: ImportFailure };

export interface IncomingObject {
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  /** As it was sent, JSON. */
  readonly body: string;
  /** Of the text that is embedded. */
  readonly hash: string;
  /** Has attributes that players may not see. */
  readonly hasRestricted: boolean;
  /** Where in the body. */
  readonly index: number;
  readonly line: number;
}

export interface SavedBatch {
  /** Ids of objects that are new, or whose text has changed. */
  readonly toEmbed: readonly string[];
  readonly failed: number;
}

/** What the library has under an id that occurs in the batch. */
export interface KnownObject {
  readonly id: string;
  readonly importId: string;
  readonly line: number;
  readonly awaiting: string | null;
  readonly embeddedHash: string | null;
}

export interface BatchPlan {
  /** To be written. Every id once. */
  readonly objects: readonly PlannedObject[];
  /** Ids to take out of the index. */
  readonly hidden: readonly string[];
  /** To be listed. */
  readonly failures: readonly ImportFailure[];
  /** How many objects were taken over from other imports, which count them as skipped. */
  readonly takenOver: ReadonlyMap<string, number>;
  /** For the import of the batch to count. */
  readonly counts: { readonly total: number; readonly failed: number; readonly skipped: number };
  readonly answer: SavedBatch;
}

export interface PlannedObject extends IncomingObject {
  readonly awaiting: string | null;
}

/** Failures beyond this are counted, not listed: a body can be broken in as many places as it has bytes. */
const maxListedFailures = 10_000;

export function planBatch(
  { importId, records, failedBefore }: Pick<Batch, "importId" | "records" | "failedBefore">,
  known: Iterable<KnownObject>,
): BatchPlan {
  const present = new Map([...known].map((object) => [object.id, object]));
  const objects: PlannedObject[] = [];
  const hidden: string[] = [];
  const failures: ImportFailure[] = [];
  const takenOver = new Map<string, number>();
  const toEmbed: string[] = [];
  let skipped = 0;

  for (const record of records) {
    if (record.kind === "refused") {
      failures.push(record.failure);
      continue;
    }
    const { object } = record;
    const { id } = object;
    const before = present.get(id);
    if (before?.importId === importId) {
      failures.push(repeated(object, before));
      continue;
    }
    // An older import that still waits for the object is done with it: it is ours now.
    if (before?.awaiting) takenOver.set(before.awaiting, (takenOver.get(before.awaiting) ?? 0) + 1);

    const isSearchable = before !== undefined && before.embeddedHash === object.hash;
    const awaiting = isSearchable ? null : importId;
    objects.push({ ...object, awaiting });
    present.set(id, { id, importId, line: object.line, awaiting, embeddedHash: before?.embeddedHash ?? null });
    if (isSearchable) {
      skipped++;
      continue;
    }
    toEmbed.push(id);
    // What has become a secret must not stay in the index until the object is embedded again.
    if (object.hasRestricted && before !== undefined && before.embeddedHash !== null) hidden.push(id);
  }

  const failed = failures.length;
  return {
    objects,
    hidden,
    failures: failures.slice(0, Math.max(0, maxListedFailures - failedBefore)),
    takenOver,
    counts: { total: records.length, failed, skipped },
    answer: { toEmbed, failed },
  };
}

function repeated({ id, index, line, name }: IncomingObject, first: KnownObject): ImportFailure {
  const reason = `has the same id ("${id}") as the object on line ${first.line}; that one was kept.`;
  return { index, line, name, pointer: "/id", reason };
}
