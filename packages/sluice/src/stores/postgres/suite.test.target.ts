/**
 * The PostgreSQL store as the conformance suite and the life tier open it: a schema of its own for each test, with a table of the
 * application in it.
 */
import { randomUUID } from "node:crypto";
import { testPostgresUrl } from "@sluice/test-postgres";
import pg from "pg";
import { describe, test } from "vitest";
import type { ConformanceTarget } from "../../testing/index.js";
import { postgres } from "./index.js";
import type { PostgresOptions, PostgresTx } from "./index.js";

export function newSchema(): string {
  return `test_${randomUUID().slice(0, 8)}`;
}

/** With what belongs to it: days of history, functions, the application's table. */
export async function dropSchema(schema: string): Promise<void> {
  const client = new pg.Client(testPostgresUrl());
  await client.connect();
  await client.query(`drop schema if exists "${schema}" cascade`);
  await client.end();
}

export function postgresTarget(name: string, options: Partial<PostgresOptions> = {}): ConformanceTarget {
  return {
    name,
    capabilities: { transactions: "asynchronous", sharedAcrossProcesses: true },
    skip: [],
    framework: { describe, test: (name, body) => test(name, body) },
    async open({ clock }) {
      const schema = newSchema();
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
          await dropSchema(schema);
        },
      };
    },
  };
}
