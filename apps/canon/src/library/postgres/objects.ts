/**
 * Objects in PostgreSQL, and their way into the index. Locks are taken in one order everywhere, so that nobody waits in a circle:
 * objects by id, the game, imports.
 */
import { planBatch, type BatchPlan, type KnownObject, type SavedBatch } from "../batch.js";
import {
  firstLateFailure,
  type Batch,
  type GivenUpObject,
  type ObjectRecord,
  type SearchableObject,
} from "../library.js";
import { storable } from "../storable.js";
import { rowsOf, type PostgresTx } from "./connection.js";
import { addFailures, count, countListedFailures } from "./imports.js";
import { deleteChunks, insertChunks } from "./index-rows.js";

export async function saveBatch(tx: PostgresTx, batch: Batch): Promise<SavedBatch> {
  const { game, importId, now, readBytes } = batch;
  // Batches of a game take turns: what one knows of an object must be what the one before it has made of it, new ones included.
  await tx.query("select pg_advisory_xact_lock(hashtext('canon.objects'), hashtext($1))", [game]);
  const ids = batch.records.flatMap((record) => (record.kind === "object" ? [record.object.id] : []));
  const plan = planBatch(batch, await rowsOf<KnownObject>(tx, selectKnown, [game, ids]));

  await saveObjects(tx, plan, { game, importId, now });
  await hideObjects(tx, game, plan.hidden);
  await addFailures(tx, importId, plan.failures);
  const older = [...plan.takenOver].map(([id, skipped]) => ({ id, skipped }));
  await count(tx, [{ id: importId, readBytes, ...plan.counts }, ...older], now);
  return plan.answer;
}

async function saveObjects(
  tx: PostgresTx,
  { objects }: BatchPlan,
  { game, importId, now }: { game: string; importId: string; now: number },
): Promise<void> {
  if (objects.length === 0) return;
  await tx.query(upsertObjects, [game, importId, now, JSON.stringify(objects)]);
}

/** Not searchable any more, whatever text they had. */
async function hideObjects(tx: PostgresTx, game: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await deleteChunks(tx, game, ids);
  await tx.query(updateToHidden, [game, ids]);
}

export async function findObject(db: PostgresTx, game: string, id: string): Promise<ObjectRecord | undefined> {
  const [found] = await rowsOf<ObjectRecord>(db, selectObject, [game, storable(id)]);
  return found;
}

export async function makeSearchable(tx: PostgresTx, object: SearchableObject): Promise<"searchable" | "outdated"> {
  const { game, id, hash, model, now } = object;
  const [row] = await rowsOf<{ hash: string; awaiting: string | null }>(tx, lockObject, [game, id]);
  if (row?.hash !== hash) return "outdated";

  await deleteChunks(tx, game, [id]);
  await insertChunks(tx, object);
  await tx.query(updateToSearchable, [game, id, hash, model, now]);
  if (row.awaiting !== null) await count(tx, [{ id: row.awaiting, succeeded: 1 }], now);
  return "searchable";
}

export async function giveUpEmbedding(
  tx: PostgresTx,
  { game, id, importId, reason, now }: GivenUpObject,
): Promise<void> {
  const [row] = await rowsOf<{ line: number; name: string }>(tx, updateToGivenUp, [game, id, importId]);
  if (row === undefined) return;
  // Counted first: whoever gives up another object of this import waits here, and then sees this failure among those listed.
  await count(tx, [{ id: importId, failed: 1 }], now);
  const index = firstLateFailure + (await countListedFailures(tx, importId));
  await addFailures(tx, importId, [{ index, line: row.line, name: row.name, pointer: "", reason }]);
}

// Primary key. In the order of ids, like everybody.
const selectKnown = `
  select id, import_id as "importId", line, awaiting, embedded_hash as "embeddedHash"
  from canon.objects
  where game = $1
    and id = any($2::text[])
  order by id
  for update`;

// Primary key.
const upsertObjects = `
  insert into canon.objects (game, id, kind, name, body, hash, import_id, line, awaiting, updated_at)
  select $1, object.id, object.kind, object.name, object.body, object.hash, $2, object.line, object.awaiting, $3
  from json_to_recordset($4::json)
    as object (id text, kind text, name text, body text, hash text, line integer, awaiting text)
  on conflict (game, id) do update
  set kind = excluded.kind, name = excluded.name, body = excluded.body, hash = excluded.hash,
    import_id = excluded.import_id, line = excluded.line, awaiting = excluded.awaiting, updated_at = excluded.updated_at`;

// Primary key.
const selectObject = `
  select game, id, kind, name, body, hash, import_id as "importId", line, awaiting, embedded_hash as "embeddedHash"
  from canon.objects
  where game = $1
    and id = $2`;

// Primary key.
const lockObject = `
  select hash, awaiting
  from canon.objects
  where game = $1
    and id = $2
  for update`;

// Primary key.
const updateToGivenUp = `
  update canon.objects
  set awaiting = null
  where game = $1
    and id = $2
    and awaiting = $3
  returning line, name`;

/** The next number of the game: see canon.games in migrations.ts. */
const nextVersion = `
  insert into canon.games as game (game, index_version)
  values ($1, 1)
  on conflict (game) do update
  set index_version = game.index_version + 1
  returning index_version`;

// Primary keys.
const updateToHidden = `
  with version as (${nextVersion})
  update canon.objects as object
  set index_version = version.index_version, embedded_hash = null, embedded_model = null, embedded_at = null
  from version
  where object.game = $1
    and object.id = any($2::text[])`;

// Primary keys.
const updateToSearchable = `
  with version as (${nextVersion})
  update canon.objects as object
  set index_version = version.index_version, embedded_hash = $3, embedded_model = $4, embedded_at = $5, awaiting = null
  from version
  where object.game = $1
    and object.id = $2`;
