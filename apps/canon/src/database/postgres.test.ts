/**
 * Opening the database, by one process and by several.
 */
import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PostgresTx } from "../library/postgres/connection.js";
import { setUpLibrary } from "../library/postgres/postgres-library.js";
import { openPostgres } from "./postgres.js";
import { aPostgresDatabase, type PostgresDatabase } from "./postgres.test.target.js";

let database: PostgresDatabase;

beforeEach(async () => {
  database = await aPostgresDatabase();
});
afterEach(() => database.drop());

test("processes that find no library, all at once, make its tables once", async () => {
  await (await openPostgres(database.url)).store.close();
  await database.rows("drop schema canon cascade");

  const opened = await Promise.all([1, 2, 3, 4].map(() => openPostgres(database.url)));

  expect(await database.rows("select version from canon.migrations")).toEqual([{ version: 1 }]);
  for (const { store } of opened) await store.close();
});

test("a schema that a newer version has made is left alone", async () => {
  await (await openPostgres(database.url)).store.close();
  await database.rows("insert into canon.migrations (version) values (999)");

  await expect(openPostgres(database.url)).rejects.toThrow(/at version 999.*Update canon/);
});

test("a server without pgvector is told of in one sentence", async () => {
  const { store, notice } = await openPostgres(database.url);
  await store.close();

  expect(notice).toMatch(
    /^The extension pgvector is not installed.*in memory.*install pgvector.*create extension vector.*\.$/,
  );
  expect(notice).not.toContain("\n");
});

// PGlite takes seconds to start, many of them on a busy machine.
describe("where pgvector is to be had", { timeout: 120_000 }, () => {
  const setUp = (db: PGlite) => setUpLibrary(db);

  test("it is created, and found again in whatever schema it is", async () => {
    const db = await PGlite.create({ extensions: { vector } });
    const created = await setUp(db);
    await db.exec(`drop extension vector; create schema "Odd ""one"; create extension vector schema "Odd ""one"`);

    const found = await setUp(db);

    expect(created).toEqual({ isThere: true, schema: "canon" });
    expect(found).toEqual({ isThere: true, schema: 'Odd "one' });
    await db.close();
  });

  test("a role that may not create it goes on without, and its tables are made all the same", async () => {
    const db = await PGlite.create({ extensions: { vector } });
    await db.exec("create role plain; grant create on database postgres to plain; set role plain");

    const found = await db.transaction((tx) => setUpLibrary(tx as unknown as PostgresTx));

    expect(found).toEqual({ isThere: false, why: "not created in this database" });
    expect((await db.query("select version from canon.migrations")).rows).toEqual([{ version: 1 }]);
    await db.close();
  });
});
