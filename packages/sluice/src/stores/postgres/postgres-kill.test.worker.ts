/**
 * A worker process for postgres-kill.test.ts: runs jobs whose effect is a row in the ledger, committed together with a completion or a
 * step. Tells which jobs it starts and loses; lives until it is killed.
 */
import { z } from "zod";
import { defineJob, handle, Worker } from "../../index.js";
import { postgres } from "./index.js";
import type { PostgresTx } from "./index.js";

const [url, leaseMs] = process.argv.slice(2);

const work = defineJob({
  type: "kill.work",
  payload: z.object({ n: z.number(), ms: z.number(), isHeld: z.boolean().default(false) }),
});
/** Jobs that are held wait until somebody says anything. */
const released = new Promise((resolve) => process.once("message", resolve));

const store = await postgres({ url: url!, timeoutMs: 5_000 });
const worker = new Worker({
  store,
  concurrency: 10,
  leaseMs: Number(leaseMs),
  pollMs: 50,
  processors: [
    handle(work, async ({ id, payload: { n, ms, isHeld } }, ctx) => {
      const write = async (tx: PostgresTx) =>
        void (await tx.query("insert into ledger (job, pid) values ($1, $2)", [id, process.pid]));
      // Somewhere between the claim and the effect is where most kills will hit.
      await new Promise((resolve) => setTimeout(resolve, ms));
      if (isHeld) await released;
      if (n % 2 === 0) await ctx.transaction(write);
      // The other half uses a step for its effect, and completes on its own.
      else await ctx.transactionStep("effect", write);
    }),
  ],
});
worker.events.on("job.started", ({ job }) => process.send?.({ started: job.id }));
worker.events.on("job.leaseLost", ({ job }) => process.send?.({ lost: job.id }));
await worker.start();
process.send?.("ready");
