/**
 * One SQLite file with the jobs and the library.
 */
import { sqlite, type Connection } from "sluice/sqlite";
import { prepareSearch } from "../library/sqlite/index-tables.js";
import { sqliteLibrary } from "../library/sqlite/sqlite-library.js";
import { migrateLibrary } from "../library/sqlite/tables.js";
import type { Database } from "./database.js";

export async function openSqlite(path: string): Promise<Database<Connection>> {
  const store = await sqlite({ path, application: { allowExtension: true, setup: prepareSearch } });
  await store.write(migrateLibrary);
  return { store, library: sqliteLibrary(store), notice: null };
}
