/**
 * An order and its confirmation in one transaction of Kysely.
 */
import { Kysely, PostgresDialect, type Generated } from "kysely";
import pg from "pg";
import { fromKysely } from "sluice/postgres";
import { confirmOrder, runShop } from "./postgres-shop.js";

interface Tables {
  readonly orders: { readonly id: Generated<number>; readonly item: string };
  readonly stock: { readonly item: string; readonly remaining: number };
}

export async function shopWithKysely(url: string) {
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url }) }) });
  const result = await runShop(url, (queue, item) =>
    db.transaction().execute(async (trx) => {
      const order = await trx.insertInto("orders").values({ item }).returning("id").executeTakeFirstOrThrow();
      await queue.enqueue(confirmOrder, { order: order.id, item }, { tx: fromKysely(trx) });
      await trx
        .updateTable("stock")
        .set((stock) => ({ remaining: stock("remaining", "-", 1) }))
        .where("item", "=", item)
        .execute();
    }),
  );
  await db.destroy();
  return result;
}
