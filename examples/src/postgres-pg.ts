/**
 * An order and its confirmation in one transaction of `pg`: the client is the `tx`.
 */
import pg from "pg";
import { confirmOrder, runShop } from "./postgres-shop.js";

export async function shopWithPg(url: string) {
  const pool = new pg.Pool({ connectionString: url });
  const result = await runShop(url, async (queue, item) => {
    const client = await pool.connect();
    try {
      await client.query("begin");
      const insert = "insert into orders (item) values ($1) returning id";
      const { rows } = await client.query<{ id: number }>(insert, [item]);
      await queue.enqueue(confirmOrder, { order: rows[0]!.id, item }, { tx: client });
      await client.query("update stock set remaining = remaining - 1 where item = $1", [item]);
      await client.query("commit");
    } catch (error) {
      await client.query("rollback");
      throw error;
    } finally {
      client.release();
    }
  });
  await pool.end();
  return result;
}
