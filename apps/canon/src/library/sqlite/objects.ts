/**
 * Objects in SQLite, and their way into the index. Every function is one step of a transaction that its caller opened, or a read.
 */
import type { Connection } from "sluice/sqlite";
import { planBatch, type PlannedObject, type SavedBatch } from "../batch.js";
import {
  firstLateFailure,
  type Batch,
  type GivenUpObject,
  type ObjectRecord,
  type SearchableObject,
} from "../library.js";
import { storable } from "../storable.js";
import { addFailure, count, countListedFailures } from "./imports.js";
import { removeObject, replaceChunks } from "./index-tables.js";

export function saveBatch(db: Connection, batch: Batch): SavedBatch {
  const { game, importId, now, readBytes } = batch;
  const known = batch.records.flatMap((record) =>
    record.kind === "object" ? (findObject(db, game, record.object.id) ?? []) : [],
  );
  const plan = planBatch(batch, known);
  for (const object of plan.objects) saveObject(db, object, { game, importId, now });
  for (const id of plan.hidden) hideObject(db, { game, id });
  for (const failure of plan.failures) addFailure(db, importId, failure);
  for (const [olderId, skipped] of plan.takenOver) count(db, olderId, { skipped }, now);
  count(db, importId, { readBytes, ...plan.counts }, now);
  return plan.answer;
}

function saveObject(
  db: Connection,
  object: PlannedObject,
  { game, importId, now }: { game: string; importId: string; now: number },
): void {
  // Primary key.
  db.prepare(
    `insert into canon_objects (game, id, kind, name, body, hash, import_id, line, awaiting, updated_at)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     on conflict (game, id) do update
     set kind = excluded.kind, name = excluded.name, body = excluded.body, hash = excluded.hash,
       import_id = excluded.import_id, line = excluded.line, awaiting = excluded.awaiting, updated_at = excluded.updated_at`,
  ).run(
    game,
    object.id,
    object.kind,
    object.name,
    object.body,
    object.hash,
    importId,
    object.line,
    object.awaiting,
    now,
  );
}

/** Not searchable any more, whatever text it had. */
function hideObject(db: Connection, { game, id }: { game: string; id: string }): void {
  removeObject(db, { game, objectId: id });
  // Primary key.
  db.prepare(
    `update canon_objects
     set embedded_hash = null, embedded_model = null, embedded_at = null
     where game = ? and id = ?`,
  ).run(game, id);
}

export function findObject(db: Connection, game: string, id: string): ObjectRecord | undefined {
  // Primary key.
  return db
    .prepare(
      `select game, id, kind, name, body, hash, import_id as "importId", line, awaiting, embedded_hash as "embeddedHash"
       from canon_objects
       where game = ? and id = ?`,
    )
    .get(game, storable(id)) as ObjectRecord | undefined;
}

export function makeSearchable(db: Connection, object: SearchableObject): "searchable" | "outdated" {
  const { game, id, hash, model, now } = object;
  const row = findObject(db, game, id);
  if (row?.hash !== hash) return "outdated";

  replaceChunks(db, object);
  // Primary key.
  db.prepare(
    `update canon_objects
     set embedded_hash = ?, embedded_model = ?, embedded_at = ?, awaiting = null
     where game = ? and id = ?`,
  ).run(hash, model, now, game, id);
  if (row.awaiting !== null) count(db, row.awaiting, { succeeded: 1 }, now);
  return "searchable";
}

export function giveUpEmbedding(db: Connection, { game, id, importId, reason, now }: GivenUpObject): void {
  const row = findObject(db, game, id);
  if (row?.awaiting !== importId) return;
  // Primary key.
  db.prepare(
    `update canon_objects
     set awaiting = null
     where game = ? and id = ?`,
  ).run(game, id);
  const index = firstLateFailure + countListedFailures(db, importId);
  addFailure(db, importId, { index, line: row.line, name: row.name, pointer: "", reason });
  count(db, importId, { failed: 1 }, now);
}
