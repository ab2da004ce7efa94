/**
 * Where the application keeps its data in a test: a place for each database it runs on.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { aPostgresDatabase } from "./database/postgres.test.target.js";

export interface AppPlace {
  /** The environment that names it. */
  readonly environment: NodeJS.ProcessEnv;
  /** How many rows the library has, whoever wrote them. */
  count(table: "objects" | "chunks" | "import_failures"): Promise<number>;
  /** Takes it away again. No process may use it any more. */
  dispose(): Promise<void>;
}

export interface AppTarget {
  /** For the names of the tests. */
  readonly name: string;
  open(): Promise<AppPlace>;
}

export const onSqlite: AppTarget = {
  name: "SQLite",
  async open() {
    const folder = mkdtempSync(join(tmpdir(), "canon-"));
    return {
      environment: { SLUICE_DATA: folder },
      async count(table) {
        const db = new DatabaseSync(join(folder, "canon.db"));
        const { n } = db.prepare(`select count(*) as n from canon_${table}`).get() as { n: number };
        db.close();
        return n;
      },
      dispose: async () => rmSync(folder, { recursive: true }),
    };
  },
};

export const onPostgres: AppTarget = {
  name: "PostgreSQL",
  async open() {
    const database = await aPostgresDatabase();
    return {
      environment: { SLUICE_STORE: database.url },
      async count(table) {
        const [row] = (await database.rows(`select count(*)::integer as n from canon.${table}`)) as { n: number }[];
        return row!.n;
      },
      dispose: () => database.drop(),
    };
  },
};
