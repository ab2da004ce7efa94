/**
 * Transactions of other people's libraries, as `enqueue(…, { tx })` takes them. Described by their shape: none of these libraries
 * is a dependency. A client of `pg` needs nothing from here.
 *
 * Each refuses the database in place of the transaction, by its type and when it is called: a job enqueued there would not be
 * rolled back, and a unique key not be locked.
 */
import { JobsError } from "../../errors.js";
import type { Executor } from "./sql.js";

/** A `Transaction` or `ControlledTransaction` of Kysely. */
export interface KyselyTransaction {
  readonly isTransaction: true;
  withoutPlugins(): {
    executeQuery(query: KyselyQuery): Promise<{ readonly rows: readonly unknown[] }>;
  };
}

/** What `CompiledQuery.raw` makes. */
interface KyselyQuery {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly query: {
    readonly kind: "RawNode";
    readonly sqlFragments: readonly string[];
    readonly parameters: readonly [];
  };
  readonly queryId: { readonly queryId: string };
}

/** A `PgTransaction` of Drizzle, on the driver `pg`. */
export interface DrizzleTransaction {
  execute(query: never): PromiseLike<{ readonly rows: readonly unknown[] }>;
  /** The database has none. */
  rollback(): never;
}

/** `sql` of drizzle-orm. */
export interface DrizzleSql {
  raw(text: string): unknown;
  param(value: unknown): unknown;
  join(parts: unknown[]): unknown;
}

/** The client that Prisma's `$transaction` gives its function. */
export interface PrismaTransaction {
  $queryRawUnsafe(query: string, ...values: unknown[]): PromiseLike<unknown>;
  /** The client outside of transactions has it. */
  readonly $connect?: never;
}

/** The plugins of the application do not see the statements: `CamelCasePlugin` would rename their columns. */
export function fromKysely(trx: KyselyTransaction): Executor {
  if (trx.isTransaction !== true) throw notATransaction("fromKysely", "the `trx` of `db.transaction().execute(…)`");
  return executorOf(trx, (text, values) =>
    trx.withoutPlugins().executeQuery({
      sql: text,
      parameters: values,
      query: { kind: "RawNode", sqlFragments: [text], parameters: [] },
      queryId: { queryId: "sluice" },
    }),
  );
}

/** @param sql The one of drizzle-orm: only it can make a statement with parameters. */
export function fromDrizzle(tx: DrizzleTransaction, sql: DrizzleSql): Executor {
  if (typeof tx.rollback !== "function") throw notATransaction("fromDrizzle", "the `tx` of `db.transaction(…)`");
  return executorOf(tx, async (text, values) => {
    // Drizzle numbers parameters itself; one that a statement uses twice is sent twice.
    const parts = text.split(/\$(\d+)/);
    const query = sql.join(
      parts.map((part, at) => (at % 2 === 0 ? sql.raw(part) : sql.param(values[Number(part) - 1]))),
    );
    return tx.execute(query as never);
  });
}

export function fromPrisma(tx: PrismaTransaction): Executor {
  if (tx.$connect !== undefined)
    throw notATransaction("fromPrisma", "the `tx` of `prisma.$transaction(async (tx) => …)`");
  return executorOf(tx, async (text, values) => ({
    rows: (await tx.$queryRawUnsafe(text, ...values)) as readonly unknown[],
  }));
}

type Query = (text: string, values: readonly unknown[]) => ReturnType<Executor["query"]>;

const executors = new WeakMap<object, Executor>();

/** One for each transaction, however often it is asked for: the store knows a transaction by it. */
function executorOf(tx: object, query: Query): Executor {
  let executor = executors.get(tx);
  if (executor === undefined) executors.set(tx, (executor = { query: (text, values = []) => query(text, values) }));
  return executor;
}

function notATransaction(name: string, wanted: string): JobsError {
  return new JobsError("INVALID_OPTIONS", `${name} was not given a transaction. Give it ${wanted}.`, { option: "tx" });
}
