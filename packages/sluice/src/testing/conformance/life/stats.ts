/**
 * What queue and workers count as they go adds up to what has happened. Serves K3, K4, K5, O1.
 */
import assert from "node:assert/strict";
import { NonRetryableError } from "../../../errors.js";
import { handle, snooze } from "../../../processor.js";
import { aBeat, aClaim } from "../../builders.js";
import { aType, changed, leaseMs } from "./stage.js";
import type { LifeCase, Stage } from "./stage.js";

export function statsCases(test: LifeCase): void {
  test("twenty jobs, of which some fail, add up exactly", async (stage) => {
    const type = aType();
    const child = aType({ type: "child" });
    const worker = await stage.work([
      handle(type, async (job, ctx) => {
        await new Promise<void>((resolve) => stage.clock.setTimer(100, resolve));
        if (job.payload.n % 4 === 0) throw new NonRetryableError("never works");
        if (job.payload.n % 4 === 1 && ctx.attempt === 1) throw new Error("not yet");
        if (job.payload.n === 2 && ctx.attempt === 1 && ctx.epoch === 1) return snooze(500);
        if (job.payload.n === 3) await ctx.enqueue(child, { n: 0 });
        return undefined;
      }),
      handle(child, () => "done"),
    ]);

    const sent = await stage.enqueueMany(
      type,
      Array.from({ length: 20 }, (_, n) => ({ n })),
    );
    for (const { job } of sent) await stage.ended(job);
    await stage.reach(worker.stop(), "the worker to stop");
    await stage.queue.close();

    const { types, total } = await statsOf(stage);
    assert.deepEqual(types.map(({ type }) => type), ["child", "example"]); // prettier-ignore
    const { wait, run, ...figures } = types[1]!.total;
    assert.deepEqual(figures, {
      enqueued: 20,
      refused: 0,
      attempts: 25,
      completed: 15,
      retried: 5,
      failed: 5,
      crashed: 0,
      snoozed: 1,
      cancelled: 0,
      failureRate: 10 / 25,
    });
    assert.deepEqual([wait.count, run.count], [25, 25]);
    assert.ok(run.p50Ms! > 64, `ran ${run.p50Ms} ms`);
    assert.equal(total.enqueued, 21);
    assert.equal(total.completed, 16);
  });

  test("what runs is known a second later, without anybody stopping", async (stage) => {
    const type = aType();
    await stage.work([handle(type, () => "done")]);
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    await stage.pass(1_500);

    const { total } = await statsOf(stage);
    assert.deepEqual([total.enqueued, total.completed], [1, 1]);
  });

  test("an attempt whose worker died counts as crashed, and its job as completed when another has run it", async (stage) => {
    const type = aType();
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.store.heartbeat(aBeat({ workerId: "doomed", leaseMs }));
    await stage.store.claim(aClaim({ workerId: "doomed" }));
    const rescuer = await stage.work([handle(type, () => "done")]);
    await stage.completed(job);

    await stage.reach(rescuer.stop(), "the worker to stop");

    const { total } = await statsOf(stage);
    assert.deepEqual([total.retried, total.crashed, total.completed], [1, 1, 1]);
    assert.equal(total.failureRate, 1 / 2);
  });

  test("a store that takes no counts disturbs no job", async (stage) => {
    const type = aType();
    const store = changed(stage.store, { addRollups: () => Promise.reject(new Error("no such table")) });
    const troubled = stage.next("worker.troubled");
    const worker = await stage.work([handle(type, () => "done")], { store });
    const queue = stage.queueOn(store);
    const { job } = await queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    await stage.reach(worker.stop(), "the worker to stop");
    await queue.close();

    assert.equal((await stage.soon(troubled, "the trouble")).during, "bringing counts to the store");
  });
}

function statsOf(stage: Stage) {
  const now = stage.clock.now();
  return stage.queue.stats({ from: new Date(now - 3_600_000), to: new Date(now + 60_000) });
}
