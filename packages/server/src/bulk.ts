/**
 * One command for all jobs that match a query, as a job of its own: paced, with progress, aborted like any job, and gone on with where
 * it was when its worker dies. What matches is frozen at `asOf`: what comes or ends later is not swept in.
 */
import {
  defineJob,
  fail,
  handle,
  Worker,
  type By,
  type Context,
  type HandlerResult,
  type Queue,
  type Store,
} from "sluice";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";

const BulkOrder = z.object({
  action: z.enum(["cancel", "retry", "discard"]),
  q: z.string(),
  asOf: z.number(),
  /** Types that whoever asked may touch; null: all. */
  within: z.array(z.string()).nullable(),
  canary: z.number(),
  ratePerSecond: z.number(),
  actor: z.string(),
  reason: z.string(),
  requestId: z.string(),
});
type BulkOrder = z.infer<typeof BulkOrder>;

export const bulkJob = defineJob({
  type: "sluice.bulk",
  payload: BulkOrder,
  unique: false,
  timeoutMs: 7 * 24 * 60 * 60 * 1_000,
});

/** What became of the jobs that matched. `skipped`: they had moved on. */
export interface BulkResult {
  readonly done: number;
  readonly skipped: number;
}

/** Little enough that a page is done within a few milliseconds, and an abort is heard. */
const pageSize = 200;
const canaryMs = 10 * 60 * 1_000;
const canaryShare = 0.8;

/** How long completed jobs are kept is for the application's workers to say: this one deletes none. */
const neverMs = 1e13;

/**
 * Runs bulk actions, one at a time. They are few and can wait a second: it does not look whenever somebody enqueues something.
 */
export function bulkWorker(store: Store<unknown>, queue: Queue<unknown>): Worker<unknown> {
  const processor = handle(bulkJob, (job, ctx) => runBulk(queue, job.payload, ctx));
  return new Worker({ store, concurrency: 1, listens: false, retentionMs: neverMs, processors: [processor as never] });
}

async function runBulk(queue: Queue<unknown>, order: BulkOrder, ctx: Context): Promise<HandlerResult<BulkResult>> {
  const progress = { done: 0, skipped: 0 };
  if (order.action === "retry" && order.canary > 0) {
    const verdict = await sendCanary(queue, order, ctx);
    if (verdict.failed !== null) return fail(verdict.failed);
    progress.done += verdict.done;
  }
  let cursor: string | null = null;
  for (let page = 0; ; page++) {
    const from: string | null = cursor;
    const began = performance.now();
    // Remembered: who goes on after a crash begins with the page that was not finished. Doing that one again finds its jobs moved on.
    const { next, done, skipped }: PageResult = await ctx.step(`page ${page}`, () => runPage(queue, order, from));
    progress.done += done;
    progress.skipped += skipped;
    ctx.progress(progress.done + progress.skipped);
    if (next === null) return progress;
    cursor = next;
    const dueMs = (1_000 * (done + skipped)) / order.ratePerSecond;
    await sleep(Math.max(0, dueMs - (performance.now() - began)), undefined, { signal: ctx.signal });
    ctx.signal.throwIfAborted();
  }
}

interface PageResult extends BulkResult {
  readonly next: string | null;
}

async function runPage(queue: Queue<unknown>, order: BulkOrder, cursor: string | null): Promise<PageResult> {
  const page = await queue.search(order.q, { ...searchOf(order), limit: pageSize, ...(cursor !== null && { cursor }) });
  const results = await queue.amendMany(
    order.action,
    page.jobs.map(({ id }) => id),
    byOf(order),
  );
  const done = results.filter(({ outcome }) => outcome === "applied" || outcome === "requested").length;
  return { next: page.next, done, skipped: results.length - done };
}

/** A few first: the rest is left alone when too few of them complete. */
async function sendCanary(
  queue: Queue<unknown>,
  order: BulkOrder,
  ctx: Context,
): Promise<{ readonly failed: string | null; readonly done: number }> {
  const ids = await ctx.step("canary", async () => {
    const { jobs } = await queue.search(order.q, { ...searchOf(order), limit: order.canary });
    const results = await queue.amendMany(
      order.action,
      jobs.map(({ id }) => id),
      byOf(order),
    );
    return results.filter(({ outcome }) => outcome === "applied").map(({ id }) => id);
  });
  const until = performance.now() + canaryMs;
  for (;;) {
    const jobs = (await queue.getMany(ids)).filter((job) => job !== null);
    const completed = jobs.filter(({ state }) => state === "completed").length;
    const failed = jobs.filter(({ state }) => state === "failed" || state === "cancelled").length;
    // One that is gone had completed, or nobody can say: it does not count against the rest.
    if (completed + failed === jobs.length && completed >= canaryShare * jobs.length)
      return { failed: null, done: ids.length };
    const isHopeless = failed > (1 - canaryShare) * jobs.length;
    if (isHopeless || performance.now() > until) {
      const said = `${completed} of the ${ids.length} that were retried first have completed, ${failed} have not`;
      return { failed: `${said}; the others were left alone.`, done: ids.length };
    }
    await sleep(500, undefined, { signal: ctx.signal });
  }
}

function searchOf({ asOf, within }: BulkOrder) {
  return { asOf: new Date(asOf), ...(within !== null && { within }) };
}

function byOf({ actor, reason, requestId }: BulkOrder): By {
  return { actor, reason, requestId };
}
