/**
 * Connections to one database: pools with a place kept for what must not wait, transactions that are run again when the server
 * asks for it, and its errors under our names. Knows nothing of jobs. No step leaves anything behind on a connection, so that
 * a pooler in transaction mode may stand in between.
 */
import { randomInt } from "node:crypto";
import pg from "pg";
import { JobsError } from "../../errors.js";
import type { Dialect, Executor, Sql } from "./sql.js";
import { describeUrl, isConnectionTrouble, toStoreError } from "./trouble.js";

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
  /** The server's default may be stricter; one statement alone then needs a transaction that says otherwise. */
  #isReadCommitted = true;

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
    for (let tries = 1; ; tries++) {
      try {
        const text = this.dialect.text(statement);
        const { rows } = await this.#pools[lane].query(text, values as unknown[]);
        return rows as readonly Row[];
      } catch (error) {
        if (!isWorthAnotherTry(error) || tries >= maxTries) throw toStoreError(error, this.place);
        await pause(tries);
      }
    }
  }

  /**
   * All of `run` commits, or none. It is run again when the server could not place it among others (deadlock, serialization), or
   * when it throws `TryAgain`: nothing of the first time is left then.
   */
  async transaction<T>(run: (sql: Sql) => Promise<T>, lane: Lane = "main"): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#transact(lane, (client) => run(this.dialect.on(client)));
      } catch (error) {
        if (!(error instanceof TryAgain || isWorthAnotherTry(error)) || tries >= maxTries) {
          throw toStoreError(error, this.place);
        }
        await pause(tries);
      }
    }
  }

  /**
   * A transaction of the application's, run once: what it does besides writing here is not ours to repeat. Errors of its statements
   * get our names; what else it throws is its own, though it may look like an error of a database: "timeout", ECONNREFUSED.
   */
  async transactOnce<T>(run: (client: Executor) => Promise<T>): Promise<T> {
    const failures = new Set<unknown>();
    try {
      return await this.#transact("application", async (client) => {
        try {
          return await run(noting(failures, client));
        } catch (error) {
          throw failures.has(error) ? error : new OfTheApplication(error);
        }
      });
    } catch (error) {
      if (error instanceof OfTheApplication) throw error.thrown;
      const cause =
        error instanceof RolledBack ? [...failures].findLast((failure) => codeOf(failure) !== inFailed) : error;
      throw toStoreError(cause, this.place);
    }
  }

  /** One statement on a connection of the application's lane. */
  async application(text: string, values: readonly unknown[]): Promise<{ readonly rows: readonly unknown[] }> {
    try {
      return await this.#pools.application.query(text, values as unknown[]);
    } catch (error) {
      throw toStoreError(error, this.place);
    }
  }

  /** A connection outside the pools, without a time limit: for migrations. */
  async alone<T>(run: (client: Executor) => Promise<T>): Promise<T> {
    const client = new pg.Client(clientConfig(this.#options.url));
    client.on("error", () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<{ isolation: string }>(
        "select current_setting('default_transaction_isolation') as isolation",
      );
      this.#isReadCommitted = rows[0]?.isolation === "read committed";
      return await run(executorOf(client));
    } catch (error) {
      throw toStoreError(error, this.place);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#pools).map((pool) => pool.end()));
  }

  async #transact<T>(lane: Lane, run: (client: Executor) => Promise<T>): Promise<T> {
    const client = await this.#pools[lane].connect();
    let broken: Error | boolean = false;
    try {
      await client.query("begin isolation level read committed");
      const value = await run(executorOf(client));
      const { command } = await client.query("commit");
      if (command === "ROLLBACK") throw new RolledBack("A statement failed, and its error was caught.");
      return value;
    } catch (error) {
      // On a connection that does not answer, nobody would answer the rollback either.
      if (error instanceof Error && isConnectionTrouble(error)) broken = error;
      else await client.query("rollback").catch((failure: Error) => (broken = failure));
      throw error;
    } finally {
      client.release(broken);
    }
  }

  #pool(lane: Lane): pg.Pool {
    const { url, timeoutMs, connections } = this.#options;
    const pool = new pg.Pool({
      ...clientConfig(url),
      max: connections[lane],
      query_timeout: timeoutMs,
      connectionTimeoutMillis: timeoutMs,
      idleTimeoutMillis: 30_000,
      // A process ends when it has nothing more to do, and not because a store is open.
      allowExitOnIdle: true,
    });
    // A connection that ends while nobody uses it is no news; one that ends in use rejects its statement. pg emits the error on the
    // client as well, sometimes before the pool listens.
    pool.on("error", () => undefined);
    pool.on("connect", (client) => client.on("error", () => undefined));
    return pool;
  }
}

export function clientConfig(url: string): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: "sluice",
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    types: { getTypeParser },
  };
}

/** What an application's work throws, on its way out past those who would judge it. */
class OfTheApplication extends Error {
  readonly thrown: unknown;

  constructor(thrown: unknown) {
    super("Thrown by the application.");
    this.thrown = thrown;
  }
}

/** What the server answers to the commit of a transaction in which a statement has failed. It calls this no error. */
class RolledBack extends Error {}

function noting(failures: Set<unknown>, client: Executor): Executor {
  return {
    async query(text, values) {
      try {
        return await client.query(text, values);
      } catch (error) {
        failures.add(error);
        throw error;
      }
    },
  };
}

function executorOf(client: pg.ClientBase): Executor {
  return { query: (text, values) => client.query(text, values as unknown[] | undefined) };
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
/** Of every statement after one that failed. */
const inFailed = "25P02";

function isWorthAnotherTry(error: unknown): boolean {
  const code = codeOf(error);
  return code === serializationFailure || code === deadlockDetected;
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

function pause(tries: number): Promise<void> {
  const ms = randomInt(Math.min(2 ** tries, 200));
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** @throws {JobsError} INVALID_OPTIONS for what is no address of a PostgreSQL database */
export function checkUrl(url: string): void {
  let parsed: URL | null = null;
  try {
    parsed = new URL(url);
  } catch {
    // Said below: the URL itself may have a password in it, and so may the error.
  }
  if (parsed !== null && (parsed.protocol === "postgres:" || parsed.protocol === "postgresql:")) return;
  throw new JobsError(
    "INVALID_OPTIONS",
    "url is not the address of a PostgreSQL database. Give one like postgres://user:password@host:5432/database, " +
      "with special characters in the password percent-encoded.",
    { option: "url" },
  );
}
