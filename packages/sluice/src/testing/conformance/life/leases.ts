/**
 * Workers that die, or go silent and come back: their jobs run elsewhere, and nothing they do late counts.
 */
import assert from "node:assert/strict";
import type { Context } from "../../../context.js";
import { JobsError } from "../../../errors.js";
import { handle } from "../../../processor.js";
import { defaultMaxCrashes as maxCrashes } from "../../../settlement.js";
import type { ClaimRequest } from "../../../store.js";
import { aBeat, aClaim } from "../../builders.js";
import { aType, changed, fired, Gate, leaseMs, retryMs } from "./stage.js";
import type { LifeCase, Stage } from "./stage.js";

export function leaseCases(test: LifeCase): void {
  test("jobs whose claim was committed and answered to nobody run all the same, once", async (stage) => {
    const type = aType();
    let isLine = "up";
    const store = changed(stage.store, {
      claim: async (request: ClaimRequest) => {
        const answer = await stage.store.claim(request);
        if (answer.jobs.length === 0 || isLine === "mended") return answer;
        isLine = "mended";
        throw new JobsError("STORE_UNAVAILABLE", "The connection broke behind the commit.");
      },
    });
    const runs: number[] = [];
    await stage.work([handle(type, (job) => void runs.push(job.payload.n))], { store });

    const sent = await stage.enqueueMany(type, [{ n: 1 }, { n: 2 }]);
    const ended = [await stage.completed(sent[0]!.job), await stage.completed(sent[1]!.job)];

    assert.deepEqual([...runs].sort(), [1, 2]);
    assert.deepEqual(
      ended.map(({ attempt, crashes }) => [attempt, crashes]),
      [
        [1, 0],
        [1, 0],
      ],
    );
  });

  test("the job of a worker that went silent runs elsewhere", async (stage) => {
    const type = aType();
    const { job } = await heldByFrozenWorker(stage, type);

    await stage.work([handle(type, (_job, ctx) => `done in attempt ${ctx.attempt}`)]);
    const ended = await stage.completed(job);

    assert.deepEqual([ended.output, ended.crashes], ["done in attempt 2", 1]);
    const { attempts } = await stage.queue.history(job.id);
    assert.deepEqual(
      attempts.map(({ attempt, crashed, error }) => ({ attempt, crashed, name: error.name })),
      [{ attempt: 1, crashed: true, name: "WorkerLost" }],
    );
  });

  test("a first crash costs no backoff: the job runs again within the lease and two looks", async (stage) => {
    const type = aType({ timeoutMs: 3_600_000 });
    const before = stage.clock.now();
    const { job } = await heldByFrozenWorker(stage, type);

    await stage.work([handle(type, () => "done")]);
    const ended = await stage.completed(job);

    const afterMs = ended.startedAt.getTime() - before;
    assert.ok(afterMs <= leaseMs + 2_000, `started again after ${afterMs} ms`);
  });

  test("a worker whose lease ran out aborts its attempts with lease_lost", async (stage) => {
    const type = aType();
    const { job, frozen, signalled } = await heldByFrozenWorker(stage, type);
    await stage.work([handle(type, () => "done")]);
    await stage.completed(job);

    frozen.thaw();

    assert.equal(await stage.soon(signalled, "the signal"), "lease_lost");
  });

  test("what a worker settles after it lost its lease changes nothing", async (stage) => {
    const type = aType();
    const { job, frozen, finish } = await heldByFrozenWorker(stage, type);
    await stage.work([handle(type, () => "second")]);
    const completions: string[] = [];
    stage.events.on("job.completed", () => completions.push("rescuer"));
    frozen.events.on("job.completed", () => completions.push("frozen"));
    const late = stage.next("job.leaseLost", { from: frozen.events });
    await stage.completed(job);

    finish.open();
    await stage.soon(late, "the late settlement to be refused");

    assert.equal((await stage.completed(job)).output, "second");
    assert.deepEqual(completions, ["rescuer"]);
  });

  test("a late settlement does not disturb the attempt that holds the job by now", async (stage) => {
    const type = aType();
    const { job, frozen, finish } = await heldByFrozenWorker(stage, type);
    const gate = new Gate();
    const restarted = stage.next("job.started");
    await stage.work([handle(type, () => gate.opened.then(() => "second"))]);
    await stage.reach(restarted, "the job to start again");

    const late = stage.next("job.leaseLost", { from: frozen.events });
    finish.open();
    await stage.soon(late, "the late settlement to be refused");

    assert.equal((await stage.job(job.id)).state, "processing");
    gate.open();
    assert.equal((await stage.completed(job)).output, "second");
  });

  test("a worker that lost its lease goes on under a new id", async (stage) => {
    const type = aType();
    const { job, frozen, finish } = await heldByFrozenWorker(stage, type);
    const rescuer = await stage.work([handle(type, () => "done")]);
    await stage.completed(job);
    await stage.reach(rescuer.stop(), "the rescuer to stop");

    const again = stage.next("worker.started", { from: frozen.events });
    finish.open();
    frozen.thaw();
    const { workerId } = await stage.soon(again, "the worker to register again");
    const { job: next } = await stage.queue.enqueue(type, { n: 2 });
    const ended = await stage.completed(next);

    assert.equal(ended.output, "late");
    const alive = (await stage.queue.workers()).filter(({ isLost }) => !isLost);
    assert.deepEqual(
      alive.map((worker) => worker.workerId),
      [workerId],
    );
  });

  test("a worker that registers again while a claim of before is on its way goes on claiming", async (stage) => {
    const type = aType();
    const gate = new Gate();
    const claim = async (...request: Parameters<typeof stage.store.claim>) => {
      const answer = await stage.store.claim(...request);
      await gate.opened;
      return answer;
    };
    const { events, clock, thaw } = await stage.freeze([handle(type, () => "done")], { claim });
    await stage.work([handle(aType({ type: "another" }), () => "done")]);
    await stage.pass(2 * leaseMs);
    const again = stage.next("worker.started", { from: events });
    thaw();
    await stage.soon(again, "the worker to register again");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.turn();

    gate.open();
    const completed = stage.next("job.completed", { from: events });
    await stage.reach(completed, "the job to complete", [stage.clock, clock]);

    assert.equal((await stage.completed(job)).output, "done");
  });

  test("the events of a lost attempt name the worker that ran it", async (stage) => {
    const type = aType();
    const { job, frozen, workerId, finish } = await heldByFrozenWorker(stage, type);
    await stage.work([handle(type, () => "done")]);
    await stage.completed(job);

    const lost = stage.next("worker.leaseLost", { from: frozen.events });
    const late = stage.next("job.leaseLost", { from: frozen.events });
    frozen.thaw();
    finish.open();

    assert.equal((await stage.soon(lost, "the worker to notice")).workerId, workerId);
    assert.equal((await stage.soon(late, "the attempt to end")).workerId, workerId);
  });

  test("a worker that renews its lease keeps its job for many leases", async (stage) => {
    const type = aType({ timeoutMs: 3_600_000 });
    const gate = new Gate();
    let runs = 0;
    const handler = handle(type, async (_job, ctx) => {
      runs++;
      await Promise.race([gate.opened, fired(ctx.signal)]);
    });
    await stage.work([handler]);
    await stage.work([handler]);
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");

    await stage.pass(5 * leaseMs);
    gate.open();
    await stage.completed(job);

    assert.equal(runs, 1);
  });

  test("a job whose workers keep dying under it fails as crashed", async (stage) => {
    const type = aType();
    await stage.work([handle(aType({ type: "another" }), () => "done")]);
    const { job } = await stage.queue.enqueue(type, { n: 1 }, { maxAttempts: 100 });
    const doomed = Array.from({ length: maxCrashes }, (_, index) => `doomed-${index + 1}`);

    for (const workerId of doomed) await diesHolding(stage, workerId);
    const ended = await stage.failed(job);

    assert.deepEqual([ended.reason, ended.crashes, ended.error.name], ["crashed", maxCrashes, "WorkerLost"]);
    const { attempts } = await stage.queue.history(job.id);
    assert.deepEqual(
      attempts.map(({ crashed, workerId }) => [crashed, workerId]),
      doomed.map((workerId) => [true, workerId]),
    );
  });

  test("a job asked to cancel whose worker died ends cancelled", async (stage) => {
    const type = aType();
    const { job } = await heldByFrozenWorker(stage, type);
    await stage.queue.cancel(job.id);

    let runs = 0;
    await stage.work([handle(type, () => void runs++)]);

    assert.equal((await stage.ended(job)).state, "cancelled");
    assert.equal(runs, 0);
  });

  test("ctx.step under a lost lease refuses, and what it returned is not remembered", async (stage) => {
    const type = aType();
    const frozen = await heldByFrozenWorker(stage, type, (ctx) => ctx.step("embed", () => "late"));
    const { job } = frozen;
    await stage.work([handle(type, (_job, ctx) => ctx.step("embed", () => "in time"))]);
    await stage.completed(job);

    frozen.finish.open();
    const error = await stage.soon(frozen.threw, "the step to refuse");

    assert.ok(error instanceof JobsError);
    assert.equal(error.code, "LEASE_LOST");
    const [step] = await stage.store.recall(job.id);
    assert.equal(step?.output, '"in time"');
  });

  test("ctx.step does not even begin once the attempt knows that its lease is lost", async (stage) => {
    const type = aType();
    let effects = 0;
    const frozen = await heldByFrozenWorker(stage, type, (ctx) => ctx.step("charge", () => ++effects));
    await stage.work([handle(type, () => "done")]);
    await stage.completed(frozen.job);
    frozen.frozen.thaw();
    await stage.soon(frozen.signalled, "the signal");

    frozen.finish.open();
    const error = await stage.soon(frozen.threw, "the step to refuse");

    assert.equal(error instanceof JobsError && error.code, "LEASE_LOST");
    assert.equal(effects, 0);
  });

  test("a settlement refused as STORE_UNAVAILABLE is sent again until it is durable", async (stage) => {
    const type = aType();
    let refusals = 3;
    const store = changed(stage.store, {
      settle: async (...settlements: Parameters<typeof stage.store.settle>) => {
        if (refusals-- > 0) throw new JobsError("STORE_UNAVAILABLE", "The store is busy.");
        return stage.store.settle(...settlements);
      },
    });
    let runs = 0;
    await stage.work([handle(type, () => void runs++)], { store });

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    assert.equal(runs, 1);
  });

  test("a job whose settlement cannot be stored does not stay processing while its worker lives", async (stage) => {
    const type = aType();
    let isBroken = true;
    const store = changed(stage.store, {
      settle: async (...[settlements]: Parameters<typeof stage.store.settle>) => {
        if (isBroken && settlements.some(({ kind }) => kind === "complete")) throw new TypeError("cannot store this");
        return stage.store.settle(settlements);
      },
    });
    await stage.work([handle(type, () => "done")], { store });
    const troubled = stage.next("worker.troubled", { where: ({ during }) => during.startsWith("settling job") });
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.reach(troubled, "the settlement to be refused");

    isBroken = false;
    await stage.pass(leaseMs + 4 * retryMs);

    assert.notEqual((await stage.job(job.id)).state, "processing");
  });

  test("a claim refused as STORE_UNAVAILABLE is tried again", async (stage) => {
    const type = aType();
    let refusals = 2;
    const store = changed(stage.store, {
      claim: async (...request: Parameters<typeof stage.store.claim>) => {
        if (refusals-- > 0) throw new JobsError("STORE_UNAVAILABLE", "The store is busy.");
        return stage.store.claim(...request);
      },
    });
    await stage.work([handle(type, () => "done")], { store });

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.equal((await stage.completed(job)).attempt, 1);
  });

  test("an enqueue refused as STORE_UNAVAILABLE after it took effect adds one job", async (stage) => {
    const type = aType();
    let refusals = 1;
    const store = changed(stage.store, {
      enqueue: async (...jobs: Parameters<typeof stage.store.enqueue>) => {
        const results = await stage.store.enqueue(...jobs);
        if (refusals-- > 0) throw new JobsError("STORE_UNAVAILABLE", "The answer was lost.");
        return results;
      },
    });
    const queue = stage.queueOn(store);

    const { outcome } = await stage.reach(queue.enqueue(type, { n: 1 }), "the enqueue");

    assert.equal(outcome, "created");
    assert.equal((await stage.queue.list()).jobs.length, 1);
  });
}

/**
 * A job in the hands of a worker for which time stands still. Its handler waits for `finish`, then does `work`;
 * `signalled` resolves with the reason of its signal, `threw` with what `work` threw.
 */
async function heldByFrozenWorker(
  stage: Stage,
  type: ReturnType<typeof aType>,
  work: (ctx: Context) => Promise<unknown> = () => Promise.resolve("late"),
) {
  const finish = new Gate();
  let signal: (reason: unknown) => void = () => {};
  let fail: (error: unknown) => void = () => {};
  const signalled = new Promise<unknown>((resolve) => (signal = resolve));
  const threw = new Promise<unknown>((resolve) => (fail = resolve));
  const frozen = await stage.freeze([
    handle(type, async (_job, ctx) => {
      void fired(ctx.signal).then(signal);
      await finish.opened;
      return work(ctx).catch((error: unknown) => {
        fail(error);
        throw error;
      });
    }),
  ]);
  const started = stage.next("job.started", { from: frozen.events });
  const { job } = await stage.queue.enqueue(type, { n: 1 });
  const { workerId } = await stage.soon(started, "the job to start");
  return { job, frozen, workerId, finish, signalled, threw };
}

/** A worker process as the store sees it when it is killed: it registers, claims, and is never heard of again. */
async function diesHolding(stage: Stage, workerId: string): Promise<void> {
  const rescued = stage.next("worker.rescued", { where: ({ workerIds }) => workerIds.includes(workerId) });
  await stage.store.heartbeat(aBeat({ workerId, leaseMs }));
  for (let waits = 0; (await stage.store.claim(aClaim({ workerId }))).jobs.length === 0; waits++) {
    assert.ok(waits < 100, "the job did not become due");
    await stage.store.heartbeat(aBeat({ workerId, leaseMs }));
    await stage.pass(1_000);
  }
  await stage.reach(rescued, `${workerId} to be declared lost`);
}
