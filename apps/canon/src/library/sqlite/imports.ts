/**
 * Imports and what could not be imported, in SQLite. Every function is one step of a transaction that its caller opened, or a
 * read.
 */
import type { Connection } from "sluice/sqlite";
import type { ImportEnd, ImportFailure, ImportRecord, NewImport } from "../library.js";
import { storable } from "../storable.js";

export function addImport(db: Connection, row: NewImport): void {
  db.prepare(
    `insert into canon_imports (id, game, blob, bytes, created_at)
     values (?, ?, ?, ?, ?)`,
  ).run(row.id, row.game, row.blob, row.bytes, row.now);
}

export function findImport(db: Connection, game: string, id: string): ImportRecord | undefined {
  // Primary key.
  return db
    .prepare(
      `select ${importColumns}
       from canon_imports
       where id = ? and game = ?`,
    )
    .get(storable(id), game) as ImportRecord | undefined;
}

export function listImports(db: Connection, game: string): readonly ImportRecord[] {
  // A full scan: there are few imports.
  return db
    .prepare(
      `select ${importColumns}
       from canon_imports
       where game = ?
       order by created_at desc
       limit 100`,
    )
    .all(game) as ImportRecord[];
}

export function listFailures(
  db: Connection,
  importId: string,
  page: { after: number; limit: number },
): readonly ImportFailure[] {
  // Primary key.
  return db
    .prepare(
      `select "index", line, name, pointer, reason
       from canon_import_failures
       where import_id = ? and "index" > ?
       order by "index"
       limit ?`,
    )
    .all(importId, page.after, page.limit) as ImportFailure[];
}

/** What an import counts besides what it has counted so far. */
export interface Counted {
  readonly readBytes?: number;
  readonly total?: number;
  readonly succeeded?: number;
  readonly failed?: number;
  readonly skipped?: number;
}

/** Counters only grow; an import that has counted everything is done. */
export function count(db: Connection, importId: string, counted: Counted, now: number): void {
  const { readBytes = 0, total = 0, succeeded = 0, failed = 0, skipped = 0 } = counted;
  // Primary key.
  db.prepare(
    `update canon_imports
     set read_bytes = max(read_bytes, ?), total = total + ?,
       succeeded = succeeded + ?, failed = failed + ?, skipped = skipped + ?
     where id = ?`,
  ).run(readBytes, total, succeeded, failed, skipped, importId);
  finishIfDone(db, importId, now);
}

export function finishReading(db: Connection, importId: string, now: number): void {
  // Primary key.
  db.prepare(
    `update canon_imports
     set phase = 'indexing', read_bytes = bytes
     where id = ? and phase = 'reading'`,
  ).run(importId);
  finishIfDone(db, importId, now);
}

function finishIfDone(db: Connection, importId: string, now: number): void {
  // Primary key.
  db.prepare(
    `update canon_imports
     set phase = 'done', finished_at = ?
     where id = ? and phase = 'indexing' and succeeded + failed + skipped >= total`,
  ).run(now, importId);
}

export function resumeReading(db: Connection, importId: string): void {
  // Primary key.
  db.prepare(
    `update canon_imports
     set phase = 'reading', problem = null, finished_at = null
     where id = ? and phase = 'failed' and blob is not null`,
  ).run(importId);
}

export function endImport(db: Connection, importId: string, { phase, problem, now }: ImportEnd): void {
  // Primary key.
  db.prepare(
    `update canon_imports
     set phase = ?, problem = ?, finished_at = ?
     where id = ? and phase in ('reading', 'indexing')`,
  ).run(phase, storable(problem), now, importId);
}

export function listSpentBlobs(db: Connection): readonly { readonly id: string; readonly blob: string }[] {
  // A full scan: there are few imports.
  return db
    .prepare(
      `select id, blob
       from canon_imports
       where blob is not null and phase in ('indexing', 'done', 'cancelled')`,
    )
    .all() as { id: string; blob: string }[];
}

export function forgetBlob(db: Connection, importId: string): void {
  // Primary key.
  db.prepare(
    `update canon_imports
     set blob = null
     where id = ?`,
  ).run(importId);
}

/** A record that is listed already stays as it is. */
export function addFailure(
  db: Connection,
  importId: string,
  { index, line, name, pointer, reason }: ImportFailure,
): void {
  // Primary key.
  db.prepare(
    `insert into canon_import_failures (import_id, "index", line, name, pointer, reason)
     values (?, ?, ?, ?, ?, ?)
     on conflict do nothing`,
  ).run(importId, index, line, name === null ? null : storable(name), storable(pointer), storable(reason));
}

export function countListedFailures(db: Connection, importId: string): number {
  // Primary key.
  const { n } = db
    .prepare(
      `select count(*) as n
       from canon_import_failures
       where import_id = ?`,
    )
    .get(importId) as { n: number };
  return n;
}

const importColumns = `
  id, game, blob, bytes, read_bytes as "readBytes", phase, total, succeeded, failed, skipped, problem,
  created_at as "createdAt", finished_at as "finishedAt"`;
