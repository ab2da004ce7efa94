/**
 * Takes in the jobs of another store with all that belongs to them, written as they are by one statement for each table. A job that is there already is left alone; so is whoever holds a key that a new one wants.
 */
import { hasEnded } from "../../job.js";
import type { ImportOutcome, JobSnapshot } from "../../snapshot.js";
import type { Database } from "./database.js";
import { TryAgain } from "./database.js";
import type { Effects } from "./effects.js";
import { isId, jsonOrNull, storable } from "./rows.js";
import type { Sql } from "./sql.js";
import { unlessLocked } from "./upkeep.js";

/** In a transaction of its own. */
export async function importJobs(
  sql: Sql,
  snapshots: readonly JobSnapshot[],
  effects: Effects,
): Promise<readonly ImportOutcome[]> {
  const fit = snapshots.filter(({ job }) => isId(job.id));
  const { now, known } = await lookFor(sql, fit);
  const fresh = fit.filter(({ job }) => !known.has(job.id)).sort((a, b) => (a.job.id < b.job.id ? -1 : 1));
  const keyless = await takeKeys(sql, fresh, now);
  const added = fresh.filter(({ job }) => !keyless.has(job.id));
  const living = added.filter(({ job }) => !isOver(job.state));
  const holders = await loseHolders(sql, living);
  await insert(sql, jobs, living.map((each) => heldBy(holders, each))); // prettier-ignore
  await insert(sql, history, added.filter(({ job }) => isOver(job.state))); // prettier-ignore
  await insert(sql, correlations, added.flatMap(pairsOf));
  await insert(sql, attempts, added.flatMap(each("attempts")));
  await insert(sql, steps, added.flatMap(each("steps")));
  await insert(sql, lines, added.flatMap(each("lines")));
  for (const { job, rank } of added) effects.moved({ job, rank });

  const imported = new Set(added.map(({ job }) => job.id));
  return snapshots.map(({ job }) => {
    if (imported.delete(job.id)) return "imported";
    if (keyless.has(job.id)) return "key_taken";
    return isId(job.id) ? "known" : "unfit";
  });
}

/** Days for ids that name one of ours, so that retention can let go of them whole. Before the transaction: it takes locks. */
export async function addDaysOf(database: Database, snapshots: readonly JobSnapshot[]): Promise<void> {
  const days = new Set(snapshots.flatMap(dayOf));
  for (const day of days) await unlessLocked(() => database.rows("select sluice.add_day($1::date)", [day]));
}

const dayMs = 24 * 60 * 60 * 1_000;

/** Of an id that was made when its job was. Others may name any day between 1970 and 10889. */
function dayOf({ job: { id, createdAt } }: JobSnapshot): readonly string[] {
  if (!isId(id) || id[14] !== "7") return [];
  const namedMs = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return Math.abs(namedMs - createdAt) > dayMs ? [] : [new Date(namedMs).toISOString().slice(0, 10)];
}

async function lookFor(
  sql: Sql,
  snapshots: readonly JobSnapshot[],
): Promise<{ readonly now: number; readonly known: ReadonlySet<string> }> {
  const ids = snapshots.map(({ job }) => job.id);
  const [row] = await sql.rows<{ now: number | string; known: string }>(selectKnown, [ids]);
  return { now: Number(row!.now), known: new Set(JSON.parse(row!.known) as string[]) };
}

/** In history; failed jobs are among the living. */
function isOver(state: JobSnapshot["job"]["state"]): boolean {
  return state === "completed" || state === "cancelled";
}

// ── keys ────────────────────────────────────────────────────────────────────

interface WantedKey {
  readonly name: string;
  readonly job: JobSnapshot["job"];
  readonly until: number | null;
}

/** @returns Jobs that must not be without their key, and cannot have it. */
async function takeKeys(sql: Sql, snapshots: readonly JobSnapshot[], now: number): Promise<ReadonlySet<string>> {
  const wanted = new Map(snapshots.flatMap(keyOf).map((key) => [key.name, key]));
  const taken = await sendKeys(sql, insertKeys, [...wanted.values()]);
  for (const name of taken) wanted.delete(name);
  if (wanted.size === 0) return new Set();

  const holders = await sql.rows<{ key: string; until: number | string | null }>(lockKeys, [[...wanted.keys()]]);
  const free = holders.filter(({ until }) => until !== null && Number(until) <= now).map(({ key }) => wanted.get(key)!);
  await sendKeys(sql, updateKeys, free);
  for (const { name } of free) wanted.delete(name);
  const left = [...wanted.values()].filter(({ job, until }) => !hasEnded(job.state) && (until ?? Infinity) > now);
  return new Set(left.map(({ job }) => job.id));
}

async function sendKeys(sql: Sql, statement: string, keys: readonly WantedKey[]): Promise<readonly string[]> {
  if (keys.length === 0) return [];
  const columns = [keys.map(({ name }) => name), keys.map(({ job }) => job.id), keys.map(({ until }) => until)];
  return (await sql.rows<{ key: string }>(statement, columns)).map(({ key }) => key);
}

function keyOf({ job, key }: JobSnapshot): readonly WantedKey[] {
  if (key === null || key.place === "gave_back") return [];
  const name = storable(key.key);
  // Keys begin with a job type, and no type has a ">" in its name: this is never a key of its own.
  if (key.place === "waits") return [{ name: `>${name}`, job, until: null }];
  const until = key.holdWhile === "period" ? Math.ceil(job.createdAt + (key.periodMs ?? 0)) : null;
  return [{ name, job, until }];
}

// ── workers ─────────────────────────────────────────────────────────────────

/**
 * Whoever held a job elsewhere counts as lost here, so that the next round of upkeep decides about its jobs.
 * @returns Other names, for those that are those of somebody alive.
 */
async function loseHolders(sql: Sql, snapshots: readonly JobSnapshot[]): Promise<ReadonlyMap<string, string>> {
  const held = snapshots.filter(({ job }) => job.state === "processing");
  const ids = [...new Set(held.map(({ job }) => storable(job.workerId ?? "")))];
  if (ids.length === 0) return new Map();
  const alive = await sql.rows<{ id: string }>(insertLost, [ids]);
  const renamed = new Map(alive.map(({ id }) => [id, `${id} elsewhere`]));
  if (renamed.size > 0) await sql.rows(insertLost, [[...renamed.values()]]);
  return renamed;
}

function heldBy(renamed: ReadonlyMap<string, string>, snapshot: JobSnapshot): JobSnapshot {
  const { job } = snapshot;
  if (job.state !== "processing") return snapshot;
  const workerId = storable(job.workerId ?? "");
  return { ...snapshot, job: { ...job, workerId: renamed.get(workerId) ?? workerId } };
}

// ── tables ──────────────────────────────────────────────────────────────────

interface Column<Row> {
  readonly name: string;
  readonly type: string;
  readonly of: (row: Row) => unknown;
}

interface Table<Row> {
  readonly columns: readonly Column<Row>[];
  readonly insert: string;
  /** Every row must be new. */
  readonly isCounted: boolean;
}

async function insert<Row>(sql: Sql, table: Table<Row>, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  const [answer] = await sql.rows<{ added: number }>(table.insert, table.columns.map((column) => rows.map(column.of))); // prettier-ignore
  // Somebody else has added one of these jobs after we looked.
  if (table.isCounted && answer!.added < rows.length) throw new TryAgain();
}

/** A row for each of these, with the id of its job. */
function each<Of extends "attempts" | "steps" | "lines">(of: Of) {
  return ({ job, [of]: rows }: JobSnapshot) =>
    (rows as readonly JobSnapshot[Of][number][]).map((row) => ({ ...row, job: job.id }));
}

function pairsOf({ job }: JobSnapshot): readonly { id: string; name: string; value: string }[] {
  return Object.entries(storableCorrelation(job.correlation) ?? {}).map(([name, value]) => ({
    id: job.id,
    name,
    value,
  }));
}

/** The server looks into it, and refuses to do so where it says NUL. */
function storableCorrelation(correlation: JobSnapshot["job"]["correlation"]) {
  if (correlation === null) return null;
  return Object.fromEntries(Object.entries(correlation).map(([name, value]) => [storable(name), storable(value)]));
}

const sharedColumns: readonly Column<JobSnapshot>[] = [
  { name: "id", type: "uuid", of: ({ job }) => job.id },
  { name: "type", type: "text", of: ({ job }) => storable(job.type) },
  { name: "state", type: "sluice.job_state", of: ({ job }) => job.state },
  { name: "version", type: "int", of: ({ job }) => job.version },
  { name: "priority", type: "int", of: ({ job }) => job.priority },
  { name: "epoch", type: "int", of: ({ job }) => job.epoch },
  { name: "attempt", type: "int", of: ({ job }) => job.attempt },
  { name: "max_attempts", type: "int", of: ({ job }) => job.maxAttempts },
  { name: "crashes", type: "int", of: ({ job }) => job.crashes },
  { name: "run_at", type: "bigint", of: ({ job }) => job.runAt },
  { name: "created_at", type: "bigint", of: ({ job }) => job.createdAt },
  { name: "started_at", type: "bigint", of: ({ job }) => job.startedAt },
  { name: "finished_at", type: "bigint", of: ({ job }) => job.finishedAt },
  { name: "worker_id", type: "text", of: ({ job }) => storable(job.workerId) },
  { name: "unique_key", type: "text", of: ({ key }) => storable(key?.key ?? null) },
  { name: "unique_while", type: "text", of: ({ key }) => key?.holdWhile ?? null },
  { name: "unique_period_ms", type: "double precision", of: ({ key }) => key?.periodMs ?? null },
  { name: "fail_reason", type: "text", of: ({ job }) => job.failReason },
  { name: "cancel_reason", type: "text", of: ({ job }) => storable(job.cancelReason) },
  { name: "progress_done", type: "double precision", of: ({ job }) => job.progress?.done ?? null },
  { name: "progress_total", type: "double precision", of: ({ job }) => job.progress?.total ?? null },
  { name: "error", type: "text", of: ({ job }) => jsonOrNull(job.error) },
  { name: "blob", type: "uuid", of: ({ blob }) => (blob !== null && isId(blob) ? blob : null) },
  { name: "correlation", type: "text", of: ({ job }) => jsonOrNull(storableCorrelation(job.correlation)) },
  { name: "trace", type: "text", of: ({ job }) => jsonOrNull(job.trace) },
  { name: "output", type: "text", of: ({ job }) => storable(job.output) },
  { name: "payload", type: "text", of: ({ job }) => storable(job.payload) },
];

/** Primary key. */
const jobs: Table<JobSnapshot> = countedTable("jobs", [
  ...sharedColumns,
  { name: "rank", type: "bigint", of: ({ rank }) => Math.round(rank * 1_000) },
  { name: "is_cancel_requested", type: "boolean", of: ({ job }) => job.isCancelRequested },
  { name: "controls", type: "text", of: ({ job }) => storable(jsonOrNull(job.controls)) },
  { name: "concurrency_key", type: "text", of: ({ job }) => storable(job.controls?.concurrencyKey ?? null) },
  { name: "held_by", type: "text", of: ({ job }) => job.heldBy },
]);

/** Primary key. */
const history: Table<JobSnapshot> = countedTable("history", sharedColumns);

/** Primary key. */
const correlations = plainTable<ReturnType<typeof pairsOf>[number]>("correlations", [
  { name: "name", type: "text", of: ({ name }) => name },
  { name: "value", type: "text", of: ({ value }) => value },
  { name: "id", type: "uuid", of: ({ id }) => id },
]);

type Of<Rows extends "attempts" | "steps" | "lines"> = JobSnapshot[Rows][number] & { readonly job: string };

/** Primary key. */
const attempts = plainTable<Of<"attempts">>("attempts", [
  { name: "job", type: "uuid", of: ({ job }) => job },
  { name: "epoch", type: "int", of: ({ epoch }) => epoch },
  { name: "attempt", type: "int", of: ({ attempt }) => attempt },
  { name: "worker_id", type: "text", of: ({ workerId }) => storable(workerId) },
  { name: "started_at", type: "bigint", of: ({ startedAt }) => startedAt },
  { name: "ended_at", type: "bigint", of: ({ endedAt }) => endedAt },
  { name: "crashed", type: "boolean", of: ({ crashed }) => crashed },
  { name: "error", type: "text", of: ({ error }) => JSON.stringify(error) },
]);

/** Primary key. */
const steps = plainTable<Of<"steps">>("steps", [
  { name: "job", type: "uuid", of: ({ job }) => job },
  { name: "name", type: "text", of: ({ name }) => storable(name) },
  { name: "output", type: "text", of: ({ output }) => storable(output) },
]);

/** Primary key. */
const lines = plainTable<Of<"lines">>("lines", [
  { name: "job", type: "uuid", of: ({ job }) => job },
  { name: "at", type: "bigint", of: ({ at }) => at },
  { name: "level", type: "text", of: ({ level }) => level },
  { name: "message", type: "text", of: ({ message }) => storable(message) },
]);

function countedTable<Row>(table: string, columns: readonly Column<Row>[]): Table<Row> {
  return {
    columns,
    isCounted: true,
    insert: `
  with added as (
    ${insertInto(table, columns)}
    returning type, state
  ),
  counted as (
    insert into sluice.deltas (type, state, n)
    select type, state, count(*)
    from added
    group by type, state
  )
  select count(*)::int as added from added`,
  };
}

function plainTable<Row>(table: string, columns: readonly Column<Row>[]): Table<Row> {
  return { columns, isCounted: false, insert: insertInto(table, columns) };
}

function insertInto<Row>(table: string, columns: readonly Column<Row>[]): string {
  const names = columns.map(({ name }) => name).join(", ");
  return `
    insert into sluice.${table} (${names})
    select ${names}
    from unnest(${columns.map(({ type }, index) => `$${index + 1}::${type}[]`).join(", ")}) with ordinality as sent (${names}, turn)
    order by turn
    on conflict do nothing`;
}

// Primary keys.
const selectKnown = `
  select :now as now,
    (
      select coalesce(json_agg(there.id), '[]')::text
      from (
        select job.id from sluice.jobs as job where job.id = any ($1::uuid[])
        union all
        select job.id from sluice.history as job where job.id = any ($1::uuid[])
      ) as there
    ) as known`;

// Primary key, in its order, which is that of the locks; see desk.ts.
const insertKeys = `
  insert into sluice.keys (key, job, until)
  select wanted.key, wanted.job, wanted.until
  from unnest($1::text[], $2::uuid[], $3::bigint[]) as wanted (key, job, until)
  order by wanted.key
  on conflict (key) do nothing
  returning key`;

// Primary key, in its order.
const lockKeys = `
  select key, until
  from sluice.keys
  where key = any ($1::text[])
  order by key
  for update`;

// Primary key.
const updateKeys = `
  update sluice.keys
  set job = wanted.job, until = wanted.until
  from unnest($1::text[], $2::uuid[], $3::bigint[]) as wanted (key, job, until)
  where keys.key = wanted.key
  returning keys.key`;

// Primary key. Answers with those that somebody alive has.
const insertLost = `
  with lost as (
    insert into sluice.workers (id, host, pid, types, concurrency, lease_ms, started_at, lease_expires_at, is_lost)
    select id, '', 0, '[]', 0, 0, :now, :now, true
    from unnest($1::text[]) as holder (id)
    on conflict (id) do nothing
  )
  select id from sluice.workers where id = any ($1::text[]) and not is_lost`;
