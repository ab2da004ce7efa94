/**
 * The library in PostgreSQL under its suite: on a real server, whose own vectors this process compares, and with pgvector in
 * PostgreSQL compiled to WebAssembly.
 */
import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";
import { openPostgres } from "../../database/postgres.js";
import { aPostgresDatabase } from "../../database/postgres.test.target.js";
import { describeLibrary, type LibraryTarget } from "../conformance/index.js";
import { describeRetrieval } from "../conformance/retrieval.js";
import type { PostgresHome, PostgresTx } from "./connection.js";
import { postgresLibrary, setUpLibrary } from "./postgres-library.js";

const onServer: LibraryTarget = {
  name: "PostgreSQL",
  async open() {
    const database = await aPostgresDatabase();
    const { store, library } = await openPostgres(database.url);
    return {
      library,
      async dispose() {
        await store.close();
        await database.drop();
      },
    };
  },
};

const withPgvector: LibraryTarget = {
  name: "PostgreSQL (PGlite) with pgvector",
  async open() {
    const db = await PGlite.create({ extensions: { vector } });
    const home: PostgresHome = {
      query: (text, values) => db.query(text, values as unknown[]),
      write: (work) => db.transaction(async (tx) => work(tx as unknown as PostgresTx)) as never,
    };
    const pgvector = await home.write(setUpLibrary);
    if (!pgvector.isThere) throw new Error("PGlite came without pgvector.");
    return { library: postgresLibrary(home, pgvector), dispose: () => db.close() };
  },
};

for (const target of [onServer, withPgvector]) {
  describeLibrary(target);
  describeRetrieval(target);
}
