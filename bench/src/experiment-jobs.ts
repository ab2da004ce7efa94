/**
 * The jobs of the experiments, for those who enqueue them and for the worker processes that run them.
 */
import { defineJob } from "sluice";
import { z } from "zod";

/** 50 a second, with the burst of the default: what comes in a tenth of a second, so 5. */
export const paced = defineJob({
  type: "bench.paced",
  payload: z.object({ index: z.number() }),
  rate: { limit: 50, perMs: 1_000 },
});

/** Asks a service of ours, which is down for a while. */
export const asking = defineJob({
  type: "bench.asking",
  payload: z.object({ index: z.number() }),
  breaker: { failures: 10, of: 20, openMs: 5_000 },
});
