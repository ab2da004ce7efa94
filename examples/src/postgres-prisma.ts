/**
 * An order and its confirmation in one transaction of Prisma. The client here has no models, so it writes SQL where yours would
 * say `tx.order.create`; to the job it makes no difference.
 */
import { openPrisma } from "@sluice/test-prisma";
import { fromPrisma } from "sluice/postgres";
import { confirmOrder, runShop } from "./postgres-shop.js";

export async function shopWithPrisma(url: string) {
  const prisma = openPrisma(url);
  const result = await runShop(url, (queue, item) =>
    prisma.$transaction(async (tx) => {
      const [order] = await tx.$queryRaw<{ id: number }[]>`insert into orders (item) values (${item}) returning id`;
      await queue.enqueue(confirmOrder, { order: order!.id, item }, { tx: fromPrisma(tx) });
      await tx.$executeRaw`update stock set remaining = remaining - 1 where item = ${item}`;
    }),
  );
  await prisma.$disconnect();
  return result;
}
