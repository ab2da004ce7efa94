/**
 * A worker process for poison.test.ts: runs batches whose effect is a row in the ledger, committed with each completion. The
 * poison in one of them kills the process.
 */
import { z } from "zod";
import { defineJob, fixed, handleBatch, Worker } from "../../index.js";
import { sqlite, type Connection } from "./index.js";

const [path, leaseMs] = process.argv.slice(2);

const work = defineJob({
  type: "poison.work",
  payload: z.object({ n: z.number(), isPoison: z.boolean() }),
  batch: { max: 8 },
  retry: fixed({ attempts: 20, delayMs: 50 }),
});

const store = await sqlite({ path: path! });
const worker = new Worker({
  store,
  concurrency: 3,
  leaseMs: Number(leaseMs),
  pollMs: 50,
  processors: [
    handleBatch(work, async (items) => {
      for (const { job, ctx } of items) {
        await new Promise((resolve) => setTimeout(resolve, 2));
        if (job.payload.isPoison) {
          ctx.log.info("opening the poison");
          // Time for the line to be written: nobody can ask a dead process what it did last.
          await new Promise((resolve) => setTimeout(resolve, 400));
          process.kill(process.pid, "SIGKILL");
        }
        await ctx.transaction((tx: Connection) => {
          tx.prepare("insert into ledger (job, pid) values (?, ?)").run(job.id, process.pid);
        });
      }
    }),
  ],
});
await worker.start();
process.send?.("ready");
