/**
 * Your rows and the job's completion in one transaction: whatever dies, the account is credited once. And an enqueue inside your
 * own transaction: the order and its job exist together, or neither does.
 */
import { defineJob, handle, Queue, Worker } from "sluice";
import { sqlite, type Connection } from "sluice/sqlite";
import { z } from "zod";

const credit = defineJob({
  type: "example.credit",
  payload: z.object({ account: z.string(), amount: z.number().positive() }),
});

/** @returns the balance after three orders, of which one was rolled back. */
export async function exactlyOnce(path: string): Promise<number> {
  const store = await sqlite({ path });
  const db = store.connection;
  db.exec(`
    create table orders (id integer primary key, account text, amount real);
    create table accounts (id text primary key, balance real not null);
    insert into accounts values ('alice', 0);`);
  const queue = new Queue({ store });
  const worker = new Worker({
    store,
    processors: [
      handle(credit, async (job, ctx) => {
        const { account, amount } = job.payload;
        await ctx.transaction((tx: Connection) => {
          tx.prepare("update accounts set balance = balance + ? where id = ?").run(amount, account);
        });
      }),
    ],
  });
  await worker.start();

  const order = (amount: number, isGood: boolean) => {
    db.exec("begin immediate");
    try {
      db.prepare("insert into orders (account, amount) values (?, ?)").run("alice", amount);
      // Inside a SQLite transaction an enqueue is done, or has thrown, when the call returns.
      const enqueued = queue.enqueue(credit, { account: "alice", amount }, { tx: db });
      if (!isGood) throw new Error("out of stock");
      db.exec("commit");
      return enqueued;
    } catch {
      db.exec("rollback");
      return null;
    }
  };
  const orders = await Promise.all([order(10, true), order(1_000, false), order(32, true)]);
  for (const placed of orders) if (placed) await queue.waitFor(placed.job);

  const { balance } = db.prepare("select balance from accounts where id = 'alice'").get() as { balance: number };
  await worker.stop();
  await store.close();
  return balance;
}
