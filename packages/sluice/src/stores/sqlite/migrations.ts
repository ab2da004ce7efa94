/**
 * The schema, as numbered steps that only ever move forward. Our tables are called sluice_*: the application's may live beside them.
 */
import { JobsError } from "../../errors.js";
import type { Connection, Database } from "./engine.js";

/** All of one step, and the note that it was taken. */
export interface Migration {
  readonly version: number;
  readonly sql: string;
}

/**
 * Brings the schema up to date. One transaction holds the write lock from the look at the version to the last step,
 * so that a second process waits and then finds nothing to do.
 * @throws {JobsError} SCHEMA_TOO_NEW; an error of the driver when the lock cannot be had.
 */
export function migrate(connection: Database, path: string): void {
  if (pendingMigrations(connection, path).length === 0) return;

  connection.exec("begin immediate");
  try {
    for (const { sql } of pendingMigrations(connection, path)) connection.exec(sql);
    connection.exec("commit");
  } catch (error) {
    // After a full disk SQLite has rolled back by itself, and a second rollback would hide why.
    if (connection.isTransaction) connection.exec("rollback");
    throw error;
  }
}

/**
 * What `migrate` would run now.
 * @param connection Null for a file that is not there.
 * @throws {JobsError} SCHEMA_TOO_NEW
 */
export function pendingMigrations(connection: Connection | null, path: string): readonly Migration[] {
  const done = connection === null ? 0 : versionOf(connection, path);
  return migrations.slice(done).map((statements, index) => {
    const version = done + index + 1;
    return { version, sql: `${statements}\n${noteMigration(version)}` };
  });
}

function noteMigration(version: number): string {
  return `  insert into sluice_schema (version, applied_at) values (${version}, cast(unixepoch('subsec') * 1000 as integer));\n`;
}

/** A table of our own: `pragma user_version` may be in use by the application. */
function versionOf(connection: Connection, path: string): number {
  const isNew =
    connection.prepare("select 1 from sqlite_schema where type = 'table' and name = 'sluice_schema'").get() ===
    undefined;
  if (isNew) return 0;

  const { version } = connection.prepare("select coalesce(max(version), 0) as version from sluice_schema").get() as {
    version: number;
  };
  if (version <= migrations.length) return version;
  throw new JobsError(
    "SCHEMA_TOO_NEW",
    `${path} has schema ${version}, and this version of Sluice knows up to ${migrations.length}. Update Sluice here, too.`,
    { path, version, known: migrations.length },
  );
}

/** Never change one that was released: add another. */
const migrations: readonly string[] = [
  `
  create table sluice_schema (version integer primary key, applied_at integer) strict;

  -- The columns that every claim and settle looks at come first: SQLite decodes a row from the left.
  create table sluice_jobs (
    seq integer primary key,
    id text not null unique,
    type text not null,
    state text not null,
    priority integer not null,
    rank integer not null,               -- µs at which it became pending; seq decides between equals
    version integer not null,
    epoch integer not null default 0,
    attempt integer not null default 0,
    max_attempts integer not null,
    crashes integer not null default 0,
    worker integer,                      -- sluice_workers.seq
    held_key text,                       -- its unique key while it holds it; '>' || key while it waits behind the holder
    run_at integer not null,
    created_at integer not null,
    started_at integer,
    finished_at integer,
    cancel_requested_at integer,
    unique_key text,
    unique_while text,
    unique_until integer,                -- for a period: when the key expires
    fail_reason text,
    cancel_reason text,
    progress_done real,
    progress_total real,
    error text,
    blob text,
    correlation text,
    trace text,
    output text,
    payload text not null
  ) strict;

  create index sluice_jobs_ready on sluice_jobs (type, priority desc, rank) where state = 'pending';
  create index sluice_jobs_due on sluice_jobs (type, run_at) where state in ('scheduled', 'retrying');
  create index sluice_jobs_held on sluice_jobs (worker) where state = 'processing';
  create index sluice_jobs_cancel on sluice_jobs (worker) where cancel_requested_at is not null;
  create unique index sluice_jobs_key on sluice_jobs (held_key) where held_key is not null;
  create index sluice_jobs_blocked on sluice_jobs (id) where state = 'blocked';
  create index sluice_jobs_failed on sluice_jobs (type, id) where state = 'failed';
  create index sluice_jobs_cancelled on sluice_jobs (id) where state = 'cancelled';
  create index sluice_jobs_finished on sluice_jobs (finished_at)
    where state in ('completed', 'cancelled') and held_key is null;
  create index sluice_jobs_key_kept on sluice_jobs (unique_until)
    where state in ('completed', 'cancelled') and held_key is not null;

  -- The furthest that any id given so far was from the time it was given at; see id-times.ts.
  create table sluice_id_skew (
    only_row integer primary key,
    ms integer not null
  ) strict;

  create table sluice_correlations (
    name text not null,
    value text not null,
    id text not null,
    primary key (name, value, id)
  ) strict, without rowid;

  -- Blobs whose job is gone or has another: the file is deleted after that is durable, then the row.
  create table sluice_freed_blobs (
    blob text primary key
  ) strict, without rowid;

  create table sluice_attempts (
    job integer not null,
    epoch integer not null,
    attempt integer not null,
    worker_id text not null,
    started_at integer not null,
    ended_at integer not null,
    crashed integer not null,
    error text not null,
    primary key (job, epoch)
  ) strict, without rowid;

  create table sluice_steps (
    seq integer primary key,
    job integer not null,
    name text not null,
    output text,
    unique (job, name)
  ) strict;

  create table sluice_lines (
    seq integer primary key,
    job integer not null,
    at integer not null,
    level text not null,
    message text not null
  ) strict;
  create index sluice_lines_job on sluice_lines (job);

  create table sluice_audit (
    seq integer primary key,
    at integer not null,
    actor text not null,
    action text not null,
    job_id text not null,
    job_type text not null,
    state_before text not null,
    state_after text not null,
    payload_before text,
    reason text
  ) strict;
  create index sluice_audit_job on sluice_audit (job_id);

  -- What an append-only table means, said where it cannot be forgotten.
  create trigger sluice_audit_no_update before update on sluice_audit
  begin
    select raise(abort, 'sluice_audit is append-only');
  end;

  create table sluice_counts (
    type text not null,
    state text not null,
    n integer not null,
    primary key (type, state)
  ) strict, without rowid;

  create table sluice_workers (
    seq integer primary key autoincrement,
    id text not null unique,
    host text not null,
    pid integer not null,
    types text not null,
    concurrency integer not null,
    lease_ms integer not null,
    started_at integer not null,
    lease_expires_at integer not null,
    is_lost integer not null default 0,
    retired_at integer                   -- kept for the sake of the jobs that name it, no longer listed
  ) strict;
  `,
  `
  create table sluice_settings (
    type text primary key,
    settings text not null
  ) strict, without rowid;

  create table sluice_settings_history (
    seq integer primary key,
    type text not null,
    record text not null
  ) strict;
  create index sluice_settings_history_type on sluice_settings_history (type);
  `,
  `
  -- What flow control knows of a job, as JSON; the key that claims and settles look for has a column of its own.
  alter table sluice_jobs add column controls text;
  alter table sluice_jobs add column concurrency_key text;
  alter table sluice_jobs add column held_by text;
  create index sluice_jobs_in_key on sluice_jobs (concurrency_key) where state = 'processing' and concurrency_key is not null;
  create index sluice_jobs_for_key on sluice_jobs (concurrency_key, priority desc, rank)
    where held_by = 'concurrency_key' and state = 'blocked';
  create index sluice_jobs_held_back on sluice_jobs (type) where held_by is not null;

  create table sluice_rates (
    name text primary key,
    spent_until real not null
  ) strict, without rowid;

  -- The last place given to each group, and to any of its type and priority (group '').
  create table sluice_turns (
    type text not null,
    priority integer not null,
    group_name text not null,
    place integer not null,              -- a rank
    primary key (type, priority, group_name)
  ) strict, without rowid;
  `,
  `
  -- The job that each request with a key was answered with. Kept for its period, also when the job is deleted.
  create table sluice_idempotency_keys (
    key text primary key,
    fingerprint text not null,
    job text not null,                   -- sluice_jobs.id
    expires_at integer not null
  ) strict, without rowid;
  create index sluice_idempotency_keys_expiry on sluice_idempotency_keys (expires_at);
  `,
];
