/**
 * What an operator sets while workers run: in force without a restart, and never more at once than was set. Serves OQ2.
 */
import assert from "node:assert/strict";
import { handle } from "../../../processor.js";
import { aType, Gate } from "./stage.js";
import type { LifeCase } from "./stage.js";

export function settingsCases(test: LifeCase): void {
  test("a paused type waits, and runs when it is resumed", async (stage) => {
    const type = aType();
    const ran: number[] = [];
    await stage.work([handle(type, (job) => void ran.push(job.payload.n))]);
    await stage.queue.pause(type.type, { actor: "ada", reason: "migration" });
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.pass(3_000);
    assert.deepEqual(ran, []);

    await stage.queue.resume(type.type);
    await stage.completed(job);

    assert.deepEqual(ran, [1]);
  });

  test("a pause that ends by itself needs nobody", async (stage) => {
    const type = aType();
    await stage.work([handle(type, () => "done")]);
    await stage.queue.pause(type.type, { until: new Date(stage.clock.now() + 5_000) });
    const { job } = await stage.queue.enqueue(type, { n: 1 });

    const ended = await stage.completed(job);

    assert.ok(ended.startedAt.getTime() - ended.createdAt.getTime() >= 5_000);
  });

  test("workers together run no more of a type than its concurrency, and follow when it changes", async (stage) => {
    const type = aType({ concurrency: 3 });
    let running = 0;
    let most = 0;
    const gates: Gate[] = [];
    const processor = () =>
      handle(type, async () => {
        most = Math.max(most, ++running);
        const gate = new Gate();
        gates.push(gate);
        await gate.opened;
        running -= 1;
      });
    await stage.work([processor()]);
    await stage.work([processor()]);
    const letOneEnd = async () => {
      gates.shift()!.open();
      await stage.pass(1_500);
    };
    for (let n = 0; n < 12; n++) await stage.queue.enqueue(type, { n });

    await stage.pass(2_000);
    assert.equal(running, 3);
    await stage.queue.setType(type.type, { concurrency: 5 });
    await stage.pass(2_000);
    assert.equal(running, 5);
    assert.equal(most, 5);
    await stage.queue.setType(type.type, { concurrency: 1 });
    for (const left of [4, 3, 2, 1, 1]) {
      await letOneEnd();
      assert.equal(running, left);
    }
    assert.equal(most, 5);
    await stage.queue.setType(type.type, { concurrency: null });
    await stage.pass(2_000);
    assert.equal(running, 3);
    while (gates.length > 0) await letOneEnd();
  });

  test("a slot is filled when a job of a full type ends, without waiting for the next look", async (stage) => {
    const type = aType({ concurrency: 1 });
    await stage.work([handle(type, () => "done")], { pollMs: 60_000, leaseMs: 600_000 });
    const sent = await Promise.all([1, 2, 3, 4, 5].map((n) => stage.queue.enqueue(type, { n })));
    const before = stage.clock.now();

    for (const { job } of sent) await stage.completed(job);

    assert.ok(stage.clock.now() - before < 30_000, "a job waited for the next look");
  });
}
