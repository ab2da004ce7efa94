/**
 * Opens the database that SLUICE_STORE names: the store of the jobs, and the library in the same place. The only room that knows
 * there is more than one kind.
 */
import type { Store } from "sluice";
import type { Library } from "../library/library.js";
import { sqlitePath, type Location } from "./location.js";
import { openSqlite } from "./sqlite.js";

/** Close the store to close both. */
export interface Database<Tx = unknown> {
  readonly store: Store<Tx>;
  readonly library: Library<Tx>;
  /** A sentence that whoever runs a search should read at start; null when there is nothing to say. */
  readonly notice: string | null;
}

/** Brings every table up to date. Safe from several processes at once. @throws {JobsError} what the stores throw. */
export async function openDatabase(location: Location, dataFolder: string): Promise<Database> {
  switch (location.kind) {
    case "sqlite":
      return openSqlite(sqlitePath(location, dataFolder));
    case "postgres": {
      // The driver is loaded by those who use it.
      const { openPostgres } = await import("./postgres.js");
      return openPostgres(location.url);
    }
  }
}
