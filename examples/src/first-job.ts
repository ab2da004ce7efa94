/**
 * The ten-minute example: a typed job, enqueued durably, retried after a failure, with its result awaited.
 */
import { defineJob, exponential, handle, Queue, Worker } from "sluice";
import { sqlite } from "sluice/sqlite";
import { z } from "zod";

const greet = defineJob({
  type: "example.greet",
  payload: z.object({ name: z.string().min(1) }),
  result: z.object({ greeting: z.string() }),
  retry: exponential({ attempts: 3, baseMs: 20 }),
});

/** Runs against the given file; answers what happened, for the curious and for the test. */
export async function firstJob(path: string): Promise<{ greeting: string; attempts: number }> {
  const store = await sqlite({ path });
  const queue = new Queue({ store });
  const worker = new Worker({
    store,
    processors: [
      handle(greet, (job, ctx) => {
        if (ctx.attempt === 1) throw new Error("The first try fails; the second will not.");
        return { greeting: `Hello, ${job.payload.name}!` };
      }),
    ],
  });
  await worker.start();

  const { job } = await queue.enqueue(greet, { name: "Waterdeep" });
  const ended = await queue.waitFor<{ greeting: string }>(job);

  await worker.stop();
  await store.close();
  if (ended.state !== "completed") throw new Error(`The job ended as ${ended.state}.`);
  return { greeting: ended.output!.greeting, attempts: ended.attempt };
}
