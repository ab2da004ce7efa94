/**
 * The libraries with which applications open transactions of their own, each as its users have it, for executors.test.ts.
 */
import { openPrisma } from "@sluice/test-prisma";
import type { PrismaClient } from "@sluice/test-prisma";
import { DrizzleQueryError, sql as drizzleSql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { CamelCasePlugin, Kysely, ParseJSONResultsPlugin, PostgresDialect, sql as kyselySql } from "kysely";
import type { Transaction } from "kysely";
import pg from "pg";
import { fromDrizzle, fromKysely, fromPrisma } from "./index.js";
import type { PostgresTx } from "./index.js";

export interface Library {
  /** Commits; or rolls back and rejects with what `work` throws. */
  transaction<T>(work: (open: Open) => Promise<T>, isolation?: "serializable"): Promise<T>;
  /** The server's code for an error, from where the library keeps it. */
  codeOf(error: unknown): unknown;
  close(): Promise<void>;
}

/** A transaction. */
export interface Open {
  readonly tx: PostgresTx;
  /** Under a savepoint, to which it goes back and rejects with what `work` throws. */
  nested<T>(work: (open: Open) => Promise<T>): Promise<T>;
}

export const libraries: Readonly<Record<string, (url: string) => Promise<Library>>> = {
  "a client of pg": async (url) => {
    const client = new pg.Client(url);
    await client.connect();
    return { ...withPg(async () => ({ client, release: () => undefined })), close: () => client.end() };
  },

  "a pooled client of pg": async (url) => {
    const pool = new pg.Pool({ connectionString: url });
    const take = async () => {
      const client = await pool.connect();
      return { client, release: () => client.release() };
    };
    return { ...withPg(take), close: () => pool.end() };
  },

  // Many have their bigints parsed as such.
  "a client of pg with parsers of its own": async (url) => {
    const { builtins, getTypeParser } = pg.types;
    const types = {
      getTypeParser: (oid: number, format?: "text" | "binary") =>
        oid === Number(builtins.INT8) ? BigInt : (getTypeParser(oid, format) as (value: unknown) => unknown),
    };
    const client = new pg.Client({ connectionString: url, types });
    await client.connect();
    return { ...withPg(async () => ({ client, release: () => undefined })), close: () => client.end() };
  },

  Kysely: async (url) => withKysely(new Kysely<Tables>({ dialect: dialectOf(url) })),

  // These would rename the columns of our answers, and parse every text that looks like JSON.
  "Kysely with plugins": async (url) =>
    withKysely(
      new Kysely<Tables>({ dialect: dialectOf(url), plugins: [new CamelCasePlugin(), new ParseJSONResultsPlugin()] }),
    ),

  "Kysely, committed by hand": async (url) => {
    const db = new Kysely<Tables>({ dialect: dialectOf(url) });
    return {
      async transaction(work, isolation) {
        const builder = db.startTransaction();
        const trx = await (isolation === undefined ? builder : builder.setIsolationLevel(isolation)).execute();
        try {
          const value = await work(openKysely(trx));
          await trx.commit().execute();
          return value;
        } catch (error) {
          await trx.rollback().execute();
          throw error;
        }
      },
      codeOf: codeOfPg,
      close: () => db.destroy(),
    };
  },

  Drizzle: async (url) => {
    const pool = new pg.Pool({ connectionString: url });
    const db = drizzle({ client: pool, casing: "snake_case" });
    type Tx = Parameters<Parameters<typeof db.transaction>[0]>[0];
    const open = (tx: Tx): Open => ({
      tx: fromDrizzle(tx, drizzleSql),
      nested: (work) => tx.transaction((inner) => work(open(inner))),
    });
    return {
      transaction: (work, isolation) =>
        db.transaction((tx) => work(open(tx)), isolation === undefined ? {} : { isolationLevel: isolation }),
      codeOf: (error) => (error instanceof DrizzleQueryError ? codeOfPg(error.cause) : undefined),
      close: () => pool.end(),
    };
  },

  Prisma: async (url) => {
    const prisma = openPrisma(url);
    type Tx = Parameters<Parameters<PrismaClient["$transaction"]>[0]>[0];
    const open = (tx: Tx): Open => ({
      tx: fromPrisma(tx),
      nested: (work) => tx.$transaction((inner) => work(open(inner))),
    });
    return {
      transaction: (work, isolation) =>
        prisma.$transaction((tx) => work(open(tx)), isolation === undefined ? {} : { isolationLevel: "Serializable" }),
      codeOf: (error) =>
        (error as { meta?: { driverAdapterError?: { cause?: { originalCode?: unknown } } } }).meta?.driverAdapterError
          ?.cause?.originalCode,
      close: () => prisma.$disconnect(),
    };
  },
};

type Tables = Record<string, never>;

function dialectOf(url: string): PostgresDialect {
  return new PostgresDialect({ pool: new pg.Pool({ connectionString: url }) });
}

function codeOfPg(error: unknown): unknown {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

interface Taken {
  readonly client: pg.ClientBase;
  readonly release: () => void;
}

function withPg(take: () => Promise<Taken>): Omit<Library, "close"> {
  const open = (client: pg.ClientBase): Open => ({
    tx: client,
    async nested(work) {
      await client.query("savepoint nested");
      try {
        const value = await work(open(client));
        await client.query("release savepoint nested");
        return value;
      } catch (error) {
        await client.query("rollback to savepoint nested");
        throw error;
      }
    },
  });
  return {
    async transaction(work, isolation) {
      const { client, release } = await take();
      try {
        await client.query(`begin isolation level ${isolation ?? "read committed"}`);
        const value = await work(open(client));
        await client.query("commit");
        return value;
      } catch (error) {
        await client.query("rollback");
        throw error;
      } finally {
        release();
      }
    },
    codeOf: codeOfPg,
  };
}

function withKysely(db: Kysely<Tables>): Library {
  return {
    transaction(work, isolation) {
      const builder = db.transaction();
      return (isolation === undefined ? builder : builder.setIsolationLevel(isolation)).execute((trx) =>
        work(openKysely(trx)),
      );
    },
    codeOf: codeOfPg,
    close: () => db.destroy(),
  };
}

function openKysely(trx: Transaction<Tables>): Open {
  return {
    tx: fromKysely(trx),
    async nested(work) {
      await kyselySql`savepoint nested`.execute(trx);
      try {
        const value = await work(openKysely(trx));
        await kyselySql`release savepoint nested`.execute(trx);
        return value;
      } catch (error) {
        await kyselySql`rollback to savepoint nested`.execute(trx);
        throw error;
      }
    },
  };
}
