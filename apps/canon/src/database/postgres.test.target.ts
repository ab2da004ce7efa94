/**
 * A database of its own for a test, on the server that the run shares.
 */
import { randomBytes } from "node:crypto";
import { testPostgresUrl } from "@sluice/test-postgres";
import pg from "pg";

export interface PostgresDatabase {
  readonly url: string;
  rows(text: string): Promise<readonly unknown[]>;
  /** Ends whoever still uses it. */
  drop(): Promise<void>;
}

export async function aPostgresDatabase(): Promise<PostgresDatabase> {
  const name = `canon_${randomBytes(6).toString("hex")}`;
  const server = testPostgresUrl();
  await rowsAt(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = name;
  return {
    url: url.href,
    rows: (text) => rowsAt(url.href, text),
    drop: async () => void (await rowsAt(server, `drop database ${name} with (force)`)),
  };
}

async function rowsAt(url: string, text: string): Promise<readonly unknown[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(text)).rows as unknown[];
  } finally {
    await client.end();
  }
}
