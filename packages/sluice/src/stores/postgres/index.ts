/**
 * Durable jobs in one schema of a PostgreSQL database, next to the application's own tables. Any number of machines.
 * Needs the package `pg`.
 */
import { randomUUID } from "node:crypto";
import { systemClock } from "../../clock.js";
import type { Clock } from "../../clock.js";
import { JobsError } from "../../errors.js";
import { checkUrl, Database } from "./database.js";
import { LeaseKeeper } from "./lease-keeper.js";
import { migrate, pendingMigrations } from "./migrations.js";
import type { Migration } from "./migrations.js";
import { PostgresStore } from "./postgres-store.js";
import { Dialect } from "./sql.js";
import type { Executor, Executor as PostgresTx } from "./sql.js";
import { addDays } from "./upkeep.js";
import { Wake } from "./wake.js";

export { fromDrizzle, fromKysely, fromPrisma } from "./executors.js";
export type { DrizzleSql, DrizzleTransaction, KyselyTransaction, PrismaTransaction } from "./executors.js";
export type { Migration } from "./migrations.js";
export type { PostgresStore } from "./postgres-store.js";
export type { Executor as PostgresTx } from "./sql.js";

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`. May lead to a pooler in transaction mode; then give `listenUrl`, too. */
  readonly url: string;
  /** The schema for the tables of the store; made when it is not there. Default "sluice". */
  readonly schema?: string;
  /** Where to listen, past a pooler that would not keep a connection. Null: do not listen, look every 250 ms. Default: `url`. */
  readonly listenUrl?: string | null;
  /** Connections at most, of this process, besides one to listen and one for the leases of its workers. Default 3, 2 and 5. */
  readonly connections?: {
    /** For enqueue, claim and reads. */
    readonly main?: number;
    /** For settlements and heartbeats alone. */
    readonly reserved?: number;
    /** For transactions of the application: as many as may run at once. */
    readonly application?: number;
  };
  /** A statement without an answer is given up after so many ms, and its connection with it. Default 15,000. */
  readonly timeoutMs?: number;
  /** False: do not bring the schema up to date, and refuse to open where it is not. For roles that may not. Default true. */
  readonly migrate?: boolean;
  /** Default: the server's own, by which due times and leases are judged, whatever the clocks of the machines say. */
  readonly clock?: Clock;
  /** For an application that keeps its own tables in the same database. */
  readonly application?: {
    /** Called once per `postgres()`, after the store's own tables are there, in a transaction that no other process is in. */
    readonly setup?: (tx: PostgresTx) => Promise<void>;
  };
}

const oldestVersion = 130_000;
/** One that is longer fires at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Opens the store and brings its schema up to date.
 * @throws {JobsError} STORE_REFUSED, SCHEMA_TOO_NEW, SCHEMA_OUTDATED, POSTGRES_TOO_OLD, INVALID_OPTIONS; STORE_UNAVAILABLE, safe to retry.
 */
export async function postgres(options: PostgresOptions): Promise<PostgresStore> {
  const { url, schema = "sluice", listenUrl = url, clock, application = {} } = options;
  const database = open(options);
  try {
    await database.alone(async (connection) => {
      await refuseOldServer(connection, database);
      if (options.migrate === false) await refuseOutdatedSchema(connection, database);
      else await migrate(connection, database.dialect);
      await setUp(connection, database, application.setup);
    });
    await addDays(database, 1);
  } catch (error) {
    await database.close();
    throw error;
  }
  return new PostgresStore({
    database,
    leases: clock === undefined || clock === systemClock ? new LeaseKeeper({ url, schema }) : null,
    listen: (onHint) =>
      new Wake({ database, listenUrl, channel: `sluice ${schema}`, self: randomUUID().slice(0, 8), onHint }),
  });
}

/**
 * The SQL that `postgres()` would run to bring the schema up to date: for reviews, and for roles that run it by hand.
 * @throws {JobsError} as `postgres`
 */
export async function planMigrations(options: PostgresOptions): Promise<readonly Migration[]> {
  const database = open(options);
  try {
    return await database.alone(async (connection) => {
      await refuseOldServer(connection, database);
      return pendingMigrations(connection, database.dialect);
    });
  } finally {
    await database.close();
  }
}

function open(options: PostgresOptions): Database {
  const { url, listenUrl = null, schema = "sluice", connections = {}, timeoutMs = 15_000, clock } = options;
  checkUrl("url", url);
  if (listenUrl !== null) checkUrl("listenUrl", listenUrl);
  // It is a part of statements, of function bodies and of the channel's name, which has 63 bytes.
  if (!/^(?!pg_)[a-z_][a-z0-9_-]{0,39}$/i.test(schema)) {
    throw new JobsError(
      "INVALID_OPTIONS",
      `schema is ${JSON.stringify(schema)}. Give 1 to 40 letters, digits, "_" or "-", a letter or "_" first, and not "pg_".`,
      { option: "schema", value: schema },
    );
  }
  if (!(timeoutMs >= 1 && timeoutMs <= longestTimerMs)) {
    const text = `timeoutMs is ${timeoutMs}. Give milliseconds from 1 to ${longestTimerMs}.`;
    throw new JobsError("INVALID_OPTIONS", text, { option: "timeoutMs", value: timeoutMs });
  }
  const { main = 3, reserved = 2, application = 5 } = connections;
  for (const [name, value] of Object.entries({ main, reserved, application })) {
    if (Number.isInteger(value) && value >= 1) continue;
    const option = `connections.${name}`;
    throw new JobsError("INVALID_OPTIONS", `${option} is ${value}. Give a whole number from 1.`, { option, value });
  }
  const ownClock = clock === undefined || clock === systemClock ? null : clock;
  return new Database({
    url,
    dialect: new Dialect({ schema, clock: ownClock }),
    connections: { main, reserved, application },
    timeoutMs,
  });
}

async function refuseOldServer(connection: Executor, { place }: Database): Promise<void> {
  const { rows } = await connection.query(
    "select current_setting('server_version_num')::int as number, current_setting('server_version') as version",
  );
  const { number, version } = rows[0] as { number: number; version: string };
  if (number >= oldestVersion) return;
  throw new JobsError(
    "POSTGRES_TOO_OLD",
    `${place} is PostgreSQL ${version}; Sluice needs version 13 or newer. Upgrade the server.`,
    { place, version },
  );
}

async function refuseOutdatedSchema(connection: Executor, { dialect, place }: Database): Promise<void> {
  const pending = await pendingMigrations(connection, dialect);
  if (pending.length === 0) return;
  throw new JobsError(
    "SCHEMA_OUTDATED",
    `The schema ${dialect.schema} of ${place} is ${pending.length} step(s) behind this version of Sluice. Run \`sluice migrate\` as a role that may change it.`,
    { place, pending: pending.length },
  );
}

async function setUp(
  connection: Executor,
  { dialect }: Database,
  setup: ((tx: PostgresTx) => Promise<void>) | undefined,
): Promise<void> {
  if (setup === undefined) return;
  await connection.query("begin isolation level read committed");
  try {
    await connection.query("select pg_advisory_xact_lock(7562594, hashtext($1))", [dialect.schema]);
    await setup(connection);
    await connection.query("commit");
  } catch (error) {
    await connection.query("rollback").catch(() => undefined);
    throw error;
  }
}
