/**
 * What is measured on a store: enqueue latency (alone and while workers drain), drain throughput, how it holds with depth, and the
 * latency from one process to another; with every guarantee on: durable before the answer, fenced, counted, validated at both ends.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { defineJob, Events, handle, Queue, Worker, type Store } from "sluice";
import { z } from "zod";
import {
  atRate,
  measureCallers,
  measureLoop,
  preciseNow,
  quantiles,
  type Latencies,
  warmUpSeconds,
} from "./measure.js";

const payload = { entityId: "e1", text: "x".repeat(150) };

const work = defineJob({
  type: "bench.work",
  payload: z.object({ entityId: z.string(), text: z.string() }),
});

/** Carries when it was sent. */
export const timed = defineJob({
  type: "bench.timed",
  payload: z.object({ sentAt: z.number(), text: z.string() }),
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

/** Jobs per second while a worker drains; the first jobs warm up the process and the server, and do not count. */
export async function drain(
  store: Store<unknown>,
  { total, concurrency }: { total: number; concurrency: number },
): Promise<{ perSecond: number; loopP95: number; rssMb: number }> {
  await fill(store, total + warmUpJobs);
  const { value: marks, loopP95 } = await measureLoop(() => drainMarked(store, { total, concurrency, marks: 1 }));
  const perSecond = Math.round((total * 1_000) / (marks[1]! - marks[0]!));
  return { perSecond, loopP95, rssMb: Math.round(process.memoryUsage().rss / 1e6) };
}

/** The rate over the first `total` of `depth` pending jobs, and that of the last tenth as a part of the first. */
export async function drainAt(
  store: Store<unknown>,
  { depth, total, whenFilled }: { depth: number; total: number; whenFilled?: (() => Promise<void>) | undefined },
): Promise<{ perSecond: number; tenths: readonly number[]; lastToFirst: number }> {
  await fill(store, Math.max(depth, total) + warmUpJobs);
  await whenFilled?.();
  const marks = await drainMarked(store, { total, concurrency: 100, marks: 10 });
  const tenths = marks.slice(1).map((mark, index) => Math.round(((total / 10) * 1_000) / (mark - marks[index]!)));
  return {
    perSecond: Math.round((total * 1_000) / (marks.at(-1)! - marks[0]!)),
    tenths,
    lastToFirst: tenths.at(-1)! / tenths[0]!,
  };
}

/** A concurrency that is never reached: what it costs that there is one. */
export async function limit(store: Store<unknown>): Promise<void> {
  await new Queue({ store }).setType(work.type, { concurrency: 10_000 });
}

const warmUpJobs = 3_000;

/** When the warm-up was over, and each of so many equal parts of the total. */
async function drainMarked(
  store: Store<unknown>,
  { total, concurrency, marks }: { total: number; concurrency: number; marks: number },
): Promise<readonly number[]> {
  const seen: number[] = [];
  let completed = 0;
  const events = new Events();
  const worker = new Worker({ store, events, concurrency, processors: [handle(work, () => undefined)] });
  const done = new Promise<void>((resolve) => {
    events.on("job.completed", () => {
      completed += 1;
      if (completed >= warmUpJobs && (completed - warmUpJobs) % (total / marks) === 0) seen.push(performance.now());
      if (completed === total + warmUpJobs) resolve();
    });
  });
  await worker.start();
  await done;
  await worker.stop();
  return seen;
}

/** From the call of enqueue here to the handler in another process, at a steady rate. */
export async function endToEnd(
  store: Store<unknown>,
  { address, perSecond, seconds }: { address: string; perSecond: number; seconds: number },
): Promise<{ p50: number; p95: number; p99: number; jobs: number }> {
  const child = fork(new URL("./latency-worker.js", import.meta.url), [address]);
  await once(child, "message");
  const queue = new Queue({ store });
  const text = "x".repeat(150);
  await atRate(perSecond, perSecond * (seconds + warmUpSeconds), () =>
    queue.enqueue(timed, { sentAt: preciseNow(), text }),
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  const answer = once(child, "message");
  child.send("stop");
  const [latencies] = (await answer) as [number[]];
  await once(child, "exit");
  return { ...quantiles(latencies.slice(perSecond * warmUpSeconds)), jobs: perSecond * seconds };
}

async function fill(store: Store<unknown>, jobs: number): Promise<void> {
  const queue = new Queue({ store });
  for (let added = 0; added < jobs; added += 1_000) {
    await queue.enqueueMany(
      work,
      Array.from({ length: Math.min(1_000, jobs - added) }, () => payload),
    );
  }
}

async function warmUp(queue: Queue<unknown>): Promise<void> {
  for (let i = 0; i < 300; i++) await queue.enqueue(work, payload);
}
