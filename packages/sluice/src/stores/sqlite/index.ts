/**
 * Durable jobs in one SQLite file, next to the application's own tables. One machine, any number of processes.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { systemClock } from "../../clock.js";
import type { Clock } from "../../clock.js";
import { JobsError } from "../../errors.js";
import { openDatabase, openForReading, toStoreError } from "./engine.js";
import type { Connection } from "./engine.js";
import { FileBlobs } from "./file-blobs.js";
import { pendingMigrations } from "./migrations.js";
import type { Migration } from "./migrations.js";
import { SqliteStore } from "./sqlite-store.js";
import { StoreThread } from "./store-thread.js";

export type { Connection, SqlValue, Statement } from "./engine.js";
export type { Migration } from "./migrations.js";
export type { SqliteStore } from "./sqlite-store.js";

/** What `enqueue(…, { tx })` and `transact` take and give. */
export type SqliteTx = Connection;

export interface SqliteOptions {
  /** The database file. It and its folder are made when they are not there, for this user alone. */
  readonly path: string;
  readonly clock?: Clock;
  /** Where large payloads go. Default: the path with "-blobs" behind it. */
  readonly blobDir?: string;
  /** False: do not make the file or bring its schema up to date, and refuse to open where it is not. Default true. */
  readonly migrate?: boolean;
  /** For an application that keeps its own tables in the same file. */
  readonly application?: {
    /** Lets `setup` load extensions into the calling thread's connection. Default false. */
    readonly allowExtension?: boolean;
    /** Called once per `sqlite()`, after the store's own tables are there; loading extensions is forbidden again after it. */
    readonly setup?: (connection: Connection & { loadExtension(path: string): void }) => void;
  };
  /** How often to look whether another process has written, in ms. Default 10; a look costs 2 µs. */
  readonly pollMs?: number;
}

/**
 * Opens the store and brings its schema up to date.
 * @throws {JobsError} STORE_UNWRITABLE, STORE_CORRUPT, SQLITE_TOO_OLD, SCHEMA_TOO_NEW, SCHEMA_OUTDATED; STORE_UNAVAILABLE, safe to retry.
 */
export async function sqlite({
  path: givenPath,
  clock = systemClock,
  blobDir,
  migrate = true,
  application = {},
  pollMs = 10,
}: SqliteOptions): Promise<SqliteStore> {
  const path = resolve(givenPath);
  const { allowExtension = false, setup } = application;
  const blobFolder = resolve(blobDir ?? `${path}-blobs`);
  if (!migrate) await refuseOutdatedSchema(path);
  const connection = await openDatabase({ path, allowExtension });
  const blobs = new FileBlobs(blobFolder);
  try {
    const store = await SqliteStore.open({
      path,
      clock,
      connection,
      blobs,
      isMigrating: migrate,
      startThread: async (onHint) => {
        if (allowExtension) connection.enableLoadExtension(true);
        setup?.(connection);
        if (allowExtension) connection.enableLoadExtension(false);
        const sharedNow = clock.sharedNow ?? null;
        return StoreThread.start({ path, blobDir: blobFolder, pollMs, sharedNow }, onHint);
      },
    });
    // Nobody waits for it. There may be no folder yet, or another process does the same: the next one to open tries again.
    void blobs.removeUnfinished(systemClock.now()).catch(() => undefined);
    return store;
  } catch (error) {
    connection.close();
    throw toStoreError(error, path);
  }
}

/**
 * The SQL that `sqlite()` would run to bring the schema up to date. Changes nothing, and makes no file.
 * @throws {JobsError} STORE_CORRUPT, SCHEMA_TOO_NEW
 */
export async function planMigrations({ path: givenPath }: Pick<SqliteOptions, "path">): Promise<readonly Migration[]> {
  const path = resolve(givenPath);
  if (!existsSync(path)) return pendingMigrations(null, path);
  const connection = await openForReading(path);
  try {
    return pendingMigrations(connection, path);
  } catch (error) {
    throw toStoreError(error, path);
  } finally {
    connection.close();
  }
}

async function refuseOutdatedSchema(path: string): Promise<void> {
  if (!existsSync(path)) {
    const message = `There is no file ${path}. Correct the path; \`sluice migrate\` makes a new file.`;
    throw new JobsError("SCHEMA_OUTDATED", message, { path });
  }
  const pending = await planMigrations({ path });
  if (pending.length === 0) return;
  throw new JobsError(
    "SCHEMA_OUTDATED",
    `The schema of ${path} is ${pending.length} step(s) behind this version of Sluice. Run \`sluice migrate\`.`,
    { path, pending: pending.length },
  );
}
