/**
 * Many jobs in one call of a handler (F5): who shares a batch, and that each job keeps a life of its own in it.
 */
import assert from "node:assert/strict";
import { handleBatch, type BatchItem } from "../../../batch.js";
import type { BatchOptions } from "../../../definition.js";
import { handle, snooze } from "../../../processor.js";
import { NonRetryableError } from "../../../errors.js";
import type { Job } from "../../../job.js";
import { aNewJob } from "../../builders.js";
import { aType, crash, fired, Gate, type LifeCase, type Stage, type Task } from "./stage.js";

export function batchCases(test: LifeCase): void {
  forming(test);
  endings(test);
  lives(test);
  slots(test);
}

function forming(test: LifeCase): void {
  test("jobs that wait run together, in the order they came, no more than the definition says", async (stage) => {
    const batches = await batchesOf(stage, { max: 3 }, [1, 2, 3, 4, 5, 6, 7]);

    assert.deepEqual(batches, [[1, 2, 3], [4, 5, 6], [7]]);
  });

  test("only jobs of one key share a batch", async (stage) => {
    const by = ({ n }: Task) => (n % 2 === 0 ? "even" : "odd");

    const batches = await batchesOf(stage, { max: 10, by }, [1, 2, 3, 4, 5]);

    assert.deepEqual(batches, [
      [1, 3, 5],
      [2, 4],
    ]);
  });

  test("a batch weighs no more than it may, and what is heavier runs by itself", async (stage) => {
    const batches = await batchesOf(stage, { max: 10, weight: ({ n }) => n, maxWeight: 10 }, [4, 5, 3, 20, 1, 1]);

    assert.deepEqual(batches, [[4, 5], [3], [20], [1, 1]]);
  });

  test("a job that cannot be weighed runs by itself, and the worker says so", async (stage) => {
    const troubled = stage.next("worker.troubled");
    const by = ({ n }: Task) => {
      if (n === 2) throw new Error("no key");
      return "key";
    };

    const batches = await batchesOf(stage, { max: 10, by }, [1, 2, 3]);

    assert.deepEqual(batches, [[1, 3], [2]]);
    assert.match((await stage.soon(troubled, "the trouble")).during, /^finding a batch for job/);
  });

  test("jobs wait for company in the store, in no slot, and run when there are enough", async (stage) => {
    const type = aType({ type: "batched", batch: { max: 5, min: 3, waitMs: 60_000 } });
    const other = aType({ type: "other" });
    const { processor, batches } = recorded(type);
    await stage.work([processor, handle(other, () => "done")], { concurrency: 1 });
    const first = await stage.enqueueMany(type, [{ n: 1 }, { n: 2 }]);
    await stage.pass(5_000);
    const states = await Promise.all(first.map(async ({ job }) => (await stage.job(job.id)).state));
    await stage.completed((await stage.queue.enqueue(other, { n: 1 })).job);

    const last = await stage.queue.enqueue(type, { n: 3 });
    await stage.completed(last.job);

    assert.deepEqual(states, ["pending", "pending"]);
    assert.deepEqual(batches, [[1, 2, 3]]);
  });

  test("jobs that found no company run when they have waited for as long as they should", async (stage) => {
    const type = aType({ batch: { max: 5, min: 3, waitMs: 400 } });
    const { processor, batches } = recorded(type);
    // Longer than any test: who does not know when the wait is over comes too late.
    await stage.work([processor], { pollMs: 365 * 24 * 3_600_000 });

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    const waitedMs = ended.startedAt.getTime() - ended.createdAt.getTime();
    assert.ok(waitedMs >= 400 && waitedMs < 3_000, `waited ${waitedMs} ms`);
    assert.deepEqual(batches, [[1]]);
  });

  test("jobs that crashed once share batches half as large", async (stage) => {
    const type = aType({ batch: { max: 4 } });
    await stage.enqueueMany(type, tasks(5));
    await crash(stage, { times: 1, jobs: 4 });

    const { processor, batches } = recorded(type);
    await stage.work([processor], { concurrency: 1 });
    await stage.allCompleted();

    // The fifth was never in a batch that crashed.
    assert.deepEqual(
      batches.map((batch) => batch.length),
      [2, 2, 1],
    );
  });
}

function endings(test: LifeCase): void {
  test("jobs complete with what the handler returns for each, in order", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const ended = await ran(stage, type, tasks(3), (items) => items.map(({ job }) => `number ${job.payload.n}`));

    assert.deepEqual(outputs(ended), ["number 1", "number 2", "number 3"]);
  });

  test("a handler that returns nothing completes what is not settled", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const ended = await ran(stage, type, tasks(2), ([first]) => first!.complete("by itself"));

    assert.deepEqual(outputs(ended), ["by itself", undefined]);
  });

  test("when the handler throws, only jobs that are not settled fail", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const ended = await ran(stage, type, tasks(3), async ([first, second]) => {
      first!.complete("in time");
      second!.end(snooze(1));
      await Promise.resolve();
      throw new NonRetryableError("the rest is lost");
    });

    assert.deepEqual(summaries(ended), ["completed", "scheduled", "failed non_retryable the rest is lost"]);
  });

  test("an error of one job is retried as that of a single handler, and touches no other", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    let calls = 0;
    const { processor, batches } = recorded(type, ([first]) => {
      if (calls++ === 0) first!.fail(new Error("once"));
    });
    await stage.work([processor]);
    await stage.enqueueMany(type, tasks(2));
    await stage.allCompleted();

    assert.deepEqual(batches, [[1, 2], [1]]);
  });

  test("one job's work may throw in `run` without touching the others", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const ended = await ran(stage, type, tasks(3), async (items) => {
      await Promise.all(
        items.map((item) =>
          item.run(() => {
            if (item.job.payload.n === 2) throw new NonRetryableError("not this one");
            return "done";
          }),
        ),
      );
    });

    assert.deepEqual(summaries(ended), ["completed", "failed non_retryable not this one", "completed"]);
  });

  test("an array of another length fails what is not settled, and says why", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const ended = await ran(stage, type, tasks(3), ([first]) => {
      first!.complete();
      return ["one", "two"];
    });

    const refused = "failed non_retryable A batch handler was given 3 jobs and returned an array of 2.";
    assert.deepEqual(
      summaries(ended).map((text) => text.split(" Return")[0]),
      ["completed", refused, refused],
    );
  });

  test("a job settled by itself is durable while the batch goes on", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const gate = new Gate();
    const { processor } = recorded(type, async ([first]) => {
      first!.complete("early");
      await gate.opened;
    });
    const [first, second] = await stage.enqueueMany(type, tasks(2));
    await stage.work([processor]);
    await stage.completed(first!.job);
    const { state } = await stage.job(second!.job.id);

    gate.open();
    await stage.completed(second!.job);

    assert.equal(state, "processing");
  });

  test("a job is settled once: what comes later changes nothing", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const ended = await ran(stage, type, tasks(1), ([only]) => {
      only!.complete("first");
      only!.fail(new Error("second"));
      only!.complete("third");
      return ["fourth"];
    });

    assert.deepEqual(outputs(ended), ["first"]);
  });
}

function lives(test: LifeCase): void {
  test("a job whose payload cannot be read fails by itself, the others run", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const broken = aNewJob({ payload: '{"n":"one"}' });
    await stage.store.enqueue([broken]);
    await stage.enqueueMany(type, tasks(2));

    const { processor, batches } = recorded(type);
    await stage.work([processor]);
    const ended = await stage.failed(broken);

    assert.equal(ended.reason, "invalid_payload");
    assert.deepEqual(batches, [[1, 2]]);
  });

  test("a cancellation stops one job of a batch, and only its signal", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const gate = new Gate();
    const aborted: number[] = [];
    const { processor } = recorded(type, async (items, batch) => {
      for (const { ctx, job } of items) void fired(ctx.signal).then(() => aborted.push(job.payload.n));
      items[0]!.fail(await fired(items[0]!.ctx.signal));
      assert.equal(batch.signal.aborted, false);
      await gate.opened;
    });
    const [first, second] = await stage.enqueueMany(type, tasks(2));
    const started = stage.next("job.started");
    await stage.work([processor]);
    await stage.soon(started, "the batch to start");

    await stage.queue.cancel(first!.job.id);
    const cancelled = await stage.ended(first!.job);
    gate.open();

    assert.equal(cancelled.state, "cancelled");
    assert.equal((await stage.ended(second!.job)).state, "completed");
    assert.deepEqual(aborted, [1]);
  });

  test("the signal of the batch fires when every job in it was told to stop", async (stage) => {
    const type = aType({ batch: { max: 10 }, timeoutMs: 2_000 });
    const reasons: unknown[] = [];
    const { processor } = recorded(type, async ([first], batch) => {
      first!.complete();
      reasons.push(await fired(batch.signal));
      throw new Error("stopped");
    });
    await stage.work([processor]);
    const retried = stage.next("job.retried");
    await stage.enqueueMany(type, tasks(3));

    const { error } = await stage.reach(retried, "the timeout");

    assert.equal(error.name, "TimeoutError");
    assert.deepEqual(reasons, ["timeout"]);
  });

  test("every job has its own steps, log and progress", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const [first, second] = await stage.enqueueMany(type, tasks(2));
    const { processor } = recorded(type, async (items) => {
      for (const { ctx, job } of items) {
        await ctx.step("name", () => job.payload.n);
        ctx.log.info(`this is ${job.payload.n}`);
        ctx.progress(job.payload.n, 2);
      }
    });
    await stage.work([processor]);

    for (const [index, { job }] of [first!, second!].entries()) {
      const ended = await stage.completed(job);
      const [step] = await stage.store.recall(job.id);
      const { lines } = await stage.queue.history(job.id);
      assert.deepEqual(
        [ended.progress, step?.output, lines.map(({ message }) => message)],
        [{ done: index + 1, total: 2 }, String(index + 1), [`this is ${index + 1}`]],
      );
    }
  });

  test("hooks and middleware see each job of a batch", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const seen: string[] = [];
    const processor = Object.assign(
      handleBatch(type, ([, second]) => second!.fail(new NonRetryableError("no"))),
      {
        onStart: (job: { payload: Task }) => void seen.push(`start ${job.payload.n}`),
        onSuccess: (job: { payload: Task }) => void seen.push(`success ${job.payload.n}`),
        onFailure: (job: { payload: Task }) => void seen.push(`failure ${job.payload.n}`),
      },
    );
    const worker = stage.hire([processor]).use(async (job, _ctx, next) => {
      const result = await next();
      seen.push(`around ${(job.payload as Task).n}`);
      return result;
    });
    const jobs = await stage.enqueueMany(type, tasks(2));
    await stage.soon(worker.start(), "the worker to start");
    for (const { job } of jobs) await stage.ended(job);
    await stage.turn();

    assert.deepEqual(seen.sort(), ["around 1", "failure 2", "start 1", "start 2", "success 1"]);
  });

  test("a worker that stops gives back the jobs of a batch that does not end", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const jobs = await stage.enqueueMany(type, tasks(3));
    const started = stage.next("job.started");
    const worker = await stage.work([recorded(type, (_items, { signal }) => fired(signal).then(stopped)).processor]);
    await stage.soon(started, "the batch to start");

    await stage.reach(worker.stop({ graceMs: 100 }), "the worker to stop");

    const records = await Promise.all(jobs.map(({ job }) => stage.job(job.id)));
    assert.deepEqual(
      records.map(({ state, attempt }) => [state, attempt]),
      [
        ["pending", 0],
        ["pending", 0],
        ["pending", 0],
      ],
    );
  });

  test("jobs of a batch whose handler hangs are given up, and so is its slot", async (stage) => {
    const type = aType({ batch: { max: 2 }, timeoutMs: 1_000 });
    let calls = 0;
    const { processor } = recorded(type, () => (calls++ === 0 ? new Promise<void>(() => {}) : undefined));
    await stage.work([processor], { concurrency: 1 });

    await stage.enqueueMany(type, tasks(3));

    await stage.allCompleted();
  });

  test("a handler for single jobs runs the jobs of a batch type one by one", async (stage) => {
    const type = aType({ batch: { max: 10 } });
    const ran: number[] = [];
    const jobs = await stage.enqueueMany(type, tasks(3));
    await stage.work([handle(type, (job) => void ran.push(job.payload.n))]);
    for (const { job } of jobs) await stage.completed(job);

    assert.deepEqual(ran.sort(), [1, 2, 3]);
  });
}

function slots(test: LifeCase): void {
  test("a batch takes one slot, and holds it until its handler has ended", async (stage) => {
    const type = aType({ type: "batched", batch: { max: 2 } });
    let running = 0;
    let peak = 0;
    const { processor, batches } = recorded(type, async (items) => {
      peak = Math.max(peak, ++running);
      for (const item of items) item.complete();
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    });
    await stage.enqueueMany(type, tasks(8));
    await stage.work([processor], { concurrency: 2 });
    await stage.allCompleted();

    assert.equal(peak, 2);
    assert.equal(batches.length, 4);
  });

  test("a type's limit in a worker counts batches", async (stage) => {
    const by = ({ n }: Task) => String(n % 4);
    const type = aType({ type: "batched", batch: { max: 3, by } });
    let running = 0;
    let peak = 0;
    const { processor } = recorded(type, async ([first]) => {
      peak = Math.max(peak, ++running);
      await first!.ctx.step("wait", () => new Promise<null>((resolve) => setImmediate(() => resolve(null))));
      running--;
    });
    await stage.enqueueMany(type, tasks(12));
    await stage.work([processor], { concurrency: 10, typeConcurrency: { batched: 2 } });
    await stage.allCompleted();

    assert.equal(peak, 2);
  });

  test("single jobs and batches share the slots of a worker, and both get their turn", async (stage) => {
    const batched = aType({ type: "batched", batch: { max: 5 } });
    const single = aType({ type: "single" });
    let running = 0;
    let peak = 0;
    const work = async () => {
      peak = Math.max(peak, ++running);
      await new Promise<void>((resolve) => void stage.clock.setTimer(100, resolve));
      running--;
    };
    await stage.enqueueMany(batched, tasks(40));
    await stage.enqueueMany(single, tasks(40));
    const { processor, batches } = recorded(batched, work);
    await stage.work([processor, handle(single, work)], { concurrency: 3, pollMs: 365 * 24 * 3_600_000 });
    await stage.reach(
      stage.next("job.completed", { where: ({ job }) => job.type === "single" && batches.length > 0 }),
      "both types to run",
    );
    await stage.allCompleted();

    assert.equal(peak, 3);
    assert.deepEqual(new Set(batches.map((batch) => batch.length)), new Set([5]));
  });

  test("what found no slot is given back and runs all the same", async (stage) => {
    const by = ({ n }: Task) => String(n);
    const type = aType({ batch: { max: 10, by } });
    const { processor, batches } = recorded(type, async () => {
      await new Promise<void>((resolve) => void stage.clock.setTimer(600, resolve));
    });
    await stage.enqueueMany(type, tasks(5));
    await stage.work([processor], { concurrency: 1 });
    await stage.allCompleted();

    assert.deepEqual(batches, [[1], [2], [3], [4], [5]]);
  });
}

// ── what the cases are made of ──────────────────────────────────────────────

type TaskType = ReturnType<typeof aType>;
type Items = readonly BatchItem<Task>[];
type Work = Parameters<typeof handleBatch<Task, Task, unknown>>[1];

/** A batch processor, and the numbers of each batch that it got. */
function recorded(type: TaskType, work: Work = () => {}) {
  const batches: number[][] = [];
  const processor = handleBatch(type, (items: Items, batch) => {
    batches.push(items.map(({ job }) => job.payload.n));
    return work(items, batch);
  });
  return { processor, batches };
}

/** The batches that jobs run in which were all there before the worker. */
async function batchesOf(stage: Stage, batch: BatchOptions<Task>, numbers: readonly number[]): Promise<number[][]> {
  const type = aType({ batch });
  const jobs = await stage.enqueueMany(
    type,
    numbers.map((n) => ({ n })),
  );
  const { processor, batches } = recorded(type);
  await stage.work([processor]);
  for (const { job } of jobs) await stage.completed(job);
  return batches;
}

/** The jobs after one batch with all of them was settled. */
async function ran(stage: Stage, type: TaskType, payloads: readonly Task[], work: Work): Promise<Job[]> {
  const sent = await stage.enqueueMany(type, payloads);
  let isOver = () => {};
  const over = new Promise<void>((resolve) => (isOver = resolve));
  const { processor } = recorded(type, async (...args) => {
    try {
      return await work(...args);
    } finally {
      isOver();
    }
  });
  await stage.work([processor]);
  await stage.soon(over, "the batch to end");
  for (let turns = 0; ; turns++) {
    await stage.turn();
    const jobs = await Promise.all(sent.map(({ job }) => stage.job(job.id)));
    if (jobs.every(({ state }) => state !== "processing")) return jobs;
    assert.ok(turns < 100, "the batch ended, and its jobs were not settled");
  }
}

function outputs(jobs: readonly Job[]): unknown[] {
  return jobs.map((job) => (job.state === "completed" ? job.output : job.state));
}

function summaries(jobs: readonly Job[]): string[] {
  return jobs.map((job) => (job.state === "failed" ? `failed ${job.reason} ${job.error.message}` : job.state));
}

function stopped(): never {
  throw new Error("stopped");
}

function tasks(count: number): Task[] {
  return Array.from({ length: count }, (_, index) => ({ n: index + 1 }));
}
