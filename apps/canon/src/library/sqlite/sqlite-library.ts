/**
 * The library in the SQLite file of the jobs. Reads and transactions share the calling thread's connection, so every call is done
 * when it returns.
 */
import type { Connection } from "sluice/sqlite";
import type { Library } from "../library.js";
import * as imports from "./imports.js";
import * as objects from "./objects.js";
import { rankByVector, rankByWords } from "./ranking.js";

/** As much of a `SqliteStore` as the library needs. */
export interface SqliteHome {
  readonly connection: Connection;
  write<T>(work: (tx: Connection) => T): Promise<Awaited<T>>;
}

/** The tables must be there, see tables.ts. */
export function sqliteLibrary(home: SqliteHome): Library<Connection> {
  const { connection } = home;
  return {
    write: (work) => home.write(work),
    addImport: imports.addImport,
    saveBatch: objects.saveBatch,
    finishReading: imports.finishReading,
    resumeReading: imports.resumeReading,
    endImport: imports.endImport,
    forgetBlob: imports.forgetBlob,
    findImport: async (game, id) => imports.findImport(connection, game, id),
    listImports: async (game) => imports.listImports(connection, game),
    listFailures: async (importId, page) => imports.listFailures(connection, importId, page),
    listSpentBlobs: async () => imports.listSpentBlobs(connection),
    findObject: async (game, id) => objects.findObject(connection, game, id),
    makeSearchable: objects.makeSearchable,
    giveUpEmbedding: objects.giveUpEmbedding,
    rankByWords: async (query) => rankByWords(connection, query),
    rankByVector: async (query) => rankByVector(connection, query),
  };
}
