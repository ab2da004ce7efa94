/**
 * An order and its confirmation in one transaction of Drizzle, on its driver for `pg`.
 */
import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { integer, pgTable, text } from "drizzle-orm/pg-core";
import pg from "pg";
import { fromDrizzle } from "sluice/postgres";
import { confirmOrder, runShop } from "./postgres-shop.js";

const orders = pgTable("orders", { id: integer().generatedAlwaysAsIdentity().primaryKey(), item: text().notNull() });
const stock = pgTable("stock", { item: text().primaryKey(), remaining: integer().notNull() });

export async function shopWithDrizzle(url: string) {
  const pool = new pg.Pool({ connectionString: url });
  const db = drizzle({ client: pool });
  const result = await runShop(url, (queue, item) =>
    db.transaction(async (tx) => {
      const [order] = await tx.insert(orders).values({ item }).returning();
      await queue.enqueue(confirmOrder, { order: order!.id, item }, { tx: fromDrizzle(tx, sql) });
      await tx
        .update(stock)
        .set({ remaining: sql`${stock.remaining} - 1` })
        .where(eq(stock.item, item));
    }),
  );
  await pool.end();
  return result;
}
