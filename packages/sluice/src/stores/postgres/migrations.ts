/**
 * The schema, as numbered steps that only ever move forward, in a PostgreSQL schema of its own.
 */
import { JobsError } from "../../errors.js";
import { flowRoutines, routines } from "./routines.js";
import type { Executor } from "./sql.js";
import type { Dialect } from "./sql.js";

/** All of one step, and the note that it was taken. */
export interface Migration {
  readonly version: number;
  readonly sql: string;
}

/**
 * Brings the schema up to date; a second process waits at the lock and then finds nothing to do. Where there is nothing to do,
 * only rights to read are needed.
 * @param connection One connection, with no transaction open.
 * @throws {JobsError} SCHEMA_TOO_NEW; an error of the driver when rights are missing.
 */
export async function migrate(connection: Executor, dialect: Dialect): Promise<void> {
  if ((await pendingMigrations(connection, dialect)).length === 0) return;
  await connection.query("begin isolation level read committed");
  try {
    // Two keys: "sluice" as a number, and which schema. Let go of at the end of the transaction, so that poolers do no harm.
    await connection.query("select pg_advisory_xact_lock(7562593, hashtext($1))", [dialect.schema]);
    for (const { sql } of await pendingMigrations(connection, dialect)) await connection.query(sql);
    await connection.query("commit");
  } catch (error) {
    await connection.query("rollback").catch(() => undefined);
    throw error;
  }
}

/**
 * What `migrate` would run now.
 * @throws {JobsError} SCHEMA_TOO_NEW
 */
export async function pendingMigrations(connection: Executor, dialect: Dialect): Promise<readonly Migration[]> {
  const done = await versionOf(connection, dialect);
  return migrations.slice(done).map((statements, index) => {
    const version = done + index + 1;
    return {
      version,
      sql: dialect.text(`${statements}\n  insert into sluice.migrations (version) values (${version});\n`),
    };
  });
}

async function versionOf(connection: Executor, dialect: Dialect): Promise<number> {
  // Not to_regclass: it remembers that there was none, also past the lock behind which somebody else has made it.
  const { rows: found } = await connection.query(
    "select 1 from pg_tables where tablename = 'migrations' and schemaname = $1",
    [dialect.schemaName],
  );
  if (found.length === 0) return 0;
  const { rows } = await connection.query(dialect.text("select max(version) as version from sluice.migrations"));
  const version = (rows[0] as { version: number | null }).version ?? 0;
  if (version <= migrations.length) return version;
  throw new JobsError(
    "SCHEMA_TOO_NEW",
    `The schema ${dialect.schema} has version ${version}, and this version of Sluice knows up to ${migrations.length}. Update Sluice here, too.`,
    { schema: dialect.schema, version, known: migrations.length },
  );
}

/** Never change one that was released: add another. */
const migrations: readonly string[] = [
  `
  create schema if not exists :schema;

  create table sluice.migrations (
    version int primary key,
    applied_at timestamptz not null default now()
  );

  create type sluice.job_state as enum
    ('scheduled', 'pending', 'blocked', 'processing', 'retrying', 'completed', 'failed', 'cancelled');

  -- Jobs that wait, run or have failed. Instants are milliseconds since 1970 on the server's clock.
  create table sluice.jobs (
    id uuid primary key,
    type text not null,
    state sluice.job_state not null,
    version int not null,
    priority int not null,
    rank bigint not null,                -- µs at which it became pending; id decides between equals
    epoch int not null default 0,
    attempt int not null default 0,
    max_attempts int not null,
    crashes int not null default 0,
    is_cancel_requested boolean not null default false,
    run_at bigint not null,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint,
    worker_id text,
    unique_key text,
    unique_while text,
    unique_period_ms double precision,
    fail_reason text,
    cancel_reason text,
    progress_done double precision,
    progress_total double precision,
    error text,
    blob uuid,
    correlation text,
    trace text,
    output text,
    payload text not null
  ) with (fillfactor = 85);

  create index jobs_ready on sluice.jobs (type, (-priority), rank, id) where state = 'pending';
  create index jobs_due on sluice.jobs (type, run_at) where state in ('scheduled', 'retrying');
  create index jobs_held on sluice.jobs (worker_id, type) where state = 'processing';
  create index jobs_cancel on sluice.jobs (worker_id) where state = 'processing' and is_cancel_requested;
  create index jobs_blocked on sluice.jobs (id) where state = 'blocked';
  create index jobs_failed on sluice.jobs (type, id) where state = 'failed';

  -- Who holds a unique key; under '>' || key, who waits behind the holder.
  create table sluice.keys (
    key text primary key,
    job uuid not null,
    until bigint                         -- for a period: when the key expires
  );
  create index keys_until on sluice.keys (until) where until is not null;

  -- Jobs that completed or were cancelled, and what belongs to any job: in partitions by the day that the job's id names, so that
  -- retention drops a day instead of deleting its rows. upkeep.ts makes the days.
  create table sluice.history (
    id uuid not null,
    type text not null,
    state sluice.job_state not null,
    version int not null,
    priority int not null,
    epoch int not null,
    attempt int not null,
    max_attempts int not null,
    crashes int not null,
    run_at bigint not null,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint not null,
    worker_id text,
    unique_key text,
    unique_while text,
    unique_period_ms double precision,
    fail_reason text,
    cancel_reason text,
    progress_done double precision,
    progress_total double precision,
    error text,
    blob uuid,
    correlation text,
    trace text,
    output text,
    payload text not null,
    primary key (id)
  ) partition by range (id);
  create index history_type on sluice.history (type, id);
  create index history_cancelled on sluice.history (id) where state = 'cancelled';
  create index history_finished on sluice.history using brin (finished_at);

  create table sluice.correlations (
    name text not null,
    value text not null,
    id uuid not null,
    primary key (name, value, id)
  ) partition by range (id);

  create table sluice.attempts (
    job uuid not null,
    epoch int not null,
    attempt int not null,
    worker_id text not null,
    started_at bigint not null,
    ended_at bigint not null,
    crashed boolean not null,
    error text not null,
    primary key (job, epoch)
  ) partition by range (job);

  create sequence sluice.step_order;
  create table sluice.steps (
    seq bigint not null default nextval('sluice.step_order'),
    job uuid not null,
    name text not null,
    output text,
    primary key (job, name)
  ) partition by range (job);

  create sequence sluice.line_order;
  create table sluice.lines (
    seq bigint not null default nextval('sluice.line_order'),
    job uuid not null,
    at bigint not null,
    level text not null,
    message text not null,
    primary key (job, seq)
  ) partition by range (job);

  -- For ids that name no day of ours.
  create table sluice.history_other partition of sluice.history default;
  create table sluice.correlations_other partition of sluice.correlations default;
  create table sluice.attempts_other partition of sluice.attempts default;
  create table sluice.steps_other partition of sluice.steps default;
  create table sluice.lines_other partition of sluice.lines default;

  -- The least id that names this instant or a later one (UUIDv7, RFC 9562: milliseconds in the first 48 bits).
  create function sluice.first_id(at_ms bigint) returns uuid language sql immutable as $$
    select (lpad(to_hex(at_ms), 12, '0') || '00000000000000000000')::uuid
  $$;

  -- Partitions for a day (UTC), if they are not there. As the owner: the role that runs jobs needs no right to make tables.
  -- A table whose part for other ids has rows of that day already goes without.
  create function sluice.add_day(day date) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
  declare
    suffix text := to_char(day, 'YYYYMMDD');
    first_ms bigint := extract(epoch from day::timestamp)::bigint * 1000;
    parent text;
  begin
    perform set_config('lock_timeout', '500ms', true);
    -- Whoever comes second finds them made.
    perform pg_advisory_xact_lock(7562596, hashtext(':schema'));
    foreach parent in array array['history', 'correlations', 'attempts', 'steps', 'lines'] loop
      continue when exists (
        select 1
        from pg_class
        where relname = parent || '_' || suffix
          and relnamespace = (select relnamespace from pg_class where oid = 'sluice.jobs'::regclass)
      );
      begin
        execute format('create table :schema.%I (like :schema.%I including all)', parent || '_' || suffix, parent);
        execute format('alter table :schema.%I attach partition :schema.%I for values from (%L) to (%L)',
          parent, parent || '_' || suffix, sluice.first_id(first_ms), sluice.first_id(first_ms + 86400000));
      exception when check_violation then
        null;
      end;
    end loop;
  end $$;

  -- Drops a day if all that is in its history ended before that instant, with the blobs and, if none of its jobs is still
  -- living, all else that belongs to it. Answers how many jobs are gone; null when the day must stay.
  create function sluice.drop_day(day date, ended_before bigint, now_ms bigint)
  returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
  declare
    suffix text := to_char(day, 'YYYYMMDD');
    first_ms bigint := extract(epoch from day::timestamp)::bigint * 1000;
    is_young boolean;
    jobs bigint;
    parent text;
  begin
    perform set_config('lock_timeout', '500ms', true);
    perform pg_advisory_xact_lock(7562596, hashtext(':schema'));
    if not exists (
      select 1
      from pg_class
      where relname = 'history_' || suffix
        and relnamespace = (select relnamespace from pg_class where oid = 'sluice.jobs'::regclass)
    ) then
      return null;
    end if;
    execute format('select exists (select 1 from :schema.%I where finished_at >= $1
      or (unique_while = ''period'' and created_at + unique_period_ms > $2))', 'history_' || suffix)
      into is_young using ended_before, now_ms;
    if is_young then return null; end if;

    -- And once more, when nobody can add one: a job of that day may have ended just now.
    execute format('lock table :schema.%I in access exclusive mode', 'history_' || suffix);
    execute format('select exists (select 1 from :schema.%I where finished_at >= $1
      or (unique_while = ''period'' and created_at + unique_period_ms > $2))', 'history_' || suffix)
      into is_young using ended_before, now_ms;
    if is_young then return null; end if;
    execute format('insert into :schema.deltas (type, state, n)
      select type, state, -count(*) from :schema.%I group by type, state', 'history_' || suffix);
    execute format('with freed as (
        delete from :schema.blobs using :schema.%I as job where blobs.id = job.blob returning blobs.id
      )
      delete from :schema.blob_pieces using freed where blob = freed.id', 'history_' || suffix);
    execute format('select count(*) from :schema.%I', 'history_' || suffix) into jobs;
    execute format('drop table :schema.%I', 'history_' || suffix);

    if not exists (
      select 1 from sluice.jobs where id >= sluice.first_id(first_ms) and id < sluice.first_id(first_ms + 86400000)
    ) then
      foreach parent in array array['correlations', 'attempts', 'steps', 'lines'] loop
        execute format('drop table if exists :schema.%I', parent || '_' || suffix);
      end loop;
    end if;
    return jobs;
  end $$;
  -- They do with the owner's rights what they do: for whom it is granted to, see docs/postgres.md.
  revoke all on function sluice.add_day(date), sluice.drop_day(date, bigint, bigint) from public;

  create table sluice.audit (
    seq bigint generated always as identity primary key,
    at bigint not null,
    actor text not null,
    action text not null,
    job_id uuid not null,
    job_type text not null,
    state_before sluice.job_state not null,
    state_after sluice.job_state not null,
    payload_before text,
    reason text
  );
  create index audit_job on sluice.audit (job_id, seq);

  -- What an append-only table means, said where it cannot be forgotten.
  create function sluice.refuse_change() returns trigger language plpgsql as $$
  begin
    raise exception '% is append-only', tg_table_name;
  end $$;
  create trigger audit_append_only before update or delete or truncate on sluice.audit
    for each statement execute function sluice.refuse_change();

  -- What operators have changed about types. Only what a claim must know has columns of its own.
  create table sluice.settings (
    type text primary key,
    is_paused boolean not null,
    paused_until bigint,
    concurrency int,
    settings text not null
  );
  create table sluice.settings_history (
    seq bigint generated always as identity primary key,
    type text not null,
    record text not null
  );
  create index settings_history_type on sluice.settings_history (type, seq);
  create trigger settings_history_append_only before update or delete or truncate on sluice.settings_history
    for each statement execute function sluice.refuse_change();

  -- Jobs by type and state: every transaction appends what it changed, upkeep.ts adds that up.
  create table sluice.counts (
    type text not null,
    state sluice.job_state not null,
    n bigint not null,
    primary key (type, state)
  );
  create table sluice.deltas (
    seq bigint generated always as identity primary key,
    type text not null,
    state sluice.job_state not null,
    n int not null
  );

  create table sluice.workers (
    seq bigint generated always as identity,
    id text primary key,
    host text not null,
    pid int not null,
    types text not null,
    concurrency int not null,
    lease_ms bigint not null,
    started_at bigint not null,
    lease_expires_at bigint not null,
    is_lost boolean not null default false
  );

  -- Bytes too large for a row, in pieces of one size.
  create table sluice.blobs (
    id uuid primary key,
    bytes bigint,                        -- null while it is being written
    touched_at bigint not null
  );
  create table sluice.blob_pieces (
    blob uuid not null,
    n int not null,
    bytes bytea not null,
    primary key (blob, n)
  );
  alter table sluice.blob_pieces alter column bytes set storage external;

  ${routines}
  `,
  `
  -- What flow control knows of a job, as JSON; the key that claims and settles look for has a column of its own.
  alter table sluice.jobs add column controls text, add column concurrency_key text, add column held_by text;
  create index jobs_in_key on sluice.jobs (concurrency_key) where state = 'processing' and concurrency_key is not null;
  create index jobs_for_key on sluice.jobs (concurrency_key, (-priority), rank, id)
    where state = 'blocked' and held_by = 'concurrency_key';
  create index jobs_held_back on sluice.jobs (type, id) where held_by is not null;

  -- Whether a claim or an enqueue must ask for each job of the type; how many may try while its breaker is half open.
  alter table sluice.settings
    add column is_gated boolean not null default false,
    add column has_intake boolean not null default false,
    add column breaker_level int;

  -- Until when each rate is spent, ms.
  create table sluice.rates (
    name text primary key,
    spent_until double precision not null
  );

  -- The last place given to each group, and to any of its type and priority (group '').
  create table sluice.turns (
    type text not null,
    priority int not null,
    group_name text not null,
    place bigint not null,               -- a rank
    primary key (type, priority, group_name)
  );

  ${flowRoutines}
  `,
  `
  -- The job that each request with a key was answered with. Kept for its period, also when the job is deleted.
  create table sluice.idempotency_keys (
    key text primary key,
    fingerprint text not null,
    job uuid not null,
    expires_at bigint not null
  );
  create index idempotency_keys_expiry on sluice.idempotency_keys (expires_at);
  `,
];
