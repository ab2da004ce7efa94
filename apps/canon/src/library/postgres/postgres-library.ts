/**
 * The library in the PostgreSQL database of the jobs, in a schema of its own.
 */
import type { Library } from "../library.js";
import type { PostgresHome, PostgresTx } from "./connection.js";
import * as imports from "./imports.js";
import { migrateLibrary } from "./migrations.js";
import * as objects from "./objects.js";
import { findPgvector, PgvectorSearch, type Pgvector } from "./pgvector.js";
import { rankByVector, rankByWords } from "./ranking.js";
import { VectorMemory } from "./vector-memory.js";

/**
 * Brings the schema up to date, and tells who will compare vectors. Call in a transaction that no other process is in at the same
 * time.
 */
export async function setUpLibrary(tx: PostgresTx): Promise<Pgvector> {
  await migrateLibrary(tx);
  return findPgvector(tx);
}

/** The tables must be there, see `setUpLibrary`. */
export function postgresLibrary(home: PostgresHome, pgvector: Pgvector): Library<PostgresTx> {
  const vectors = pgvector.isThere ? new PgvectorSearch(home, pgvector) : new VectorMemory(home);
  return {
    write: (work) => home.write(work),
    addImport: imports.addImport,
    saveBatch: objects.saveBatch,
    finishReading: imports.finishReading,
    resumeReading: imports.resumeReading,
    endImport: imports.endImport,
    forgetBlob: imports.forgetBlob,
    findImport: (game, id) => imports.findImport(home, game, id),
    listImports: (game) => imports.listImports(home, game),
    listFailures: (importId, page) => imports.listFailures(home, importId, page),
    listSpentBlobs: () => imports.listSpentBlobs(home),
    findObject: (game, id) => objects.findObject(home, game, id),
    makeSearchable: objects.makeSearchable,
    giveUpEmbedding: objects.giveUpEmbedding,
    rankByWords: (query) => rankByWords(home, query),
    rankByVector: (query) => rankByVector(home, vectors, query),
  };
}

/** What whoever runs a search should know; null with pgvector. */
export function noticeOf(pgvector: Pgvector): string | null {
  if (pgvector.isThere) return null;
  const install = pgvector.why === "not installed on the server" ? "install pgvector on the server, " : "";
  return (
    `The extension pgvector is ${pgvector.why}: this process compares vectors itself and keeps up to 512 MB of them in memory, ` +
    `with the same answers; to let PostgreSQL do it, ${install}run "create extension vector" in this database as a superuser, ` +
    "and start again."
  );
}
