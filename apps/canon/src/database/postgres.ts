/**
 * One PostgreSQL database with the jobs in the schema sluice and the library in the schema canon.
 */
import { postgres, type PostgresTx } from "sluice/postgres";
import type { Pgvector } from "../library/postgres/pgvector.js";
import { noticeOf, postgresLibrary, setUpLibrary } from "../library/postgres/postgres-library.js";
import type { Database } from "./database.js";

export async function openPostgres(url: string): Promise<Database<PostgresTx>> {
  let pgvector: Pgvector | undefined;
  const store = await postgres({
    url,
    application: {
      setup: async (tx) => {
        pgvector = await setUpLibrary(tx);
      },
    },
  });
  return { store, library: postgresLibrary(store, pgvector!), notice: noticeOf(pgvector!) };
}
