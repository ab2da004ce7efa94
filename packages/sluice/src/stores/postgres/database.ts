/**
 * Connections to one database: pools with a place kept for what must not wait, transactions that are run again when the server
 * asks for it, and its errors under our names. Knows nothing of jobs. No step leaves anything behind on a connection, so that
 * a pooler in transaction mode may stand in between.
 */
import { randomInt } from "node:crypto";
import pg from "pg";
import { JobsError } from "../../errors.js";
import type { Dialect, Executor, Sql } from "./sql.js";
import { describeUrl, isOfNoUse, parseUrl, toStoreError } from "./trouble.js";

/**
 * - `main`: enqueue, claim, reads.
 * - `reserved`: settlements and heartbeats: they end what others wait for.
 * - `application`: transactions of the application, which may hold a connection for as long as they like.
 */
export type Lane = "main" | "reserved" | "application";

/** Ends a transaction that somebody else was quicker than; it is run again and sees what they did. */
export class TryAgain extends Error {
  override readonly name = "TryAgain";
}

/** Like a place in a queue: short waits first, with jitter, so that two that met do not meet again. */
export const maxTries = 12;
/** Afterwards one at a time: of many who want the same keys, those who come first would have to be quicker than all others at once. */
const triesAtOnce = 2;
/** A server that can be reached answers a goodbye at once. */
const goodbyeMs = 1_000;

export interface DatabaseOptions {
  readonly url: string;
  readonly dialect: Dialect;
  /** Connections of each lane. */
  readonly connections: Readonly<Record<Lane, number>>;
  /** A statement without an answer for so long is given up, and its connection with it. */
  readonly timeoutMs: number;
}

export class Database {
  readonly dialect: Dialect;
  readonly #options: DatabaseOptions;
  readonly #pools: Readonly<Record<Lane, pg.Pool>>;
  readonly #open = new Set<pg.Client>();
  /** The server's default may be stricter; one statement alone then needs a transaction that says otherwise. */
  #isReadCommitted = true;
  #isClosed = false;

  constructor(options: DatabaseOptions) {
    this.dialect = options.dialect;
    this.#options = options;
    this.#pools = {
      main: this.#pool("main"),
      reserved: this.#pool("reserved"),
      application: this.#pool("application"),
    };
  }

  /** Where it is, without the password. */
  get place(): string {
    return describeUrl(this.#options.url);
  }

  /** One statement, committed by itself. */
  async rows<Row>(statement: string, values: readonly unknown[] = [], lane: Lane = "main"): Promise<readonly Row[]> {
    if (!this.#isReadCommitted) return this.transaction((sql) => sql.rows<Row>(statement, values), lane);
    return this.#untilPlaced(() => this.#use(lane, (session) => this.dialect.on(session).rows<Row>(statement, values)));
  }

  /**
   * All of `run` commits, or none. It is run again when the server could not place it among others (deadlock, serialization), or
   * when it throws `TryAgain`: nothing of the first time is left then.
   */
  async transaction<T>(run: (sql: Sql) => Promise<T>, lane: Lane = "main"): Promise<T> {
    return this.#untilPlaced((tries) =>
      this.#transact(lane, async (session) => {
        if (tries > triesAtOnce) await session.query(standInLine, [this.dialect.schema]);
        return run(this.dialect.on(session));
      }),
    );
  }

  /**
   * From here on the server, too, gives the transaction up when it hears nothing: before what locks jobs in a transaction of the
   * application's, which may be silent for as long as it likes until then.
   */
  async limitSilence(tx: Executor): Promise<void> {
    await tx.query("select set_config('idle_in_transaction_session_timeout', $1, true)", [String(this.#limitMs)]);
  }

  /** A transaction of the application's, run once: what it does besides writing here is not ours to repeat. */
  async transactOnce<T>(run: (client: Executor) => Promise<T>): Promise<T> {
    try {
      return await this.#transact("application", run);
    } catch (error) {
      throw this.#named(error);
    }
  }

  /** One statement on a connection of the application's lane. */
  async application(text: string, values: readonly unknown[]): Promise<{ readonly rows: readonly unknown[] }> {
    try {
      return await this.#use("application", (session) => session.query(text, values));
    } catch (error) {
      throw this.#named(error);
    }
  }

  /** A connection outside the pools, without a time limit for its statements: for migrations. */
  async alone<T>(run: (client: Executor) => Promise<T>): Promise<T> {
    let client: pg.Client | null = null;
    try {
      const { url, timeoutMs } = this.#options;
      client = await connect({ ...clientConfig(url, "migrate"), connectionTimeoutMillis: timeoutMs });
      const session = new Session(client);
      const { rows } = await session.query("select current_setting('default_transaction_isolation') as isolation");
      this.#isReadCommitted = (rows[0] as { isolation: string }).isolation === "read committed";
      return await run(session);
    } catch (error) {
      throw this.#named(error);
    } finally {
      if (client !== null) await leave(client);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Object.values(this.#pools).map((pool) => pool.end()));
    // The pools have said goodbye, and do not wait for those who no longer answer.
    for (const client of this.#open) void leave(client);
  }

  // ── one use of a connection ───────────────────────────────────────────────

  /** A little sooner than ours, so that what the server says arrives. */
  get #limitMs(): number {
    return Math.ceil(this.#options.timeoutMs * 0.9);
  }

  /**
   * What we give up, the server must give up as well. Otherwise it waits for a lock with nobody to tell, one session more with each
   * time that we try again; and where the network died without a word, the transaction keeps its locks until TCP gives up: for hours.
   */
  get #limits(): string {
    return `set local lock_timeout = ${this.#limitMs}; set local idle_in_transaction_session_timeout = ${this.#limitMs}`;
  }

  /** Runs it again while the server, or `TryAgain`, asks for it. */
  async #untilPlaced<T>(run: (tries: number) => Promise<T>, isWorthAnotherTry = isUnplaced): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await run(tries);
      } catch (error) {
        if (!isWorthAnotherTry(error) || tries >= maxTries) throw this.#named(error);
        // Whoever was quicker has committed by now, and what it took can be locked: the sooner the better.
        if (!isTryAgain(error)) await pause(tries);
      }
    }
  }

  /** Begins, runs, commits; rolls back what throws. */
  async #transact<T>(lane: Lane, run: (session: Session) => Promise<T>): Promise<T> {
    return this.#use(lane, async (session) => {
      try {
        await session.query(lane === "application" ? begin : `${begin}; ${this.#limits}`);
        const value = await run(session);
        await session.query("commit");
        return value;
      } catch (error) {
        // On a connection that does not answer, nobody would answer the rollback either.
        if (!session.isOfNoUse) await session.query("rollback").catch(() => undefined);
        throw isInFailedTransaction(error) ? (session.failure ?? error) : error;
      }
    });
  }

  async #use<T>(lane: Lane, run: (session: Session) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new JobsError("STORE_CLOSED", "The PostgreSQL store was closed. Open it again.");
    const client = await this.#pools[lane].connect().catch(throwAsDriver);
    const session = new Session(client);
    try {
      return await run(session);
    } finally {
      client.release(session.isOfNoUse);
    }
  }

  /** What the application has thrown in its own transaction is its own, whatever it looks like. */
  #named(error: unknown): unknown {
    if (error instanceof TryAgain) {
      return tooBusy(this.place);
    }
    return error instanceof Error && ofTheDriver.has(error) ? toStoreError(error, this.place) : error;
  }

  #pool(lane: Lane): pg.Pool {
    const { url, timeoutMs, connections } = this.#options;
    const pool = new pg.Pool({
      ...clientConfig(url, lane),
      // The application's own numbers are read as everywhere else in the application.
      ...(lane === "application" ? {} : { types: { getTypeParser } }),
      max: connections[lane],
      query_timeout: timeoutMs,
      connectionTimeoutMillis: timeoutMs,
      // A place that was given back may be taken when it is needed: the reserved ones stay open.
      idleTimeoutMillis: lane === "reserved" ? 0 : 30_000,
      // A process ends when it has nothing more to do, and not because a store is open.
      allowExitOnIdle: true,
    });
    // A connection that ends while nobody uses it is no news; one that ends in use rejects its statement. pg emits the error on the
    // client as well, sometimes before the pool listens.
    pool.on("error", () => undefined);
    pool.on("connect", (client) => {
      client.on("error", () => undefined);
      this.#open.add(client);
      client.on("end", () => this.#open.delete(client));
    });
    return pool;
  }
}

/** Others were quicker, again and again. */
export function tooBusy(place: string): JobsError {
  const text = `${place} is too busy: others were quicker ${maxTries} times. It is safe to try again.`;
  return new JobsError("STORE_UNAVAILABLE", text, { place });
}

const begin = "begin isolation level read committed";
const standInLine = "select pg_advisory_xact_lock(7562597, hashtext($1))";

/** Errors that came from the driver, and not from what an application does in its transaction. */
const ofTheDriver = new WeakSet<Error>();

function throwAsDriver(error: Error): never {
  ofTheDriver.add(error);
  throw error;
}

/** A connection while one statement or one transaction uses it. Knows what went wrong on it, also where the application caught that. */
class Session implements Executor {
  readonly #client: pg.ClientBase;
  /** The last one that was more than the consequence of another. */
  failure: Error | null = null;
  /** Not for others either: it is broken, or leads to a server that is no longer the right one. */
  isOfNoUse = false;

  constructor(client: pg.ClientBase) {
    this.#client = client;
  }

  async query(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly unknown[] }> {
    try {
      const result = await this.#client.query(text, values as unknown[] | undefined);
      if (text === "commit" && result.command === "ROLLBACK") throw this.#failureBeforeCommit();
      return result;
    } catch (error) {
      const failure = error as Error;
      ofTheDriver.add(failure);
      if (!isInFailedTransaction(failure)) this.failure = failure;
      this.isOfNoUse ||= isOfNoUse(failure);
      throw failure;
    }
  }

  /** To the server, the commit of a transaction that a failed statement has ended is no error. */
  #failureBeforeCommit(): Error {
    return this.failure ?? new Error("The transaction was rolled back: a statement in it had failed.");
  }
}

/** @param purpose For whoever looks at the sessions on the server. */
export function clientConfig(url: string, purpose: Lane | "lease" | "listen" | "migrate"): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: `sluice ${purpose}`,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
  };
}

/** A client that somebody else keeps. Errors on it are for who uses it: an event that nobody hears would end the process. */
export async function connect(config: pg.ClientConfig): Promise<pg.Client> {
  const client = newClient(config);
  client.on("error", () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    void leave(client);
    return throwAsDriver(error as Error);
  }
}

/** Reads the files that the URL names. @throws {JobsError} INVALID_OPTIONS */
export function newClient(config: pg.ClientConfig): pg.Client {
  try {
    return new pg.Client(config);
  } catch (cause) {
    const { message } = cause as Error;
    throw new JobsError("INVALID_OPTIONS", `The URL cannot be used: ${message}. Correct its parameters.`, { cause });
  }
}

/** Says goodbye, and does not wait for an answer that may never come. */
export async function leave(client: pg.Client): Promise<void> {
  const { stream } = client.connection;
  await new Promise<void>((resolve) => {
    const limit = setTimeout(() => {
      stream.destroy();
      resolve();
    }, goodbyeMs);
    client.end().then(
      () => {
        clearTimeout(limit);
        resolve();
      },
      () => undefined,
    );
  });
}

const int8 = 20;
const numeric = 1700;

/** Instants and counts fit a JavaScript number: 2^53 ms are 285,000 years. */
function getTypeParser(oid: number, format?: "text" | "binary"): unknown {
  if (oid === int8 || oid === numeric) return Number;
  return pg.types.getTypeParser(oid, format);
}

const serializationFailure = "40001";
const deadlockDetected = "40P01";
const inFailedTransaction = "25P02";

function isUnplaced(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return isTryAgain(error) || code === serializationFailure || code === deadlockDetected;
}

function isTryAgain(error: unknown): boolean {
  return error instanceof TryAgain;
}

function isInFailedTransaction(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === inFailedTransaction;
}

function pause(tries: number): Promise<void> {
  const ms = randomInt(Math.min(2 ** tries, 200));
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** @throws {JobsError} INVALID_OPTIONS for what is no address of a PostgreSQL database */
export function checkUrl(option: "url" | "listenUrl", url: string): void {
  if (isAddress(url)) return;
  // Not with the URL itself, nor with the error of its parser: there may be a password in it.
  throw new JobsError(
    "INVALID_OPTIONS",
    `${option} is not the address of a PostgreSQL database. Give one like postgres://user:password@host:5432/database, ` +
      "with special characters in the password percent-encoded.",
    { option },
  );
}

function isAddress(url: string): boolean {
  try {
    const { username, pathname, search, hash, searchParams } = parseUrl(url);
    const port = searchParams.get("port");
    return (
      /^postgres(ql)?:\/\//i.test(url) &&
      // A "/", "?" or "#" in the password makes a host of the user, and shows the password as something else.
      hash === "" &&
      !(username === "" && /@/.test(pathname + search)) &&
      (port === null || (Number(port) >= 1 && Number(port) <= 65_535))
    );
  } catch {
    return false;
  }
}
