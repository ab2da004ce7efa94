/** The same on PostgreSQL, which takes other texts and other ids than SQLite: where one of both fails, the service does. */
import { randomUUID } from "node:crypto";
import { testPostgresUrl } from "@sluice/test-postgres";
import pg from "pg";
import { expect, test } from "vitest";
import { fuzz } from "./fuzz.js";

test("nothing that is sent makes the service fail on PostgreSQL", { timeout: 180_000 }, async () => {
  const url = testPostgresUrl();
  const schema = `fuzz_${randomUUID().slice(0, 8)}`;
  try {
    const report = await fuzz({ store: `postgres:${url} ${schema}`, seed: 20_262, rounds: 3, runs: 8 });
    expect(report.faults).toEqual([]);
    expect(report.requests).toBeGreaterThan(400);
  } finally {
    const client = new pg.Client(url);
    await client.connect();
    await client.query(`drop schema if exists "${schema}" cascade`);
    await client.end();
  }
});
