/**
 * The other end of a job: what its handler writes and the job's completion in one transaction of the store. Whatever dies and
 * whenever, the account is credited once.
 */
import { defineJob, handle, type Context } from "sluice";
import type { PostgresTx } from "sluice/postgres";
import { z } from "zod";

export const credit = defineJob({
  type: "example.credit",
  payload: z.object({ account: z.string(), amount: z.number().positive() }),
});

/** @param hasCredited For the test: between the row and the commit. */
export function creditor(hasCredited: () => Promise<void> = async () => undefined) {
  // Naming the store's kind of transaction makes the compiler check the handler against its worker's store.
  return handle(credit, async (job, ctx: Context<PostgresTx>) => {
    const { account, amount } = job.payload;
    await ctx.transaction(async (tx) => {
      await tx.query("update accounts set balance = balance + $1 where id = $2", [amount, account]);
      await hasCredited();
    });
  });
}
