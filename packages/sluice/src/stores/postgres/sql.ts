/**
 * From the statements as they are written to what a server gets. Statements name our tables `sluice.…` and the present `:now`
 * (`:own_now` where a function fills in the server's itself); the schema may have another name, and a test may own the clock.
 */
import type { Clock } from "../../clock.js";

/**
 * Whatever runs a statement with numbered parameters and answers its rows: a client of ours, or a transaction of the application's,
 * who know it as `PostgresTx`. A client of `pg` is one, a pool is not. `fromKysely`, `fromDrizzle` and `fromPrisma` make one of
 * theirs; see docs/postgres-transactions.md.
 */
export interface Executor {
  query(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
  /** A pool has it, and runs every statement on another connection: in no transaction. */
  readonly totalCount?: never;
}

/** Runs our statements in one place: autocommitted, or in one transaction. */
export interface Sql {
  rows<Row>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
}

export class Dialect {
  readonly schemaName: string;
  /** Quoted. */
  readonly schema: string;
  readonly #clock: Clock | null;
  readonly #texts = new Map<string, string>();

  /** @param clock Null for the server's own, by which due times and leases are judged. */
  constructor({ schema, clock }: { readonly schema: string; readonly clock: Clock | null }) {
    this.schemaName = schema;
    this.schema = `"${schema.replaceAll('"', '""')}"`;
    this.#clock = clock;
  }

  /** The present of a clock of its own; undefined where only the server knows. */
  get now(): number | undefined {
    return this.#clock?.now();
  }

  /** The statement for the server. Without a clock of its own, the same text every time. */
  text(statement: string): string {
    let text = this.#texts.get(statement);
    if (text === undefined) {
      text = statement.replaceAll(/\bsluice\./g, `${this.schema}.`).replaceAll(":schema", this.schema);
      this.#texts.set(statement, text);
    }
    if (!/:(own_)?now\b/.test(text)) return text;
    return this.#clock === null ? this.#withServerTime(statement, text) : withTime(text, this.#clock.now());
  }

  on(executor: Executor): Sql {
    return {
      rows: async <Row>(statement: string, values: readonly unknown[] = []) =>
        (await executor.query(this.text(statement), values)).rows as readonly Row[],
    };
  }

  #withServerTime(statement: string, text: string): string {
    const complete = text.replaceAll(":own_now", "null::bigint").replaceAll(":now", serverMilliseconds);
    this.#texts.set(statement, complete);
    return complete;
  }
}

// The statement's time and not the transaction's: the application's transaction may be old when it enqueues.
const serverMilliseconds = "floor(extract(epoch from statement_timestamp()) * 1000)::bigint";

function withTime(text: string, now: number): string {
  const ms = Math.floor(now);
  return text.replaceAll(/:(own_)?now\b/g, `${ms}::bigint`);
}

/**
 * An array for a parameter, of values that need no quotes: ids, numbers, truth values. A third of what the driver takes for it,
 * which quotes each, and text to every driver of an application.
 */
export function arrayOf(values: readonly (string | number | boolean | null)[]): string {
  return `{${values.map((value) => value ?? "null").join(",")}}`;
}
