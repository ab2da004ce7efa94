/**
 * As much of PostgreSQL as the library needs. The transactions of the jobs' store, a client of `pg` and PGlite all fit.
 */

export interface PostgresTx {
  query(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
}

/** Where the library lives: a read on any connection, and transactions at READ COMMITTED. */
export interface PostgresHome extends PostgresTx {
  write<T>(work: (tx: PostgresTx) => T): Promise<Awaited<T>>;
}

export async function rowsOf<Row>(
  connection: PostgresTx,
  text: string,
  values: readonly unknown[],
): Promise<readonly Row[]> {
  const { rows } = await connection.query(text, values);
  return rows as readonly Row[];
}
