/**
 * Why a job is not running, as whoever asks meets it: each reason on a store with real workers.
 */
import assert from "node:assert/strict";
import type { JobId } from "../../../job.js";
import { handle } from "../../../processor.js";
import type { Waiting } from "../../../waiting.js";
import { aBeat, aJobId } from "../../builders.js";
import { aType, Gate, leaseMs, retryMs } from "./stage.js";
import type { LifeCase, Stage } from "./stage.js";

export function waitingCases(test: LifeCase): void {
  test("a job of a paused type waits for whoever paused it", async (stage) => {
    const type = aType();
    await stage.work([handle(type, () => "done")]);
    const since = stage.clock.now();
    const until = since + 60_000;
    await stage.queue.pause(type.type, { actor: "ada", reason: "migration", until: new Date(until) });

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    const pause = { actor: "ada", reason: "migration", since, until };
    assert.deepEqual(await why(stage, job.id), { reason: "paused", pause });
    await stage.queue.resume(type.type);
    await stage.completed(job);
    assert.equal(await why(stage, job.id), null);
  });

  test("a job that nobody works on waits for a worker, also when one has died", async (stage) => {
    const type = aType();
    await stage.work([handle(aType({ type: "other" }), () => "done")]);
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    assert.deepEqual(await why(stage, job.id), { reason: "no_worker" });

    // It is heard of once, and never again.
    await stage.store.heartbeat(aBeat({ workerId: "doomed", leaseMs, types: [type.type] }));
    assert.deepEqual(await why(stage, job.id), { reason: "next" });
    await stage.pass(leaseMs + 1_000);

    assert.deepEqual(await why(stage, job.id), { reason: "no_worker" });
  });

  test("a job of a newer version waits for a newer worker", async (stage) => {
    await stage.work([handle(aType({ version: 2 }), () => "done")]);

    const { job } = await stage.queue.enqueue(aType({ version: 3 }), { n: 1 });
    await stage.turn();

    assert.deepEqual(await why(stage, job.id), { reason: "needs_newer_worker", version: 3, newest: 2 });
  });

  test("a job waits for room in its type's concurrency, behind those before it", async (stage) => {
    const type = aType({ concurrency: 1 });
    const gate = new Gate();
    await stage.work([handle(type, () => gate.opened)]);
    const ids = await running(stage, 1, (n) => stage.queue.enqueue(type, { n }));
    for (let n = 0; n < 2; n++) ids.push((await stage.queue.enqueue(type, { n })).job.id);
    await stage.turn();

    const waiting = await stage.queue.waiting(ids);

    const full = { reason: "concurrency_full", limit: 1, processing: 1, isAheadCut: false, wait: null };
    assert.deepEqual(waiting, [null, { ...full, ahead: 0 }, { ...full, ahead: 1 }]);
    gate.open();
    await stage.completed(ids[2]!);
  });

  test("a job that runs again after the one in flight waits for that one", async (stage) => {
    const type = aType({ unique: { by: "payload", onConflict: "rerun" } });
    const gate = new Gate();
    await stage.work([handle(type, () => gate.opened)]);
    const [held] = await running(stage, 1, () => stage.queue.enqueue(type, { n: 1 }));

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.deepEqual(await why(stage, job.id), { reason: "blocked", by: held, concurrencyKey: null });
    gate.open();
    await stage.completed(job);
  });

  test("a delayed job waits for its time, also while its type is paused; then for whoever paused it", async (stage) => {
    const type = aType();
    await stage.work([handle(type, () => "done")]);
    const until = stage.clock.now() + 5_000;
    await stage.queue.pause(type.type);

    const { job } = await stage.queue.enqueue(type, { n: 1 }, { delayMs: 5_000 });

    assert.deepEqual(await why(stage, job.id), { reason: "scheduled", until });
    await stage.pass(5_000);
    assert.equal((await why(stage, job.id))?.reason, "paused");
  });

  test("a job that failed once waits for its backoff, and says what went wrong", async (stage) => {
    const type = aType();
    const retried = stage.next("job.retried");
    await stage.work([handle(type, () => Promise.reject(new Error("the mail server is down")))]);
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(retried, "the attempt to fail");

    const waiting = await why(stage, job.id);

    assert.ok(waiting?.reason === "backoff", JSON.stringify(waiting));
    assert.deepEqual([waiting.until, waiting.attempt], [stage.clock.now() + retryMs, 1]);
    assert.equal(waiting.error?.message, "the mail server is down");
  });

  test("jobs behind a busy worker are told how many are ahead, in the order in which they run", async (stage) => {
    const type = aType();
    const gate = new Gate();
    await stage.work([handle(type, () => gate.opened)], { concurrency: 1 });
    await running(stage, 1, (n) => stage.queue.enqueue(type, { n }));
    const ids = [];
    for (let n = 0; n < 3; n++) ids.push((await stage.queue.enqueue(type, { n })).job.id);
    await stage.turn();

    const waiting = await stage.queue.waiting(ids);

    const queued = { reason: "queued", isAheadCut: false, wait: null };
    assert.deepEqual(
      waiting,
      [0, 1, 2].map((ahead) => ({ ...queued, ahead })),
    );
    gate.open();
  });

  test("how long the jobs ahead may take is told from how long others took", async (stage) => {
    const type = aType();
    const gate = new Gate();
    let isHeld = false;
    const handler = handle(type, () =>
      isHeld ? gate.opened : new Promise<void>((end) => void stage.clock.setTimer(400, end)),
    );
    // A limit of the worker's own keeps it from claiming ahead: then all that wait can be seen.
    await stage.work([handler], { concurrency: 4, typeConcurrency: { [type.type]: 1 } });
    const ran: number[] = [];
    for (let n = 0; n < 10; n++) {
      const { startedAt, finishedAt } = await stage.completed((await stage.queue.enqueue(type, { n })).job);
      ran.push(finishedAt.getTime() - startedAt.getTime());
    }
    isHeld = true;
    await running(stage, 1, (n) => stage.queue.enqueue(type, { n }));
    const ids = [];
    for (let n = 0; n < 3; n++) ids.push((await stage.queue.enqueue(type, { n })).job.id);
    await stage.turn();

    const waiting = await stage.queue.waiting(ids);

    const waits = waiting.map((each) => (each?.reason === "queued" ? each.wait : null));
    // The steps of the clock are as long as the store was slow: about 400 ms.
    const [shortest, longest] = [Math.min(...ran), Math.max(...ran)];
    for (const [ahead, wait] of waits.entries()) {
      assert.ok(wait, JSON.stringify(waiting));
      assert.ok(wait.leastMs >= ahead * shortest && wait.leastMs <= ahead * longest, JSON.stringify({ wait, ran }));
      assert.ok(wait.mostMs >= (ahead + 1) * shortest && wait.mostMs <= (ahead + 1) * longest);
    }
    gate.open();
  });

  test("a job that runs, has ended or is not there waits for nothing", async (stage) => {
    const type = aType();
    const gate = new Gate();
    const blocking = aType({ type: "blocking" });
    await stage.work([handle(type, () => "done"), handle(blocking, () => gate.opened)]);
    const { job: done } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(done);
    const [held] = await running(stage, 1, (n) => stage.queue.enqueue(blocking, { n }));

    assert.deepEqual(await stage.queue.waiting([done.id, held!, aJobId()]), [null, null, null]);
    assert.deepEqual(await stage.queue.waiting([]), []);
    gate.open();
  });
}

function why(stage: Stage, id: JobId): Promise<Waiting | null> {
  return stage.queue.waiting(id);
}

/** Enqueues so many, and waits until all of them run. */
async function running(
  stage: Stage,
  count: number,
  enqueue: (n: number) => Promise<{ readonly job: { readonly id: JobId } }>,
): Promise<JobId[]> {
  const ids: JobId[] = [];
  for (let n = 0; n < count; n++) {
    const started = stage.next("job.started");
    ids.push((await enqueue(n)).job.id);
    await stage.soon(started, "the job to start");
  }
  return ids;
}
