/**
 * Workers that stop in good order, and jobs that are asked to.
 */
import assert from "node:assert/strict";
import { handle } from "../../../processor.js";
import { aType, changed, fired, Gate } from "./stage.js";
import type { LifeCase } from "./stage.js";

export function stoppingCases(test: LifeCase): void {
  test("a worker that stops waits for its running handlers", async (stage) => {
    const type = aType();
    const gate = new Gate();
    const worker = await stage.work([handle(type, () => gate.opened.then(() => "done"))]);
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");

    const stopping = worker.stop({ graceMs: 10_000 });
    await stage.pass(5_000);
    gate.open();
    await stage.reach(stopping, "the worker to stop");

    assert.equal((await stage.job(job.id)).state, "completed");
  });

  test("a worker that stops aborts what does not end in time and gives the attempt back", async (stage) => {
    const type = aType();
    const reasons: unknown[] = [];
    const worker = await stage.work([
      handle(type, async (_job, ctx) => {
        reasons.push(await fired(ctx.signal));
        ctx.signal.throwIfAborted();
      }),
    ]);
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");

    await stage.reach(worker.stop({ graceMs: 1_000 }), "the worker to stop");

    assert.deepEqual(reasons, ["shutdown"]);
    const released = await stage.job(job.id);
    assert.deepEqual([released.state, released.attempt], ["pending", 0]);
  });

  test("a released job completes elsewhere in its first attempt, under a higher epoch", async (stage) => {
    const type = aType<readonly [number, number]>();
    const first = await stage.work([
      handle(type, (_job, ctx) => fired(ctx.signal).then(() => Promise.reject(new Error()))),
    ]);
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");
    await stage.reach(first.stop({ graceMs: 0 }), "the first worker to stop");

    await stage.work([handle(type, (_job, ctx) => [ctx.attempt, ctx.epoch] as const)]);

    assert.deepEqual((await stage.completed(job)).output, [1, 2]);
  });

  test("a handler that ignores shutdown holds the worker up no longer than the grace", async (stage) => {
    const type = aType();
    const worker = await stage.work([handle(type, () => new Promise(() => {}))], { abortGraceMs: 2_000 });
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");
    const before = stage.clock.now();

    await stage.reach(worker.stop({ graceMs: 1_000 }), "the worker to stop");

    assert.ok(stage.clock.now() - before <= 4_000, `took ${stage.clock.now() - before} ms`);
    assert.equal((await stage.job(job.id)).state, "pending");
  });

  test("a stopped worker is off the list and claims nothing more", async (stage) => {
    const type = aType();
    const worker = await stage.work([handle(type, () => "done")]);
    await stage.reach(worker.stop(), "the worker to stop");

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.pass(3_000);

    assert.deepEqual(await stage.queue.workers(), []);
    assert.equal((await stage.job(job.id)).state, "pending");
  });

  test("a worker that is stopped while it starts is off the list too", async (stage) => {
    const gate = new Gate();
    const store = changed(stage.store, {
      heartbeat: async (...beat: Parameters<typeof stage.store.heartbeat>) => {
        await gate.opened;
        return stage.store.heartbeat(...beat);
      },
    });
    const worker = stage.hire([handle(aType(), () => "done")], { store });
    const starting = worker.start();

    const stopping = worker.stop();
    await stage.turn();
    gate.open();
    await stage.reach(Promise.allSettled([starting, stopping]), "the worker to stop");
    await stage.pass(10_000);

    const working = (await stage.queue.workers()).filter(({ isLost }) => !isLost);
    assert.deepEqual(working, []);
  });

  test("cancelling a running job fires its signal and ends it as cancelled", async (stage) => {
    const type = aType();
    const reasons: unknown[] = [];
    await stage.work([
      handle(type, async (_job, ctx) => {
        reasons.push(await fired(ctx.signal));
        ctx.signal.throwIfAborted();
      }),
    ]);
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");

    const outcome = await stage.queue.cancel(job.id);
    const ended = await stage.ended(job);

    assert.deepEqual([outcome, reasons, ended.state, ended.attempt], ["requested", ["cancelled"], "cancelled", 1]);
  });

  test("cancelling a running job reaches a worker that has all its slots taken", async (stage) => {
    const type = aType();
    await stage.work([handle(type, (_job, ctx) => fired(ctx.signal).then(() => ctx.signal.throwIfAborted()))], {
      concurrency: 1,
      leaseMs: 60_000,
    });
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");
    const before = stage.clock.now();

    await stage.queue.cancel(job.id);
    const ended = await stage.ended(job);

    assert.equal(ended.state, "cancelled");
    // Sooner than with the next heartbeat, which has a third of the lease to come.
    assert.ok(stage.clock.now() - before < 15_000, "it came with a heartbeat at the earliest");
  });

  test("a job cancelled while it runs keeps the reason it was cancelled for", async (stage) => {
    const type = aType();
    await stage.work([handle(type, (_job, ctx) => fired(ctx.signal).then(() => ctx.signal.throwIfAborted()))]);
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");

    await stage.queue.cancel(job.id, { reason: "the campaign was deleted" });
    const ended = await stage.ended(job);

    assert.equal(ended.state === "cancelled" && ended.reason, "the campaign was deleted");
  });

  test("a running job that completes although it was asked to stop is completed", async (stage) => {
    const type = aType();
    await stage.work([handle(type, (_job, ctx) => fired(ctx.signal).then(() => "done all the same"))]);
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");

    await stage.queue.cancel(job.id);

    assert.equal((await stage.completed(job)).output, "done all the same");
  });

  test("a pending job that is cancelled does not run", async (stage) => {
    const type = aType();
    const ran: number[] = [];
    const { job: unwanted } = await stage.queue.enqueue(type, { n: 1 });
    const { job: wanted } = await stage.queue.enqueue(type, { n: 2 });

    const outcome = await stage.queue.cancel(unwanted.id, { reason: "changed my mind" });
    await stage.work([handle(type, (job) => void ran.push(job.payload.n))]);
    await stage.completed(wanted);

    assert.deepEqual([outcome, ran], ["applied", [2]]);
    const cancelled = await stage.job(unwanted.id);
    assert.equal(cancelled.state === "cancelled" && cancelled.reason, "changed my mind");
  });
}
