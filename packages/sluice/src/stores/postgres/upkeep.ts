/**
 * What nobody waits for: days made ahead for history, counts added up, and what retention no longer wants. Any process may do it,
 * and two at once do each other no harm.
 */
import type { Database } from "./database.js";
import type { Sql } from "./sql.js";

const dayMs = 24 * 60 * 60 * 1_000;
const lockNotAvailable = "55P03";

/** Partitions for today and so many days after. Rows of a day that has none are kept with those of other ids. */
export async function addDays(database: Database, daysAhead: number): Promise<void> {
  const [row] = await database.rows<{ now: number | string }>("select :now as now");
  for (let ahead = 0; ahead <= daysAhead; ahead += 1) {
    const day = new Date(Number(row!.now) + ahead * dayMs).toISOString().slice(0, 10);
    if (!(await unlessLocked(() => database.rows("select sluice.add_day($1::date)", [day])))) return;
  }
}

/** Adds up what transactions have appended to the counts. */
export async function foldCounts(database: Database): Promise<void> {
  for (let folded = foldLimit; folded === foldLimit;) {
    const [row] = await database.rows<{ folded: number | string }>(foldDeltas, [foldLimit]);
    folded = Number(row!.folded);
  }
}

const foldLimit = 20_000;

/**
 * Completed and cancelled jobs that ended long ago. Days go whole, so that a job may stay for as long as its day has young ones,
 * and at least until it is over; jobs whose ids name no day, and the last ones of a day that some keep from going, go one by one.
 */
export async function prune(
  database: Database,
  { retentionMs, limit }: { readonly retentionMs: number; readonly limit: number },
): Promise<{ readonly pruned: number }> {
  const [row] = await database.rows<{ now: number | string; days: string | null }>(selectDays);
  const now = Number(row!.now);
  const endedBefore = Math.floor(now - retentionMs);
  for (const day of JSON.parse(row!.days ?? "[]") as string[]) {
    if (Date.parse(day) + dayMs > endedBefore) continue;
    await unlessLocked(() => database.rows("select sluice.drop_day($1::date, $2, $3)", [day, endedBefore, now]));
  }
  await database.rows(dropExpiredKeys, [now]);
  await database.rows(dropIdempotencyKeys, [now]);
  await database.rows(dropSpentRates, [now]);
  await database.rows(dropOldTurns, [(now - dayMs) * 1_000]);
  await database.rows(dropUnfinishedBlobs, [now - dayMs]);
  await database.rows(deleteLostWorkers, [Math.min(endedBefore, now - dayMs)]);
  return { pruned: await database.transaction((sql) => pruneRows(sql, { endedBefore, now, limit })) };
}

async function pruneRows(
  sql: Sql,
  { endedBefore, now, limit }: { readonly endedBefore: number; readonly now: number; readonly limit: number },
): Promise<number> {
  const gone = await sql.rows<{ id: string; blob: string | null }>(deleteOld, [
    endedBefore,
    Math.max(0, Math.floor(endedBefore / dayMs) * dayMs),
    now,
    limit,
  ]);
  if (gone.length === 0) return 0;
  const ids = gone.map(({ id }) => id);
  for (const statement of deleteBelongings) await sql.rows(statement, [ids]);
  const blobs = gone.flatMap(({ blob }) => blob ?? []);
  if (blobs.length > 0) for (const statement of deleteBlobs) await sql.rows(statement, [blobs]);
  return gone.length;
}

/** Somebody reads the table just now, and everybody else would wait behind us: the next round will do. */
export async function unlessLocked(run: () => Promise<unknown>): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    if ((error as { details?: { reason?: unknown } }).details?.reason === lockNotAvailable) return false;
    throw error;
  }
}

// Primary key, from the oldest on. Skipping what another process folds.
const foldDeltas = `
  with taken as (
    delete from sluice.deltas
    where seq in (
      select seq
      from sluice.deltas
      order by seq
      limit $1
      for update skip locked
    )
    returning type, state, n
  ),
  folded as (
    insert into sluice.counts as total (type, state, n)
    select type, state, sum(n)
    from taken
    group by type, state
    order by type, state
    on conflict (type, state) do update
    set n = total.n + excluded.n
  )
  select count(*) as folded from taken`;

// The catalogue: one row per day.
const selectDays = `
  select :now as now,
    (
      select json_agg(to_date(right(part.relname, 8), 'YYYYMMDD')::text order by part.relname)::text
      from pg_inherits
      join pg_class as part on part.oid = pg_inherits.inhrelid
      where pg_inherits.inhparent = 'sluice.history'::regclass
        and part.relname ~ '^history_[0-9]{8}$'
    ) as days`;

// keys_until. A bounded number at a time.
const dropExpiredKeys = `
  delete from sluice.keys
  where key in (
    select key
    from sluice.keys
    where until <= $1::bigint
      and not exists (select 1 from sluice.keys as next where next.key = '>' || keys.key)
    order by until
    limit 1000
    for update skip locked
  )`;

// idempotency_keys_expiry. A bounded number at a time. One that is used just now is left alone.
const dropIdempotencyKeys = `
  delete from sluice.idempotency_keys
  where key in (
    select key
    from sluice.idempotency_keys
    where expires_at <= $1::bigint
    order by expires_at
    limit 1000
    for update skip locked
  )`;

// Full scan: a row for each rate key in use. A rate that nothing is owed to is as good as one that was never used.
const dropSpentRates = `
  delete from sluice.rates
  where name in (select name from sluice.rates where spent_until < $1 limit 1000 for update skip locked)`;

// Full scan: a row for each group in use.
const dropOldTurns = `
  delete from sluice.turns
  where (type, priority, group_name) in (
    select type, priority, group_name
    from sluice.turns
    where place < $1::bigint
    limit 1000
    for update skip locked
  )`;

// Full scan: blobs are few. A process that wrote one and was killed has left it.
const dropUnfinishedBlobs = `
  with gone as (
    delete from sluice.blobs
    where bytes is null
      and touched_at < $1::bigint
    returning id
  )
  delete from sluice.blob_pieces
  using gone
  where blob = gone.id`;

// Full scan: a row per worker process. A lost one stays long enough for its process to hear of it.
const deleteLostWorkers = `
  delete from sluice.workers
  where is_lost
    and lease_expires_at < $1::bigint
    and not exists (select 1 from sluice.jobs where jobs.worker_id = workers.id and jobs.state = 'processing')`;

// history_finished: in the part for other ids, and in days that should be gone. Then primary key.
const deleteOld = `
  with old as (
    select id, finished_at
    from sluice.history_other
    where finished_at < $1::bigint
      and not (unique_while is not distinct from 'period' and created_at + unique_period_ms > $3::bigint)
    union
    select id, finished_at
    from sluice.history
    where id < sluice.first_id($2::bigint)
      and finished_at < $1::bigint
      and not (unique_while is not distinct from 'period' and created_at + unique_period_ms > $3::bigint)
    order by finished_at, id
    limit $4
  ),
  gone as (
    delete from sluice.history as job
    using old
    where job.id = old.id
    returning job.id, job.blob, job.type, job.state
  ),
  counted as (
    insert into sluice.deltas (type, state, n)
    select type, state, -count(*)
    from gone
    group by type, state
  )
  select id, blob from gone`;

// Primary keys, in all.
const deleteBelongings = [
  "delete from sluice.correlations where id = any ($1::uuid[])",
  "delete from sluice.attempts where job = any ($1::uuid[])",
  "delete from sluice.steps where job = any ($1::uuid[])",
  "delete from sluice.lines where job = any ($1::uuid[])",
];
const deleteBlobs = [
  "delete from sluice.blobs where id = any ($1::uuid[])",
  "delete from sluice.blob_pieces where blob = any ($1::uuid[])",
];
