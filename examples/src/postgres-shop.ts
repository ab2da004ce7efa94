/**
 * What the examples with PostgreSQL have in common: a shop whose orders are confirmed by a job. How an order is placed, with its
 * confirmation in the same transaction, is what each of them shows.
 */
import { defineJob, handle, Queue, Worker } from "sluice";
import { postgres, type PostgresTx } from "sluice/postgres";
import { z } from "zod";

export const confirmOrder = defineJob({
  type: "example.confirm-order",
  payload: z.object({ order: z.number(), item: z.string() }),
});

/** Throws when the item is out of stock. */
export type PlaceOrder = (queue: Queue<PostgresTx>, item: string) => Promise<void>;

/** @returns what was ordered and what was confirmed, of three lanterns of which two were in stock. */
export async function runShop(url: string, placeOrder: PlaceOrder): Promise<{ ordered: number; confirmed: number }> {
  const store = await postgres({ url, application: { setup: makeTables } });
  const queue = new Queue({ store });
  const confirmed: number[] = [];
  const worker = new Worker({
    store,
    processors: [handle(confirmOrder, (job) => void confirmed.push(job.payload.order))],
  });
  await worker.start();

  for (let lantern = 0; lantern < 3; lantern++) {
    await placeOrder(queue, "lantern").catch((error: unknown) => console.log(`No lantern: ${String(error)}`));
  }
  const { jobs } = await queue.list({ types: [confirmOrder.type] });
  for (const job of jobs) await queue.waitFor(job);

  const { rows } = await store.query("select count(*)::int as orders from orders");
  await worker.stop();
  await store.close();
  return { ordered: (rows[0] as { orders: number }).orders, confirmed: new Set(confirmed).size };
}

async function makeTables(tx: PostgresTx): Promise<void> {
  await tx.query("drop table if exists orders, stock");
  await tx.query("create table orders (id int generated always as identity primary key, item text not null)");
  await tx.query("create table stock (item text primary key, remaining int not null check (remaining >= 0))");
  await tx.query("insert into stock values ('lantern', 2)");
}
