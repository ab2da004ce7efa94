/** Jobs to ask a service for: quick, slow, failing, refused, and one with a secret in it. */
import { setTimeout as sleep } from "node:timers/promises";
import { defineJob, fixed, handle, NonRetryableError } from "sluice";
import { z } from "zod";

const echo = defineJob({
  type: "demo.echo",
  payload: z.object({ text: z.string().max(10_000), token: z.string().meta({ sensitive: true }).optional() }),
  result: z.object({ text: z.string() }),
});

/** One at a time for each thing. */
const index = defineJob({
  type: "demo.index",
  payload: z.object({ entityId: z.string() }),
  correlation: ({ entityId }) => ({ entityId }),
});

const slow = defineJob({ type: "demo.slow", payload: z.object({ ms: z.number().min(0).max(600_000) }) });

const broken = defineJob({
  type: "demo.broken",
  payload: z.object({
    message: z.string().default("it is broken"),
    token: z.string().meta({ sensitive: true }).optional(),
  }),
  retry: fixed({ attempts: 2, delayMs: 3_600_000 }),
});

const doomed = defineJob({ type: "demo.doomed", payload: z.object({ isGood: z.boolean().default(false) }) });

/** Two a minute of each caller. */
const scarce = defineJob({
  type: "demo.scarce",
  payload: z.object({}),
  enqueueLimit: { ratePerCaller: { limit: 2, perMs: 60_000, burst: 2 } },
});

/** Nobody runs it. */
const orphan = defineJob({ type: "demo.orphan", payload: z.object({ n: z.number().optional() }) });

export const processors = [
  handle(echo, async ({ payload }) => ({ text: payload.text })),
  handle(index, async (_job, ctx) => {
    await sleep(50, undefined, { signal: ctx.signal });
  }),
  handle(slow, async ({ payload }, ctx) => {
    for (let done = 0; done < 10; done++) {
      ctx.progress(done, 10);
      await sleep(payload.ms / 10, undefined, { signal: ctx.signal });
    }
    ctx.progress(10, 10);
  }),
  handle(broken, async ({ payload }) => {
    throw new Error(`${payload.message} ${payload.token ?? ""}`);
  }),
  handle(doomed, async ({ payload }) => {
    if (!payload.isGood) throw new NonRetryableError("no good");
  }),
  handle(scarce, async () => undefined),
];

export const definitions = [echo, index, slow, broken, doomed, scarce, orphan];
