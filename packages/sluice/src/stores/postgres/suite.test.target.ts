/**
 * The PostgreSQL store as the conformance suite and the life tier open it: an empty schema for each test, with a table of the
 * application in it.
 */
import { randomUUID } from "node:crypto";
import { testPostgresUrl } from "@sluice/test-postgres";
import pg from "pg";
import { afterAll, describe, test } from "vitest";
import type { ConformanceTarget } from "../../testing/index.js";
import { postgres } from "./index.js";
import type { PostgresOptions, PostgresTx } from "./index.js";

/** Schemas that tests have left, emptied. Making one takes longer than most tests. */
const spare: string[] = [];
/** Opened with the first. */
let client: pg.Client | undefined;

/** A schema that nobody else has: new, or one that `giveBack` has emptied. */
export function takeSchema(): string {
  return spare.pop() ?? `test_${randomUUID().slice(0, 8)}`;
}

/** Empties it, and drops the application's table. */
export async function giveBack(schema: string): Promise<void> {
  await ask(`
    do $$ declare found text; is_used boolean; begin
      drop table if exists "${schema}".rows;
      for found in
        select oid::regclass from pg_class
        where relnamespace = '"${schema}"'::regnamespace and relkind in ('r', 'p') and not relispartition and relname <> 'migrations'
      loop
        -- A test uses few of them, and to look is cheaper than to empty.
        execute format('select exists (select from %s)', found) into is_used;
        continue when not is_used;
        -- Some of them are append-only.
        execute format('alter table %s disable trigger user; delete from %s; alter table %s enable trigger user', found, found, found);
      end loop;
    end $$`);
  spare.push(schema);
}

afterAll(async () => {
  for (const schema of spare.splice(0)) await ask(`drop schema "${schema}" cascade`);
  await client?.end();
});

async function ask(sql: string): Promise<void> {
  if (client === undefined) {
    client = new pg.Client(testPostgresUrl());
    await client.connect();
  }
  await client.query(sql);
}

export function postgresTarget(name: string, options: Partial<PostgresOptions> = {}): ConformanceTarget {
  return {
    name,
    capabilities: { transactions: "asynchronous", sharedAcrossProcesses: true },
    skip: [],
    framework: { describe, test: (name, body) => test(name, body) },
    async open({ clock }) {
      const schema = takeSchema();
      const store = await postgres({ url: testPostgresUrl(), schema, clock, ...options });
      return {
        store,
        application: {
          create: (tx) => (tx as PostgresTx).query(`create table "${schema}".rows (n integer not null)`),
          insert: (tx, n) => (tx as PostgresTx).query(`insert into "${schema}".rows (n) values ($1)`, [n]),
          count: async () => {
            const { rows } = await store.query(`select count(*)::int as n from "${schema}".rows`);
            return (rows[0] as { n: number }).n;
          },
        },
        async dispose() {
          await store.close();
          await giveBack(schema);
        },
      };
    },
  };
}
