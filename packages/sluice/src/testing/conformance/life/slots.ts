/**
 * When a job gets its turn: due times, priorities, and how many run at once.
 */
import assert from "node:assert/strict";
import { handle, type Processor } from "../../../processor.js";
import type { JobDefinition } from "../../../definition.js";
import { aType, fired, Gate, type Task } from "./stage.js";
import type { LifeCase, Stage } from "./stage.js";

/** Longer than any test lets time pass. */
const neverMs = 365 * 24 * 3_600_000;

export function slotCases(test: LifeCase): void {
  test("an endless stream of the highest priority does not starve the lowest", async (stage) => {
    const type = aType();
    const ran = { high: 0, low: 0 };
    let isOver = false;
    await stage.work(
      [
        handle(type, async ({ priority }) => {
          if (priority < 0) ran.low++;
          else ran.high++;
          await Promise.resolve();
          if (!isOver && priority >= 0) await stage.queue.enqueue(type, { n: 0 });
        }),
      ],
      { concurrency: 4 },
    );
    await stage.enqueueMany(type, tasks(8));
    await stage.enqueueMany(type, tasks(3), { priority: -10 });
    for (let waits = 0; ran.low < 3 && waits < 200; waits++) await stage.pass(1_000);
    isOver = true;
    assert.equal(ran.low, 3);
    assert.ok(ran.high > ran.low * 9, `${ran.high} of the highest`);
  });

  test("a scheduled job does not run before its time", async (stage) => {
    const type = aType();
    const ran: number[] = [];
    await stage.work([handle(type, (job) => void ran.push(job.payload.n))]);
    const { job: later } = await stage.queue.enqueue(type, { n: 2 }, { delayMs: 5_000 });
    await stage.pass(4_999);

    const { job: now } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(stage.next("job.completed"), "the job that is due");

    assert.equal(now.state, "pending");
    assert.deepEqual(ran, [1]);
    assert.equal((await stage.job(later.id)).state, "scheduled");
  });

  test("a scheduled job runs when its time has come", async (stage) => {
    const type = aType();
    await stage.work([handle(type, () => "done")]);
    const runAt = new Date(stage.clock.now() + 5_000);

    const { job } = await stage.queue.enqueue(type, { n: 1 }, { runAt });
    const ended = await stage.completed(job);

    const lateMs = ended.startedAt.getTime() - runAt.getTime();
    assert.ok(lateMs >= 0 && lateMs <= 1_000, `started ${lateMs} ms after its time`);
  });

  test("a higher priority runs first, equals in the order they came", async (stage) => {
    const type = aType();
    for (const [n, priority] of [
      [1, 0],
      [2, 5],
      [3, -5],
      [4, 5],
      [5, 0],
    ] as const) {
      await stage.queue.enqueue(type, { n }, { priority });
      stage.clock.advance(1);
    }

    const ran: number[] = [];
    await stage.work([handle(type, (job) => void ran.push(job.payload.n))], { concurrency: 1 });
    await everythingEnded(stage, 5);

    assert.deepEqual(ran, [2, 4, 1, 5, 3]);
  });

  // The next three let the worker sleep for ever when it has nothing to do: what is not claimed at once is not claimed.

  test("a slot that becomes free takes the next job at once", async (stage) => {
    const type = aType();
    const { processor, reached } = counted(stage, type, 200);
    await stage.work([processor], { concurrency: 1, pollMs: neverMs });
    const all = reached(5);
    await stage.enqueueMany(type, tasks(5));

    await stage.reach(all, "five jobs to have run one after another");
  });

  test("a type at its own limit goes on as soon as it is below it", async (stage) => {
    const narrow = aType({ type: "narrow" });
    const idle = aType({ type: "idle" });
    const { processor, reached } = counted(stage, narrow, 200);
    const limits = { concurrency: 10, typeConcurrency: { narrow: 1 }, pollMs: neverMs };
    await stage.work([processor, handle(idle, () => undefined)], limits);
    const all = reached(5);
    await stage.enqueueMany(narrow, tasks(5));

    await stage.reach(all, "five jobs of the narrow type to have run one after another");
  });

  test("with more work than slots, every type gets its turn", async (stage) => {
    const types = ["one", "two", "three"].map((name) => aType({ type: name }));
    for (const type of types) await stage.enqueueMany(type, tasks(20));
    const counters = types.map((type) => counted(stage, type, 50));
    const everyTypeTwice = Promise.all(counters.map(({ reached }) => reached(2)));

    await stage.work(
      counters.map(({ processor }) => processor),
      { concurrency: 1, pollMs: neverMs },
    );
    await stage.reach(everyTypeTwice, "two jobs of every type");

    const counts = counters.map(({ count }) => count());
    assert.ok(Math.max(...counts) <= 4, `the types have run ${counts.join(", ")} jobs`);
  });

  test("no more handlers run at once than the worker's concurrency", async (stage) => {
    const type = aType();
    const { processor, peak } = crowd(type);
    await stage.work([processor], { concurrency: 3 });

    const jobs = await stage.enqueueMany(type, tasks(10));
    for (const { job } of jobs) await stage.completed(job);

    assert.equal(peak(), 3);
  });

  test("a type with a concurrency of one makes its second job wait while other types go on", async (stage) => {
    const narrow = aType({ type: "narrow" });
    const wide = aType({ type: "wide" });
    const gate = new Gate();
    const ran: string[] = [];
    await stage.work(
      [
        handle(narrow, async (job) => {
          ran.push(`narrow ${job.payload.n}`);
          await gate.opened;
        }),
        handle(wide, (job) => void ran.push(`wide ${job.payload.n}`)),
      ],
      { concurrency: 10, typeConcurrency: { narrow: 1 } },
    );

    const [, second] = await stage.enqueueMany(narrow, tasks(2));
    const { job: other } = await stage.queue.enqueue(wide, { n: 1 });
    await stage.completed(other);

    // Which of the two types was asked for first is not what this is about.
    for (let turns = 0; turns < 100 && ran.length < 2; turns++) await stage.turn();
    assert.deepEqual([...ran].sort(), ["narrow 1", "wide 1"]);
    gate.open();
    await stage.completed(second!.job);
  });

  test("one worker never exceeds a type's concurrency, however many jobs wait", async (stage) => {
    const narrow = aType({ type: "narrow" });
    const { processor, peak } = crowd(narrow);
    await stage.work([processor], { concurrency: 10, typeConcurrency: { narrow: 2 } });

    const jobs = await stage.enqueueMany(narrow, tasks(8));
    for (const { job } of jobs) await stage.completed(job);

    assert.equal(peak(), 2);
  });

  test("a hundred quick jobs each run once", async (stage) => {
    const type = aType();
    const runs = new Map<number, number>();
    await stage.work([handle(type, (job) => void runs.set(job.payload.n, (runs.get(job.payload.n) ?? 0) + 1))]);

    const jobs = await stage.enqueueMany(type, tasks(100));
    for (const { job } of jobs) await stage.completed(job);

    assert.equal(runs.size, 100);
    assert.deepEqual([...new Set(runs.values())], [1]);
  });

  test("jobs claimed ahead go to others when the handlers of their worker stand still", async (stage) => {
    const { type, jobs } = await claimedAheadByStuckWorker(stage);

    await stage.work([handle(type, () => "elsewhere")]);
    await stage.pass(2_000);

    const states = await Promise.all(jobs.map(async (id) => (await stage.job(id)).state));
    assert.deepEqual(states.sort(), ["completed", "completed", "completed", "completed", "processing"]);
  });

  test("a worker whose handlers stand still stops claiming ahead", async (stage) => {
    const { jobs } = await claimedAheadByStuckWorker(stage);

    await stage.pass(5_000);

    const records = await stage.store.get(jobs);
    const claims = Math.max(...records.map((record) => record!.epoch));
    assert.ok(claims <= 3, `a waiting job was claimed and given back ${claims} times in 5 s`);
  });
}

/** A worker that has run many quick jobs, so that it claims ahead, and now hangs in the first of five. */
async function claimedAheadByStuckWorker(stage: Stage) {
  const type = aType();
  let isStuck = false;
  const handler = handle(type, (_job, ctx) =>
    isStuck ? fired(ctx.signal).then(() => Promise.reject(new Error())) : null,
  );
  await stage.work([handler], { concurrency: 1 });
  const quick = await stage.enqueueMany(type, tasks(60));
  for (const { job } of quick) await stage.completed(job);

  isStuck = true;
  const stuck = stage.next("job.started");
  const added = await stage.enqueueMany(type, tasks(5));
  await stage.soon(stuck, "the worker to get stuck");
  return { type, jobs: added.map(({ job }) => job.id) };
}

/** A processor whose handlers stay until all who could come along have come, and the largest number seen at once. */
function crowd(definition: JobDefinition<Task, Task>): { processor: Processor; peak: () => number } {
  let running = 0;
  let peak = 0;
  const processor = handle(definition, async (_job, ctx) => {
    peak = Math.max(peak, ++running);
    // A snooze of the event loop long enough for any other handler that is allowed to start.
    await ctx.step("wait", () => new Promise<null>((resolve) => setImmediate(() => resolve(null))));
    running--;
  });
  return { processor, peak: () => peak };
}

function tasks(count: number): Task[] {
  return Array.from({ length: count }, (_, index) => ({ n: index + 1 }));
}

/** Resolves when this many jobs have completed. */
async function everythingEnded(stage: Stage, count: number): Promise<void> {
  let left = count;
  await stage.reach(stage.next("job.completed", { where: () => --left === 0 }), `${count} jobs to complete`);
}

/** A handler that takes this long on the stage's clock, and a promise for when it has run so often. */
function counted(stage: Stage, type: JobDefinition<Task, Task>, ms: number) {
  let count = 0;
  const marks: { at: number; tell: () => void }[] = [];
  const processor: Processor = handle(type, async () => {
    await new Promise<void>((resolve) => void stage.clock.setTimer(ms, resolve));
    count++;
    for (const { at, tell } of marks) if (count >= at) tell();
  });
  const reached = (at: number) => new Promise<void>((tell) => void marks.push({ at, tell }));
  return { processor, reached, count: () => count };
}
