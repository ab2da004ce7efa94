/**
 * A worker process for kill.test.ts: runs jobs whose effect is a row in the ledger, committed together with the completion.
 * Says "ready" when it has started; lives until it is killed.
 */
import { z } from "zod";
import { defineJob, handle, Worker } from "../../index.js";
import { sqlite, type Connection } from "./index.js";

const [path, leaseMs] = process.argv.slice(2);

const work = defineJob({ type: "kill.work", payload: z.object({ n: z.number() }) });

const store = await sqlite({ path: path! });
const worker = new Worker({
  store,
  concurrency: 10,
  leaseMs: Number(leaseMs),
  pollMs: 50,
  processors: [
    handle(work, async (job, ctx) => {
      // Somewhere between the claim and the effect is where most kills will hit.
      await new Promise((resolve) => setTimeout(resolve, job.payload.n % 10));
      if (job.payload.n % 2 === 0) {
        await ctx.transaction((tx: Connection) => {
          tx.prepare("insert into ledger (job, pid) values (?, ?)").run(job.id, process.pid);
        });
        return;
      }
      // The other half uses a step for its effect, and completes on its own.
      await ctx.transactionStep("effect", (tx: Connection) => {
        tx.prepare("insert into ledger (job, pid) values (?, ?)").run(job.id, process.pid);
      });
    }),
  ],
});
await worker.start();
process.send?.("ready");
