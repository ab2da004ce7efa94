/**
 * PostgreSQL: the machine's own server with its default settings and fsync on, or the one at a URL; a schema for each scenario.
 */
import { findLocalPostgres, startPostgres } from "@sluice/test-postgres";
import pg from "pg";
import { postgres } from "sluice/postgres";
import type { PostgresStore } from "sluice/postgres";
import { runCeiling } from "./bed.js";
import type { Bed } from "./bed.js";
import { rawEndToEnd } from "./raw-postgres.js";

export async function postgresBed(givenUrl: string | undefined): Promise<Bed> {
  const server = givenUrl === undefined ? await startServer() : null;
  const url = givenUrl ?? server!.url;
  const admin = new pg.Client(url);
  await admin.connect();
  const { rows } = await admin.query<{ title: string }>(
    "select format('PostgreSQL %s, fsync %s', current_setting('server_version'), current_setting('fsync')) as title",
  );
  const schemas = new WeakMap<object, string>();
  let opened = 0;
  return {
    title: rows[0]!.title,
    async with(run) {
      const schema = `bench_${process.pid}_${++opened}`;
      const store = await postgres({ url, schema });
      schemas.set(store, schema);
      try {
        return await run(store, `${url}#${schema}`);
      } finally {
        await store.close();
        await admin.query(`drop schema "${schema}" cascade`);
      }
    },
    ceiling: (folder, ...mode) => runCeiling(folder, "postgres.mjs", [url, ...mode]),
    rawEndToEnd: (load) => rawEndToEnd(url, load),
    async fillHistory(store, jobs) {
      const schema = schemas.get(store)!;
      await admin.query(
        `insert into "${schema}".history (id, type, state, version, priority, epoch, attempt, max_attempts, crashes, run_at, created_at,
           started_at, finished_at, worker_id, payload)
         select ("${schema}".first_id(floor(extract(epoch from now()) * 1000)::bigint - 600000 + n / 100)::text::uuid),
           'bench.work', 'completed', 1, 0, 1, 1, 5, 0, 0, 0, 0, 0, 'worker', repeat('x', 200)
         from generate_series(1, $1::int, 100) as n`,
        [jobs],
      );
      // One id each: the instant in the first 48 bits, a number in the last 62.
      await admin.query(
        `insert into "${schema}".history (id, type, state, version, priority, epoch, attempt, max_attempts, crashes, run_at, created_at,
           started_at, finished_at, worker_id, payload)
         select overlay(id::text placing lpad(to_hex(k), 12, '0') from 25)::uuid, type, state, version, priority, epoch, attempt,
           max_attempts, crashes, run_at, created_at, started_at, finished_at, worker_id, payload
         from "${schema}".history
         cross join generate_series(1, 99) as k`,
      );
    },
    async calm(store) {
      const schema = schemas.get(store)!;
      for (const table of ["jobs", "history", "deltas"]) await admin.query(`vacuum (analyze) "${schema}".${table}`);
      await admin.query("checkpoint");
    },
    async holdTransaction(store) {
      const holder = new pg.Client(url);
      await holder.connect();
      await holder.query("begin isolation level repeatable read");
      await holder.query(`select count(*) from "${schemas.get(store)!}".history`);
      return async () => {
        await holder.query("rollback");
        await holder.end();
      };
    },
    async end() {
      await admin.end();
      await server?.stop();
    },
  };
}

async function startServer() {
  const local = await findLocalPostgres();
  if ("unavailable" in local) console.log(`${local.unavailable}; using the one from npm.`);
  return startPostgres("binDir" in local ? { binDir: local.binDir } : {});
}

export type { PostgresStore };
