/**
 * The same work asked for twice (AC3).
 */
import assert from "node:assert/strict";
import { handle } from "../../../processor.js";
import { aType, Gate } from "./stage.js";
import type { LifeCase } from "./stage.js";

export function uniqueCases(test: LifeCase): void {
  test("the same correlation enqueued twice runs once", async (stage) => {
    const type = aType({ correlation: ({ n }) => ({ entityId: `e${n}` }) });
    let runs = 0;
    const first = await stage.queue.enqueue(type, { n: 1 });

    const second = await stage.queue.enqueue(type, { n: 1 });
    await stage.work([handle(type, () => void runs++)]);
    await stage.completed(first.job);

    assert.deepEqual([second.outcome, second.job.id], ["duplicate", first.job.id]);
    assert.equal(runs, 1);
    assert.equal((await stage.queue.list()).jobs.length, 1);
  });

  test("a duplicate of a job in flight does not run either", async (stage) => {
    const type = aType({ correlation: ({ n }) => ({ entityId: `e${n}` }) });
    const gate = new Gate();
    let runs = 0;
    await stage.work([
      handle(type, async () => {
        runs++;
        await gate.opened;
      }),
    ]);
    const started = stage.next("job.started");
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the first to start");

    const second = await stage.queue.enqueue(type, { n: 1 });
    gate.open();
    await stage.completed(job);

    assert.deepEqual([second.outcome, second.job.id, second.job.state], ["duplicate", job.id, "processing"]);
    assert.equal(runs, 1);
  });

  test("once the first has ended, the same work may be asked for again", async (stage) => {
    const type = aType({ correlation: ({ n }) => ({ entityId: `e${n}` }) });
    await stage.work([handle(type, () => "done")]);
    const { job: first } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(first);

    const { job: second, outcome } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(second);

    assert.equal(outcome, "created");
    assert.notEqual(second.id, first.id);
  });

  test("fifty callers with one correlation at the same moment create one job", async (stage) => {
    const type = aType({ correlation: ({ n }) => ({ entityId: `e${n}` }) });

    const answers = await Promise.all(Array.from({ length: 50 }, () => stage.queue.enqueue(type, { n: 1 })));

    assert.equal(answers.filter(({ outcome }) => outcome === "created").length, 1);
    assert.equal(new Set(answers.map(({ job }) => job.id)).size, 1);
  });

  test("a rerun asked for five times during a run runs exactly once more, with the newest payload", async (stage) => {
    const type = aType({ correlation: () => ({ entityId: "e1" }), unique: { onConflict: "rerun" } });
    const gate = new Gate();
    const ran: number[] = [];
    await stage.work([
      handle(type, async (job) => {
        ran.push(job.payload.n);
        await gate.opened;
      }),
    ]);
    const started = stage.next("job.started");
    const { job: first } = await stage.queue.enqueue(type, { n: 0 });
    await stage.soon(started, "the first to start");

    const answers = [];
    for (const n of [1, 2, 3, 4, 5]) answers.push(await stage.queue.enqueue(type, { n }));
    gate.open();
    await stage.completed(first);
    await stage.completed(answers[0]!.job);
    await stage.pass(2_000);

    assert.deepEqual(
      answers.map(({ outcome }) => outcome),
      ["created", "replaced", "replaced", "replaced", "replaced"],
    );
    assert.deepEqual(ran, [0, 5]);
  });

  test("a rerun waits until the run in flight has ended", async (stage) => {
    const type = aType({ correlation: () => ({ entityId: "e1" }), unique: { onConflict: "rerun" } });
    const gate = new Gate();
    let running = 0;
    let peak = 0;
    await stage.work([
      handle(type, async () => {
        peak = Math.max(peak, ++running);
        await gate.opened;
        running--;
      }),
    ]);
    const started = stage.next("job.started");
    await stage.queue.enqueue(type, { n: 0 });
    await stage.soon(started, "the first to start");

    const { job: rerun } = await stage.queue.enqueue(type, { n: 1 });
    await stage.pass(2_000);

    assert.equal((await stage.job(rerun.id)).state, "blocked");
    gate.open();
    await stage.completed(rerun);
    assert.equal(peak, 1);
  });

  test("a replaced job runs once, with the newest payload", async (stage) => {
    const type = aType({ correlation: () => ({ entityId: "e1" }), unique: { onConflict: "replace" } });
    const ran: number[] = [];
    const { job } = await stage.queue.enqueue(type, { n: 1 });

    const second = await stage.queue.enqueue(type, { n: 2 });
    await stage.work([handle(type, ({ payload }) => void ran.push(payload.n))]);
    await stage.completed(job);

    assert.deepEqual([second.outcome, second.job.id], ["replaced", job.id]);
    assert.deepEqual(ran, [2]);
  });
}
