/**
 * What is measured on a store: enqueue latency (alone and while workers drain) and drain throughput, with every guarantee
 * on: durable before the answer, fenced, counted, validated at both ends.
 */
import { defineJob, Events, handle, Queue, Worker, type Store } from "sluice";
import { z } from "zod";
import { measureCallers, measureLoop, type Latencies } from "./measure.js";

const payload = { entityId: "e1", text: "x".repeat(150) };

const work = defineJob({
  type: "bench.work",
  payload: z.object({ entityId: z.string(), text: z.string() }),
});

export async function enqueueLatency(store: Store<unknown>, callers: number, seconds: number): Promise<Latencies> {
  const queue = new Queue({ store });
  await warmUp(queue);
  return measureCallers(() => queue.enqueue(work, payload), callers, seconds);
}

/** The same callers, with a worker draining at full speed in the same process. */
export async function enqueueWhileDraining(
  store: Store<unknown>,
  callers: number,
  seconds: number,
): Promise<Latencies & { drained: number }> {
  const queue = new Queue({ store });
  let drained = 0;
  const worker = new Worker({ store, concurrency: 100, processors: [handle(work, () => void drained++)] });
  await worker.start();
  await warmUp(queue);
  drained = 0;
  const latencies = await measureCallers(() => queue.enqueue(work, payload), callers, seconds);
  const drainedPerSecond = Math.round(drained / seconds);
  await worker.stop();
  return { ...latencies, drained: drainedPerSecond };
}

/** Jobs per second from the first claim until the last settlement is durable. */
export async function drain(
  store: Store<unknown>,
  { total, concurrency }: { total: number; concurrency: number },
): Promise<{ perSecond: number; loopP95: number; rssMb: number }> {
  const queue = new Queue({ store });
  for (let added = 0; added < total; added += 1_000) {
    await queue.enqueueMany(
      work,
      Array.from({ length: Math.min(1_000, total - added) }, () => payload),
    );
  }
  const events = new Events();
  let completed = 0;
  const { seconds, loopP95 } = await measureLoop(async () => {
    const worker = new Worker({ store, events, concurrency, processors: [handle(work, () => undefined)] });
    const done = new Promise<void>((resolve) => {
      events.on("job.completed", () => {
        if (++completed === total) resolve();
      });
    });
    await worker.start();
    await done;
    return worker.stop();
  });
  return { perSecond: Math.round(total / seconds), loopP95, rssMb: Math.round(process.memoryUsage().rss / 1e6) };
}

async function warmUp(queue: Queue<unknown>): Promise<void> {
  for (let i = 0; i < 300; i++) await queue.enqueue(work, payload);
}
