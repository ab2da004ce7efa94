/**
 * Opens SQLite and gives its errors our names. Hides which driver is used and what a file must look like before it is trusted;
 * knows nothing of jobs.
 */
import { randomInt } from "node:crypto";
import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JobsError } from "../../errors.js";
import type { SynchronousTx } from "../../store.js";

/** What a statement takes and gives. */
export type SqlValue = string | number | bigint | null | Uint8Array;

export interface Statement {
  run(...parameters: SqlValue[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint };
  get(...parameters: SqlValue[]): unknown;
  all(...parameters: SqlValue[]): unknown[];
}

/** As much of a SQLite connection as the store needs: node:sqlite, `@photostructure/sqlite` and better-sqlite3 all satisfy it. */
export interface Connection extends SynchronousTx {
  prepare(sql: string): Statement;
  exec(sql: string): unknown;
}

/** A connection that the store opened itself. */
export interface Database extends Connection {
  readonly isTransaction: boolean;
  loadExtension(path: string): void;
  enableLoadExtension(isEnabled: boolean): void;
  close(): void;
}

/** Longest wait for another process's transaction before STORE_UNAVAILABLE. Less than a worker's lease of 15 s. */
const busyLimitMs = 8_000;

/**
 * Opens the file, which is made if it is not there, readable by its owner alone.
 * SQLite gives its -wal and -shm files the mode of the database, so these follow.
 * @throws {JobsError} STORE_UNWRITABLE, STORE_CORRUPT, SQLITE_TOO_OLD, STORE_UNAVAILABLE
 */
export async function openDatabase({
  path,
  allowExtension = false,
}: {
  readonly path: string;
  readonly allowExtension?: boolean;
}): Promise<Database> {
  const driver = await loadDriver();
  prepareFile(path);
  return retryBusyAsync(path, () => connect(driver, { path, allowExtension }));
}

/**
 * Opens a file that is there and changes nothing about it.
 * @throws {JobsError} STORE_UNWRITABLE, STORE_CORRUPT, STORE_UNAVAILABLE
 */
export async function openForReading(path: string): Promise<Database> {
  const driver = await loadDriver();
  return retryBusyAsync(path, () => {
    const options = { ...connectOptions, allowExtension: false, readOnly: true };
    const database = new driver.DatabaseSync(path, options);
    try {
      database.exec(readsSchema);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/** @throws {JobsError} SQLITE_TOO_OLD */
export function refuseOldSqlite(connection: Connection): void {
  const { version } = connection.prepare("select sqlite_version() as version").get() as { version: string };
  if (isNewEnough(version)) return;
  throw new JobsError(
    "SQLITE_TOO_OLD",
    `This connection runs SQLite ${version}, which can damage a database that several connections write. ` +
      "Install @photostructure/sqlite 1.2.1 or newer, use Node.js 24.13 or newer, or update the driver that you bring yourself; it needs SQLite 3.51.3.",
    { version },
  );
}

/** 3.51.3 repairs the WAL-reset bug, which damages a file that several connections write. */
function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  return major * 1e6 + minor * 1e3 + patch >= 3_051_003;
}

function isBusy(error: unknown): boolean {
  const result = resultCode(error);
  return result === sqlite.busy || result === sqlite.locked;
}

/** An error of the driver under the name that callers know; everything else as it is. */
export function toStoreError(error: unknown, path: string): unknown {
  switch (resultCode(error)) {
    case sqlite.busy:
    case sqlite.locked:
      return new JobsError(
        "STORE_UNAVAILABLE",
        `Another process has been writing to ${path} for more than ${busyLimitMs / 1_000} s. Try again; look for a transaction that was left open.`,
        { path, cause: error },
      );
    case sqlite.full:
      return new JobsError(
        "STORE_UNAVAILABLE",
        `There is no space left for ${path}. Nothing was written. Free some space and try again.`,
        { path, cause: error },
      );
    case sqlite.ioError:
    case sqlite.outOfMemory:
    case sqlite.protocol:
      return new JobsError(
        "STORE_UNAVAILABLE",
        `The system could not read or write ${path}. Check the disk and the system's log, then try again.`,
        { path, cause: error },
      );
    case sqlite.readOnly:
    case sqlite.cannotOpen:
    case sqlite.permission:
    case sqlite.authorization:
      return unwritable(path, error);
    case sqlite.corrupt:
      return new JobsError(
        "STORE_CORRUPT",
        `The database ${path} is damaged. Stop all its processes, keep a copy, and restore a backup or try "sqlite3 ${path} .recover".`,
        { path, cause: error },
      );
    case sqlite.notADatabase:
      return new JobsError(
        "STORE_CORRUPT",
        `${path} is not a SQLite database. Choose another path, or move this file out of the way.`,
        { path, cause: error },
      );
    default:
      return error;
  }
}

/** Runs `attempt` again while another process holds the lock. Blocks the thread meanwhile: for the store thread only. */
export function retryBusy<T>(path: string, attempt: () => T): T {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; ;) {
    try {
      return attempt();
    } catch (error) {
      if (!isBusy(error) || waitedMs > busyLimitMs) throw toStoreError(error, path);
    }
    const ms = pauseMs(waitedMs);
    Atomics.wait(cell, 0, 0, ms);
    waitedMs += ms + busyTimeoutMs;
  }
}

/** As `retryBusy`, for the caller's thread: lets the event loop run meanwhile. */
export async function retryBusyAsync<T>(path: string, attempt: () => T): Promise<T> {
  for (let waitedMs = 0; ;) {
    try {
      return attempt();
    } catch (error) {
      if (!isBusy(error) || waitedMs > busyLimitMs) throw toStoreError(error, path);
    }
    const ms = Math.ceil(pauseMs(waitedMs));
    await sleep(ms);
    waitedMs += ms + busyTimeoutMs;
  }
}

// SQLite's own handler waits in fixed steps of up to 100 ms, so that waiting processes collide again and again, and one with bad
// luck starves. It gets a few milliseconds, which is enough for one group commit; after that we wait ourselves, with jitter.
const busyTimeoutMs = 5;

function pauseMs(waitedMs: number): number {
  const longest = waitedMs < 100 ? 2_000 : 10_000;
  return randomInt(200, longest) / 1_000;
}

interface Driver {
  DatabaseSync: new (
    path: string,
    options: { allowExtension: boolean; timeout: number; enableForeignKeyConstraints: boolean; readOnly?: boolean },
  ) => Database;
}

type DriverName = "node:sqlite" | "@photostructure/sqlite";

/**
 * The drivers to try, best first. Node's own SQLite is one dependency less, from the version on that has what we need of its API;
 * a package with the same API stands in for it. A SQLite that is too old comes last: opening the file then says what to do.
 */
export function driversFor(versions: {
  readonly node: string;
  readonly sqlite?: string | undefined;
}): readonly [DriverName, ...DriverName[]] {
  if (Number(versions.node.split(".")[0]) < 24) return ["@photostructure/sqlite"];
  return isNewEnough(versions.sqlite ?? "0")
    ? ["node:sqlite", "@photostructure/sqlite"]
    : ["@photostructure/sqlite", "node:sqlite"];
}

async function loadDriver(): Promise<Driver> {
  const { node, sqlite } = process.versions as { node: string; sqlite?: string };
  // Not written as literals: the types of Node 20 do not know the module.
  const [first, second] = driversFor({ node, sqlite });
  try {
    return (await import(first)) as Driver;
  } catch (error) {
    // Not installed, not built for this system, or a Node.js that was compiled without it.
    if (second === undefined) throw error;
    return (await import(second)) as Driver;
  }
}

function prepareFile(path: string): void {
  try {
    makeFolder(dirname(path));
    // Only ever created here, never opened when it exists: closing any descriptor of a database file
    // drops the locks that SQLite holds on it in this process.
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw unwritable(path, error);
  }
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    // The -wal and -shm files are made beside it.
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unwritable(path, error);
  }
}

/**
 * The folder with those it lies in, for this user alone. Not with `recursive: true`: where the system answers ENOENT for a
 * folder that it will not make, as /proc does, Node 20 tries for ever.
 */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process was faster.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

const connectOptions = { timeout: busyTimeoutMs, enableForeignKeyConstraints: false };

/** Reads the header and the schema, and so notices what is no database. Reading every page would take minutes on a large file. */
const readsSchema = "pragma schema_version; select count(*) from sqlite_schema;";

function connect(
  driver: Driver,
  { path, allowExtension }: { readonly path: string; readonly allowExtension: boolean },
): Database {
  const database = new driver.DatabaseSync(path, { ...connectOptions, allowExtension });
  try {
    refuseOldSqlite(database);
    database.exec(readsSchema);
    database.exec("pragma journal_mode = wal; pragma synchronous = full; pragma temp_store = memory;");
    database.exec(`pragma journal_size_limit = ${64 * 1024 * 1024}; pragma cache_size = -${16 * 1024};`);
    // A page that changes in ten commits is copied to the database once per checkpoint: four times SQLite's default distance
    // between checkpoints is a tenth off each commit, for a WAL of 16 MB.
    database.exec("pragma wal_autocheckpoint = 4000;");
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function unwritable(path: string, cause: unknown): JobsError {
  return new JobsError(
    "STORE_UNWRITABLE",
    `Cannot write to ${path}. Give this user the right to write the file and its folder, or choose another path.`,
    { path, cause },
  );
}

/** Primary result codes, sqlite.org/rescode.html. */
const sqlite = {
  permission: 3,
  busy: 5,
  locked: 6,
  outOfMemory: 7,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  protocol: 15,
  authorization: 23,
  notADatabase: 26,
} as const;

/** For drivers that name the code instead of numbering it (better-sqlite3). */
const codeNames: ReadonlyMap<string, number> = new Map([
  ["SQLITE_PERM", sqlite.permission],
  ["SQLITE_BUSY", sqlite.busy],
  ["SQLITE_LOCKED", sqlite.locked],
  ["SQLITE_NOMEM", sqlite.outOfMemory],
  ["SQLITE_READONLY", sqlite.readOnly],
  ["SQLITE_IOERR", sqlite.ioError],
  ["SQLITE_CORRUPT", sqlite.corrupt],
  ["SQLITE_FULL", sqlite.full],
  ["SQLITE_CANTOPEN", sqlite.cannotOpen],
  ["SQLITE_PROTOCOL", sqlite.protocol],
  ["SQLITE_AUTH", sqlite.authorization],
  ["SQLITE_NOTADB", sqlite.notADatabase],
]);

function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const { errcode, code } = error as { errcode?: unknown; code?: unknown };
  // The low byte is the primary code, the rest says which kind of it.
  if (typeof errcode === "number") return errcode & 0xff;
  if (typeof code !== "string") return undefined;
  return codeNames.get(code.split("_").slice(0, 2).join("_"));
}
