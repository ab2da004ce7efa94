/**
 * Imports and what could not be imported, in PostgreSQL.
 */
import type { ImportEnd, ImportFailure, ImportRecord, NewImport } from "../library.js";
import { storable } from "../storable.js";
import { rowsOf, type PostgresTx } from "./connection.js";

export async function addImport(tx: PostgresTx, row: NewImport): Promise<void> {
  await tx.query(insertImport, [row.id, row.game, row.blob, row.bytes, row.now]);
}

export async function findImport(db: PostgresTx, game: string, id: string): Promise<ImportRecord | undefined> {
  const [found] = await rowsOf<ImportRecord>(db, selectImport, [game, storable(id)]);
  return found;
}

export function listImports(db: PostgresTx, game: string): Promise<readonly ImportRecord[]> {
  return rowsOf<ImportRecord>(db, selectImports, [game]);
}

export function listFailures(
  db: PostgresTx,
  importId: string,
  { after, limit }: { after: number; limit: number },
): Promise<readonly ImportFailure[]> {
  return rowsOf<ImportFailure>(db, selectFailures, [importId, after, limit]);
}

/** What an import counts besides what it has counted so far. */
export interface Counted {
  readonly id: string;
  readonly readBytes?: number;
  readonly total?: number;
  readonly succeeded?: number;
  readonly failed?: number;
  readonly skipped?: number;
}

/**
 * Counters only grow; an import that has counted everything is done. The last thing in a transaction: whoever counts for the same
 * import waits until this one commits.
 */
export async function count(tx: PostgresTx, counted: readonly Counted[], now: number): Promise<void> {
  const whole = counted.map((each) => ({ readBytes: 0, total: 0, succeeded: 0, failed: 0, skipped: 0, ...each }));
  await tx.query(updateCounters, [JSON.stringify(whole), now]);
}

export async function finishReading(tx: PostgresTx, importId: string, now: number): Promise<void> {
  await tx.query(updateToRead, [importId, now]);
}

export async function resumeReading(tx: PostgresTx, importId: string): Promise<void> {
  await tx.query(updateToReading, [importId]);
}

export async function endImport(tx: PostgresTx, importId: string, { phase, problem, now }: ImportEnd): Promise<void> {
  await tx.query(updateToEnded, [importId, phase, storable(problem), now]);
}

export function listSpentBlobs(db: PostgresTx): Promise<readonly { readonly id: string; readonly blob: string }[]> {
  return rowsOf(db, selectSpentBlobs, []);
}

export async function forgetBlob(tx: PostgresTx, importId: string): Promise<void> {
  await tx.query(dropBlob, [importId]);
}

/** Records that are listed already stay as they are. */
export async function addFailures(tx: PostgresTx, importId: string, failures: readonly ImportFailure[]): Promise<void> {
  if (failures.length === 0) return;
  const rows = failures.map(({ index, line, name, pointer, reason }) => ({
    index,
    line,
    name: name === null ? null : storable(name),
    pointer: storable(pointer),
    reason: storable(reason),
  }));
  await tx.query(insertFailures, [importId, JSON.stringify(rows)]);
}

/** Primary key. */
export async function countListedFailures(tx: PostgresTx, importId: string): Promise<number> {
  const [row] = await rowsOf<{ n: number }>(tx, selectFailureCount, [importId]);
  return row?.n ?? 0;
}

// No driver agrees with the next one about bigint: these numbers fit a double.
const importColumns = `
  id, game, blob, bytes::float8 as bytes, read_bytes::float8 as "readBytes", phase, total, succeeded, failed, skipped, problem,
  created_at::float8 as "createdAt", finished_at::float8 as "finishedAt"`;

const insertImport = `
  insert into canon.imports (id, game, blob, bytes, created_at)
  values ($1, $2, $3, $4, $5)`;

// Primary key.
const selectImport = `
  select ${importColumns}
  from canon.imports
  where id = $2
    and game = $1`;

// imports_by_game.
const selectImports = `
  select ${importColumns}
  from canon.imports
  where game = $1
  order by created_at desc
  limit 100`;

// Primary key.
const selectFailures = `
  select index::float8 as index, line, name, pointer, reason
  from canon.import_failures
  where import_id = $1
    and index > $2
  order by import_failures.index
  limit $3`;

// Primary key.
const selectFailureCount = `
  select count(*)::integer as n
  from canon.import_failures
  where import_id = $1`;

const insertFailures = `
  insert into canon.import_failures (import_id, index, line, name, pointer, reason)
  select $1, failure.index, failure.line, failure.name, failure.pointer, failure.reason
  from json_to_recordset($2::json)
    as failure (index bigint, line integer, name text, pointer text, reason text)
  on conflict do nothing`;

const isDoneWithMore = `
  import.phase = 'indexing'
    and import.succeeded + more.succeeded + import.failed + more.failed + import.skipped + more.skipped
      >= import.total + more.total`;

// Primary key.
const updateCounters = `
  update canon.imports as import
  set read_bytes = greatest(import.read_bytes, more."readBytes"),
    total = import.total + more.total,
    succeeded = import.succeeded + more.succeeded,
    failed = import.failed + more.failed,
    skipped = import.skipped + more.skipped,
    phase = case when ${isDoneWithMore} then 'done' else import.phase end,
    finished_at = case when ${isDoneWithMore} then $2::bigint else import.finished_at end
  from json_to_recordset($1::json)
    as more (id text, "readBytes" bigint, total integer, succeeded integer, failed integer, skipped integer)
  where import.id = more.id`;

// Primary key.
const updateToRead = `
  update canon.imports
  set phase = case when succeeded + failed + skipped >= total then 'done' else 'indexing' end,
    finished_at = case when succeeded + failed + skipped >= total then $2::bigint end,
    read_bytes = bytes
  where id = $1
    and phase = 'reading'`;

// Primary key.
const updateToReading = `
  update canon.imports
  set phase = 'reading', problem = null, finished_at = null
  where id = $1
    and phase = 'failed'
    and blob is not null`;

// Primary key.
const updateToEnded = `
  update canon.imports
  set phase = $2, problem = $3, finished_at = $4
  where id = $1
    and phase in ('reading', 'indexing')`;

// imports_with_blob.
const selectSpentBlobs = `
  select id, blob
  from canon.imports
  where blob is not null
    and phase in ('indexing', 'done', 'cancelled')`;

// Primary key.
const dropBlob = `
  update canon.imports
  set blob = null
  where id = $1`;
