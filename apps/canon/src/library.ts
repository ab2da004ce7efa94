/**
 * The game master's own tables: imports, objects, and what could not be imported. They live in the file of the jobs, so that
 * an import's counters, its objects and the jobs that embed them commit together: progress only grows, effects happen once.
 * Every function here is one step of a transaction that its caller opened, or a read.
 */
import type { Connection } from "sluice/sqlite";

export type ImportPhase = "reading" | "indexing" | "done" | "failed" | "cancelled";

export interface ImportRow {
  readonly id: string;
  readonly game: string;
  /** The body, until it has been read. */
  readonly blob: string | null;
  readonly bytes: number;
  readonly read_bytes: number;
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
  readonly created_at: number;
  readonly finished_at: number | null;
}

export interface ObjectRow {
  readonly game: string;
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  /** The object as it was sent, JSON. */
  readonly body: string;
  /** Of the text that is embedded. */
  readonly hash: string;
  readonly import_id: string;
  readonly line: number;
  /** The import that counts this object when it becomes searchable. */
  readonly awaiting: string | null;
  readonly embedded_hash: string | null;
}

export interface ImportFailure {
  /** Position among the records of the body, from 0. */
  readonly index: number;
  readonly line: number;
  readonly name: string | null;
  readonly pointer: string;
  readonly reason: string;
}

/** Failures beyond this are counted, not listed: a body can be broken in as many places as it has bytes. */
export const maxListedFailures = 10_000;

export function migrateLibrary(db: Connection): void {
  db.exec(`
    create table if not exists canon_imports (
      id text primary key,
      game text not null,
      blob text,
      bytes integer not null,
      read_bytes integer not null default 0,
      phase text not null default 'reading',
      total integer not null default 0,
      succeeded integer not null default 0,
      failed integer not null default 0,
      skipped integer not null default 0,
      problem text,
      created_at integer not null,
      finished_at integer
    ) strict;

    create table if not exists canon_objects (
      game text not null,
      id text not null,
      kind text not null,
      name text not null,
      body text not null,
      hash text not null,
      import_id text not null,
      line integer not null,
      awaiting text,
      embedded_hash text,
      embedded_model text,
      embedded_at integer,
      updated_at integer not null,
      primary key (game, id)
    ) strict;

    create index if not exists canon_objects_awaiting
      on canon_objects (awaiting)
      where awaiting is not null;

    create table if not exists canon_import_failures (
      import_id text not null,
      "index" integer not null,
      line integer not null,
      name text,
      pointer text not null,
      reason text not null,
      primary key (import_id, "index")
    ) strict, without rowid;
  `);
}

// ── imports ─────────────────────────────────────────────────────────────────

export function addImport(
  db: Connection,
  row: { id: string; game: string; blob: string; bytes: number; now: number },
): void {
  db.prepare(
    `insert into canon_imports (id, game, blob, bytes, created_at)
     values (?, ?, ?, ?, ?)`,
  ).run(row.id, row.game, row.blob, row.bytes, row.now);
}

export function findImport(db: Connection, game: string, id: string): ImportRow | undefined {
  // primary key
  return db.prepare(`select * from canon_imports where id = ? and game = ?`).get(id, game) as ImportRow | undefined;
}

export function listImports(db: Connection, game: string): readonly ImportRow[] {
  // a full scan: a game has few imports
  return db
    .prepare(`select * from canon_imports where game = ? order by created_at desc limit 100`)
    .all(game) as unknown as ImportRow[];
}

export function listFailures(
  db: Connection,
  importId: string,
  page: { after: number; limit: number },
): readonly ImportFailure[] {
  // primary key
  return db
    .prepare(
      `select "index", line, name, pointer, reason
       from canon_import_failures
       where import_id = ? and "index" > ?
       order by "index"
       limit ?`,
    )
    .all(importId, page.after, page.limit) as unknown as ImportFailure[];
}

export interface ImportProgress {
  readonly readBytes: number;
  readonly total: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Adds what one batch met. Counters only grow. */
export function advanceImport(
  db: Connection,
  importId: string,
  { readBytes, total, failed, skipped }: ImportProgress,
): void {
  db.prepare(
    `update canon_imports
     set read_bytes = max(read_bytes, ?), total = total + ?, failed = failed + ?, skipped = skipped + ?
     where id = ?`,
  ).run(readBytes, total, failed, skipped, importId);
}

/** The whole body has been read: `total` is final. */
export function finishReading(db: Connection, importId: string, now: number): void {
  db.prepare(
    `update canon_imports
     set phase = 'indexing', read_bytes = bytes
     where id = ? and phase = 'reading'`,
  ).run(importId);
  finishIfDone(db, importId, now);
}

/** A reading that had been given up goes on: somebody retried its job. */
export function resumeReading(db: Connection, importId: string): void {
  db.prepare(
    `update canon_imports
     set phase = 'reading', problem = null, finished_at = null
     where id = ? and phase = 'failed' and blob is not null`,
  ).run(importId);
}

/** Bodies of imports that have been read, or will never be: to be deleted, and then forgotten. */
export function listSpentBlobs(db: Connection): readonly { readonly id: string; readonly blob: string }[] {
  // a full scan: there are few imports
  return db
    .prepare(`select id, blob from canon_imports where blob is not null and phase in ('indexing', 'done', 'cancelled')`)
    .all() as { id: string; blob: string }[];
}

export function forgetBlob(db: Connection, importId: string): void {
  db.prepare(`update canon_imports set blob = null where id = ?`).run(importId);
}

/** Nothing more will come of it. `problem` is a plain sentence for the game master. */
export function endImport(
  db: Connection,
  importId: string,
  { phase, problem, now }: { phase: "failed" | "cancelled"; problem: string; now: number },
): void {
  db.prepare(
    `update canon_imports
     set phase = ?, problem = ?, finished_at = ?
     where id = ? and phase in ('reading', 'indexing')`,
  ).run(phase, problem, now, importId);
}

function finishIfDone(db: Connection, importId: string, now: number): void {
  db.prepare(
    `update canon_imports
     set phase = 'done', finished_at = ?
     where id = ? and phase = 'indexing' and succeeded + failed + skipped >= total`,
  ).run(now, importId);
}

export function addFailure(db: Connection, importId: string, failure: ImportFailure): void {
  db.prepare(
    `insert into canon_import_failures (import_id, "index", line, name, pointer, reason)
     values (?, ?, ?, ?, ?, ?)
     on conflict do nothing`,
  ).run(importId, failure.index, failure.line, failure.name, failure.pointer, failure.reason);
}

// ── objects ─────────────────────────────────────────────────────────────────

export interface IncomingObject {
  readonly game: string;
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  readonly body: string;
  readonly hash: string;
  readonly importId: string;
  readonly line: number;
}

export type SaveResult =
  /** New or changed: to be embedded. */
  | { readonly result: "saved"; readonly wasSearchable: boolean }
  /** Its text is searchable already. */
  | { readonly result: "unchanged" }
  /** This import has brought an object of this id before. */
  | { readonly result: "repeated"; readonly firstLine: number };

/** Saves one object of an import. An older import that still waits for the object counts it as skipped: it is ours now. */
export function saveObject(db: Connection, object: IncomingObject, now: number): SaveResult {
  const known = findObject(db, object.game, object.id);
  if (known?.import_id === object.importId) return { result: "repeated", firstLine: known.line };

  const isSearchable = known !== undefined && known.embedded_hash === object.hash;
  if (known?.awaiting) {
    db.prepare(`update canon_imports set skipped = skipped + 1 where id = ?`).run(known.awaiting);
    finishIfDone(db, known.awaiting, now);
  }
  // primary key
  db.prepare(
    `insert into canon_objects (game, id, kind, name, body, hash, import_id, line, awaiting, updated_at)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     on conflict (game, id) do update
     set kind = excluded.kind, name = excluded.name, body = excluded.body, hash = excluded.hash,
       import_id = excluded.import_id, line = excluded.line, awaiting = excluded.awaiting, updated_at = excluded.updated_at`,
  ).run(
    object.game,
    object.id,
    object.kind,
    object.name,
    object.body,
    object.hash,
    object.importId,
    object.line,
    isSearchable ? null : object.importId,
    now,
  );
  return isSearchable ? { result: "unchanged" } : { result: "saved", wasSearchable: known?.embedded_hash != null };
}

export function findObject(db: Connection, game: string, id: string): ObjectRow | undefined {
  // primary key
  return db.prepare(`select * from canon_objects where game = ? and id = ?`).get(game, id) as ObjectRow | undefined;
}

/** The object is searchable with this text. The import that waited for it counts it, once. */
export function markEmbedded(
  db: Connection,
  object: { game: string; id: string; hash: string; model: string; now: number },
): void {
  const awaiting = findObject(db, object.game, object.id)?.awaiting;
  db.prepare(
    `update canon_objects
     set embedded_hash = ?, embedded_model = ?, embedded_at = ?, awaiting = null
     where game = ? and id = ?`,
  ).run(object.hash, object.model, object.now, object.game, object.id);
  if (!awaiting) return;
  db.prepare(`update canon_imports set succeeded = succeeded + 1 where id = ?`).run(awaiting);
  finishIfDone(db, awaiting, object.now);
}

/**
 * Embedding was given up. If the import that asked for it still waits for the object, it lists it among its failures, once;
 * a later import that has taken the object over has a job of its own.
 */
export function markEmbedFailed(
  db: Connection,
  object: { game: string; id: string; importId: string; reason: string; now: number },
): void {
  const row = findObject(db, object.game, object.id);
  if (!row?.awaiting || row.awaiting !== object.importId) return;
  db.prepare(`update canon_objects set awaiting = null where game = ? and id = ?`).run(object.game, object.id);
  db.prepare(`update canon_imports set failed = failed + 1 where id = ?`).run(row.awaiting);
  // Records are numbered from 0; what failed after reading is numbered from the end of the integers, out of their way.
  const { n } = db.prepare(`select count(*) as n from canon_import_failures where import_id = ?`).get(row.awaiting) as {
    n: number;
  };
  addFailure(db, row.awaiting, {
    index: 2 ** 40 + n,
    line: row.line,
    name: row.name,
    pointer: "",
    reason: object.reason,
  });
  finishIfDone(db, row.awaiting, object.now);
}
