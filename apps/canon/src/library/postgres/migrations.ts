/**
 * The tables of the library in PostgreSQL, in a schema of their own, as numbered steps that only ever move forward.
 */
import { rowsOf, type PostgresTx } from "./connection.js";

/**
 * Brings the schema up to date. Call in a transaction that holds a lock of its own, so that a second process waits and then finds
 * nothing to do. Where there is nothing to do, only rights to read are needed.
 * @throws {Error} When a newer version of the application has been here.
 */
export async function migrateLibrary(tx: PostgresTx): Promise<void> {
  const version = await versionOf(tx);
  for (const [index, statements] of migrations.slice(version).entries()) {
    for (const statement of statements) await tx.query(statement);
    await tx.query("insert into canon.migrations (version) values ($1)", [version + index + 1]);
  }
}

async function versionOf(tx: PostgresTx): Promise<number> {
  // Not to_regclass: it may answer from what this connection knew before it waited for the lock.
  const known = await rowsOf(tx, "select from pg_tables where schemaname = 'canon' and tablename = 'migrations'", []);
  if (known.length === 0) return 0;
  const [row] = await rowsOf<{ version: number }>(
    tx,
    "select coalesce(max(version), 0) as version from canon.migrations",
    [],
  );
  const version = row?.version ?? 0;
  if (version <= migrations.length) return version;
  throw new Error(
    `The schema canon is at version ${version}, and this version of canon knows up to ${migrations.length}. Update canon here, too.`,
  );
}

/** Never change one that was released: add another. Instants are Unix milliseconds. */
const migrations: readonly (readonly string[])[] = [
  [
    "create schema if not exists canon",
    `
      create table canon.migrations (
        version integer primary key,
        applied_at timestamptz not null default now()
      )`,
    `
      create table canon.imports (
        id text collate "C" primary key,
        game text collate "C" not null,
        blob text,
        bytes bigint not null,
        read_bytes bigint not null default 0,
        phase text not null default 'reading' check (phase in ('reading', 'indexing', 'done', 'failed', 'cancelled')),
        total integer not null default 0,
        succeeded integer not null default 0,
        failed integer not null default 0,
        skipped integer not null default 0,
        problem text,
        created_at bigint not null,
        finished_at bigint
      )`,
    "create index imports_by_game on canon.imports (game, created_at)",
    "create index imports_with_blob on canon.imports (id) where blob is not null",
    `
      create table canon.import_failures (
        import_id text collate "C" not null,
        index bigint not null,
        line integer not null,
        name text,
        pointer text not null,
        reason text not null,
        primary key (import_id, index)
      )`,
    // Ids are told apart and ordered byte by byte, as in SQLite: names of people are no matter of a locale here.
    `
      create table canon.objects (
        game text collate "C" not null,
        id text collate "C" not null,
        kind text not null,
        name text not null,
        body text not null,
        hash text not null,
        import_id text collate "C" not null,
        line integer not null,
        awaiting text collate "C",
        embedded_hash text,
        embedded_model text,
        embedded_at bigint,
        updated_at bigint not null,
        index_version bigint, -- of the last change to its chunks, see canon.games; null as long as it had none
        primary key (game, id)
      )`,
    "create index objects_by_index_version on canon.objects (game, index_version, id) where index_version is not null",
    // Whoever changes the index of a game takes the next number here, and holds the row until the commit. So the numbers
    // become visible in their order: a reader that has seen 7 will not find a 6 later, which a sequence does not promise.
    `
      create table canon.games (
        game text collate "C" primary key,
        index_version bigint not null
      )`,
    `
      create table canon.chunks (
        game text collate "C" not null,
        object_id text collate "C" not null,
        ordinal integer not null,
        name text not null,
        text text not null,
        is_restricted boolean not null,
        model text not null,
        embedded_at bigint not null,
        words tsvector not null, -- name (weight A), text (weight D), and the scope of the game, see full-text.ts
        primary key (game, object_id, ordinal),
        foreign key (game, object_id) references canon.objects (game, id) on delete cascade
      )`,
    "create index chunks_by_word on canon.chunks using gin (words)",
    // Apart from the text, so that a row stays in its page: reading a game's vectors must not mean two reads for each.
    // Plain numbers, which need no extension: pgvector compares them where it is there, the process where it is not.
    `
      create table canon.vectors (
        game text collate "C" not null,
        object_id text collate "C" not null,
        ordinal integer not null,
        model text not null,
        is_restricted boolean not null,
        embedding real[] not null check (cardinality(embedding) = 384),
        primary key (game, object_id, ordinal),
        foreign key (game, object_id, ordinal) references canon.chunks (game, object_id, ordinal) on delete cascade
      )`,
    "alter table canon.vectors alter column embedding set storage external",
  ],
];
