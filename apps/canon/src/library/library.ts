/**
 * The port of the application: everything it asks of the database that its tables share with the jobs, and nothing a database
 * should decide. Rules are beside it and pure (batch.ts, search/); a database is SQL and row mapping. Its contract is checked by
 * conformance/ on every database.
 *
 * - Writes take a transaction: a job's (`ctx.transaction`, `ctx.transactionStep`), so that what they write and what becomes of
 *   the job commit together, or one of the application's own (`write`). Each is the only one in its transaction.
 * - Reads take none. They see what is committed, the reader's own writes included.
 * - Counters of an import only grow, and each record is counted once.
 * - Text may come back with U+FFFD in place of NUL and of halves of surrogate pairs; the body of an object, which is JSON, never.
 */
import type { BatchRecord, SavedBatch } from "./batch.js";
import type { Eventual } from "./eventual.js";

export interface Library<Tx = unknown> {
  /** A transaction of the application's own. On a database with synchronous transactions `work` must not return a promise. */
  write<T>(work: (tx: Tx) => T): Promise<Awaited<T>>;

  // ── imports ───────────────────────────────────────────────────────────────

  addImport(tx: Tx, row: NewImport): Eventual<void>;
  /** Saves what a part of the body held, and counts it. See `planBatch` for what becomes of each record. */
  saveBatch(tx: Tx, batch: Batch): Eventual<SavedBatch>;
  /** The whole body has been read: `total` is final. */
  finishReading(tx: Tx, importId: string, now: number): Eventual<void>;
  /** A reading that had been given up goes on: somebody retried its job. */
  resumeReading(tx: Tx, importId: string): Eventual<void>;
  /** Nothing more will come of it. `problem` is a plain sentence for the game master. Of no effect on one that has ended. */
  endImport(tx: Tx, importId: string, end: ImportEnd): Eventual<void>;
  forgetBlob(tx: Tx, importId: string): Eventual<void>;

  findImport(game: string, id: string): Promise<ImportRecord | undefined>;
  /** Newest first, at most 100. */
  listImports(game: string): Promise<readonly ImportRecord[]>;
  /** By index. */
  listFailures(importId: string, page: { after: number; limit: number }): Promise<readonly ImportFailure[]>;
  /** Bodies of imports that have been read, or will never be: to be deleted, and then forgotten. */
  listSpentBlobs(): Promise<readonly { readonly id: string; readonly blob: string }[]>;

  // ── objects ───────────────────────────────────────────────────────────────

  findObject(game: string, id: string): Promise<ObjectRecord | undefined>;
  /**
   * Makes these chunks the object's only ones in the index, none takes it out. The import that waited for the object counts it.
   * `outdated`, and nothing changed, when the object is gone or its text is not the one of this `hash` any more.
   */
  makeSearchable(tx: Tx, object: SearchableObject): Eventual<"searchable" | "outdated">;
  /**
   * Embedding was given up. If this import still waits for the object, it lists it among its failures, once; a later import that
   * has taken the object over has a job of its own.
   */
  giveUpEmbedding(tx: Tx, object: GivenUpObject): Eventual<void>;

  // ── search ────────────────────────────────────────────────────────────────

  /** Objects with any of the words in the name or the text of a chunk, best first: by words in common, the name counts more. */
  rankByWords(query: WordsQuery): Promise<readonly RankedObject[]>;
  /** Objects with the nearest chunks, by cosine, exactly. Ties are ordered by id. */
  rankByVector(query: VectorQuery): Promise<readonly RankedObject[]>;
}

// ── imports ─────────────────────────────────────────────────────────────────

export type ImportPhase = "reading" | "indexing" | "done" | "failed" | "cancelled";

export interface NewImport {
  readonly id: string;
  readonly game: string;
  readonly blob: string;
  readonly bytes: number;
  readonly now: number;
}

export interface ImportRecord {
  readonly id: string;
  readonly game: string;
  /** The body, until it has been read. */
  readonly blob: string | null;
  readonly bytes: number;
  readonly readBytes: number;
  readonly phase: ImportPhase;
  /** Records met so far; final once the phase is no longer reading. */
  readonly total: number;
  /** Searchable. */
  readonly succeeded: number;
  readonly failed: number;
  /** Already searchable with the same text, or taken over by a later import. */
  readonly skipped: number;
  /** Why nothing could be read. */
  readonly problem: string | null;
  readonly createdAt: number;
  readonly finishedAt: number | null;
}

export interface ImportFailure {
  /** Position among the records of the body, from 0. */
  readonly index: number;
  readonly line: number;
  readonly name: string | null;
  readonly pointer: string;
  readonly reason: string;
}

/**
 * Records are numbered from 0; what failed after reading is numbered from here, out of their way: the first one of an import has
 * this index, the next one more.
 */
export const firstLateFailure = 2 ** 40;

export interface ImportEnd {
  readonly phase: "failed" | "cancelled";
  readonly problem: string;
  readonly now: number;
}

export interface Batch {
  readonly game: string;
  readonly importId: string;
  /** In the order of the body. */
  readonly records: readonly BatchRecord[];
  /** How far the body has been read with it. */
  readonly readBytes: number;
  /** How many records before it failed. */
  readonly failedBefore: number;
  readonly now: number;
}

// ── objects ─────────────────────────────────────────────────────────────────

export interface ObjectRecord {
  readonly game: string;
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  /** The object as it was sent, JSON. */
  readonly body: string;
  /** Of the text that is embedded. */
  readonly hash: string;
  readonly importId: string;
  readonly line: number;
  /** The import that counts this object when it becomes searchable. */
  readonly awaiting: string | null;
  readonly embeddedHash: string | null;
}

export interface IndexedChunk {
  /** The text as embedded, name in front. */
  readonly text: string;
  /** Unit length, `embeddingModel.dimensions` numbers. */
  readonly vector: Float32Array;
  /** True when the text holds something players may not see. Default false. */
  readonly isRestricted?: boolean;
}

export interface SearchableObject {
  readonly game: string;
  readonly id: string;
  readonly name: string;
  readonly hash: string;
  readonly chunks: readonly IndexedChunk[];
  /** What made the vectors, see `embeddingModelId`. */
  readonly model: string;
  readonly now: number;
}

export interface GivenUpObject {
  readonly game: string;
  readonly id: string;
  readonly importId: string;
  readonly reason: string;
  readonly now: number;
}

// ── search ──────────────────────────────────────────────────────────────────

/** Who asks: the game master sees everything, a player nothing restricted. */
export type Audience = "gm" | "player";

export interface WordsQuery {
  readonly game: string;
  /** Lower case, of letters, digits and marks only; see search/words.ts. */
  readonly words: readonly string[];
  readonly as: Audience;
  /** At most so many objects. */
  readonly depth: number;
}

export interface VectorQuery {
  readonly game: string;
  /** Unit length. */
  readonly vector: Float32Array;
  /** Vectors of another model are not compared. */
  readonly model: string;
  readonly as: Audience;
  /** At most so many objects. */
  readonly depth: number;
}

/** An object and its best chunk that the asker may see. */
export interface RankedObject {
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  /** The name when the chunk was made. */
  readonly indexedName: string;
  readonly text: string;
}
