/**
 * The tables of the library in SQLite, all called canon_*: they live in the file of the jobs.
 */
import type { Connection } from "sluice/sqlite";
import { migrateSearch } from "./index-tables.js";

/** Creates the tables that do not exist yet. May be called at every start, inside an open transaction. */
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
  migrateSearch(db);
}
