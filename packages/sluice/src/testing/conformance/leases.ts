/**
 * Workers and their leases: a worker that falls silent is declared lost for good, and its jobs are found.
 */
import assert from "node:assert/strict";
import { aBeat, aClaim, aNewJob, completeOf, defaultWorkerId, failOf, holdOf, retryOf } from "../builders.js";
import type { WorkerBeat } from "../../store.js";
import { only, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

const leaseMs = 15 * second;
const doomed = "worker-2";

export function leaseCases(test: TestCase): void {
  heartbeats(test);
  lostWorkers(test);
  jobsOfLostWorkers(test);
}

function heartbeats(test: TestCase): void {
  test("a heartbeat registers the worker with all it says of itself", async (scene) => {
    const now = scene.clock.now();
    const types = [{ type: "a", version: 2, concurrency: 3, slots: 1 }, { type: "b" }];
    const beat = aBeat({ workerId: doomed, leaseMs, host: "höst", pid: 42, types, concurrency: 7 });

    const answer = await scene.store.heartbeat(beat);

    assert.deepEqual(answer, { lease: "held", cancels: [] });
    assert.deepEqual(await worker(scene, doomed), {
      ...beat,
      startedAt: now,
      leaseExpiresAt: now + leaseMs,
      isLost: false,
      processing: 0,
    });
  });

  test("a heartbeat renews the lease and keeps when the worker started", async (scene) => {
    const startedAt = scene.clock.now();
    await scene.register(doomed, leaseMs);
    scene.clock.advance(5 * second);

    await scene.register(doomed, leaseMs);

    const record = await worker(scene, doomed);
    assert.deepEqual([record?.startedAt, record?.leaseExpiresAt], [startedAt, startedAt + 5 * second + leaseMs]);
  });

  test("a heartbeat tells what the worker does now", async (scene) => {
    await scene.store.heartbeat(aBeat({ workerId: doomed, types: ["a"], concurrency: 1 }));

    await scene.store.heartbeat(aBeat({ workerId: doomed, types: ["a", "b"], concurrency: 2 }));

    const record = await worker(scene, doomed);
    assert.deepEqual([record?.types.map(({ type }) => type), record?.concurrency], [["a", "b"], 2]);
  });

  test("a worker of an older version, which names its types only, says nothing else of them", async (scene) => {
    const types = ["a", "b"] as unknown as WorkerBeat["types"];

    await scene.store.heartbeat({ ...aBeat({ workerId: doomed }), types });

    const unknown = { version: null, concurrency: null, slots: null, rate: null };
    assert.deepEqual((await worker(scene, doomed))?.types, [
      { type: "a", ...unknown },
      { type: "b", ...unknown },
    ]);
  });

  test("a heartbeat after the lease ran out renews it as long as nobody declared the worker lost", async (scene) => {
    await scene.register(doomed, leaseMs);
    scene.clock.advance(leaseMs + 1);

    const { lease } = await scene.store.heartbeat(aBeat({ workerId: doomed, leaseMs }));

    assert.equal(lease, "held");
    assert.deepEqual(await scene.store.findLost({ limit: 10 }), { workers: [], jobs: [] });
  });

  test("a heartbeat reports which of the worker's jobs are asked to stop, until they end", async (scene) => {
    const held = await scene.processing();
    await scene.requestCancel(held.id);

    const before = await scene.store.heartbeat(aBeat());
    await scene.settle(retryOf(held));
    const after = await scene.store.heartbeat(aBeat());

    assert.deepEqual([before.cancels, after.cancels], [[holdOf(held)], []]);
  });

  test("a heartbeat reports no job of another worker", async (scene) => {
    await scene.requestCancel((await scene.processing()).id);

    const { cancels } = await scene.store.heartbeat(aBeat({ workerId: doomed }));

    assert.deepEqual(cancels, []);
  });

  test("a worker shows how many jobs it holds", async (scene) => {
    await scene.store.enqueue([aNewJob(), aNewJob(), aNewJob()]);
    const { jobs } = await scene.store.claim(aClaim());
    await scene.apply(completeOf(only(jobs.slice(0, 1))));

    assert.equal((await worker(scene, defaultWorkerId))?.processing, 2);
  });

  test("the jobs that a worker holds are told as they were claimed, oldest first", async (scene) => {
    const first = await scene.processing();
    scene.clock.advance(1);
    const second = await scene.processing();
    const ended = await scene.processing();
    await scene.apply(completeOf(ended));
    await scene.register("worker-2");
    await scene.enqueue();
    await scene.claimOne({ workerId: "worker-2" });

    assert.deepEqual(await scene.store.heldBy("worker-1"), [first, second]);
    assert.deepEqual(await scene.store.heldBy("nobody"), []);
  });

  test("a worker that retires is gone", async (scene) => {
    await scene.register(doomed, leaseMs);

    await scene.store.retire(doomed);

    assert.equal(await worker(scene, doomed), undefined);
    scene.clock.advance(leaseMs);
    assert.deepEqual((await scene.store.findLost({ limit: 10 })).workers, []);
  });

  test("a worker that nobody knows may retire", async (scene) => {
    await scene.store.retire("nobody");

    assert.equal(await worker(scene, "nobody"), undefined);
  });

  test("a worker that retires may register again under the same id", async (scene) => {
    await scene.register(doomed, leaseMs);
    await scene.store.retire(doomed);

    const { lease } = await scene.store.heartbeat(aBeat({ workerId: doomed }));

    assert.equal(lease, "held");
  });
}

function lostWorkers(test: TestCase): void {
  test("a worker is lost when its lease has run out and not a millisecond before", async (scene) => {
    await scene.register(doomed, leaseMs);

    scene.clock.advance(leaseMs - 1);
    const before = await scene.store.findLost({ limit: 10 });
    scene.clock.advance(2);
    const after = await scene.store.findLost({ limit: 10 });

    assert.deepEqual([before.workers, after.workers], [[], [doomed]]);
  });

  test("a lost worker stays lost", async (scene) => {
    await lose(scene, doomed);

    const { lease } = await scene.store.heartbeat(aBeat({ workerId: doomed, leaseMs }));

    assert.equal(lease, "lost");
    assert.equal((await worker(scene, doomed))?.isLost, true);
  });

  test("a lost worker gets no more jobs", async (scene) => {
    await lose(scene, doomed);
    const id = await scene.enqueue();

    assert.deepEqual(await scene.claimIds({ workerId: doomed }), []);
    assert.equal(await scene.state(id), "pending");
  });

  test("a new id in place of a lost one works", async (scene) => {
    await lose(scene, doomed);
    const id = await scene.enqueue();

    await scene.register("worker-3");

    assert.deepEqual(await scene.claimIds({ workerId: "worker-3" }), [id]);
  });

  test("a worker whose lease still runs is not lost with the others", async (scene) => {
    await lose(scene, doomed);

    assert.equal((await worker(scene, defaultWorkerId))?.isLost, false);
  });
}

function jobsOfLostWorkers(test: TestCase): void {
  test("the jobs of a lost worker are found as they were claimed", async (scene) => {
    const held = await heldByLost(scene);

    const { workers, jobs } = await scene.store.findLost({ limit: 10 });

    assert.deepEqual(workers, [doomed]);
    assert.deepEqual(jobs, [{ ...held, workerId: doomed }]);
  });

  test("finding lost jobs changes none", async (scene) => {
    const held = await heldByLost(scene);
    const before = await scene.job(held.id);

    await scene.store.findLost({ limit: 10 });

    assert.deepEqual(await scene.job(held.id), before);
  });

  test("a lost job is found again until it is settled", async (scene) => {
    const held = await heldByLost(scene);
    await scene.store.findLost({ limit: 10 });

    const again = await scene.store.findLost({ limit: 10 });
    await scene.apply(retryOf(held, { hasCrashed: true }));
    const settled = await scene.store.findLost({ limit: 10 });

    assert.deepEqual([again.jobs, settled.jobs], [[{ ...held, workerId: doomed }], []]);
  });

  test("lost jobs come oldest first, up to the limit", async (scene) => {
    await scene.register(doomed, leaseMs);
    const held = [];
    for (let n = 0; n < 3; n += 1) {
      await scene.enqueue();
      held.push(await scene.claimOne({ workerId: doomed }));
      scene.clock.advance(1);
    }
    scene.clock.advance(leaseMs);

    const { jobs } = await scene.store.findLost({ limit: 2 });

    assert.deepEqual(
      jobs,
      held.slice(0, 2).map((job) => ({ ...job, workerId: doomed })),
    );
  });

  test("jobs of living workers and jobs that have ended are not found", async (scene) => {
    const ended = await heldByLost(scene);
    await scene.apply(completeOf(ended));
    await scene.enqueue();
    await scene.claimOne();

    assert.deepEqual((await scene.store.findLost({ limit: 10 })).jobs, []);
  });

  test("a lost worker's own settlement still counts until somebody else settles the job", async (scene) => {
    const held = await heldByLost(scene);
    await scene.store.findLost({ limit: 10 });

    assert.equal(await scene.settle(completeOf(held)), "applied");
    assert.equal(await scene.settle(retryOf(held, { hasCrashed: true })), "lease_lost");
  });

  test("a lost worker's late writes change nothing after its job was taken from it", async (scene) => {
    const held = await heldByLost(scene);
    await scene.store.findLost({ limit: 10 });
    await scene.apply(retryOf(held, { delayMs: 0, hasCrashed: true }));
    const again = await scene.claimOne();
    const before = await scene.job(held.id);

    const settled = await scene.store.settle([completeOf(held), failOf(held)]);
    const remembered = await scene.store.remember([{ hold: holdOf(held), name: "late", output: null }]);
    const annotated = await scene.store.annotate([
      { hold: holdOf(held), progress: { done: 1, total: 1 }, lines: [{ at: 0, level: "info", message: "late" }] },
    ]);

    assert.deepEqual(settled, ["lease_lost", "lease_lost"]);
    assert.deepEqual(remembered, [{ result: "lease_lost" }]);
    assert.deepEqual(annotated, ["lease_lost"]);
    assert.deepEqual(await scene.job(held.id), before);
    assert.equal(again.epoch, held.epoch + 1);
  });

  test("nothing is lost where every worker is alive", async (scene) => {
    await scene.processing();

    assert.deepEqual(await scene.store.findLost({ limit: 10 }), { workers: [], jobs: [] });
  });
}

async function worker(scene: Scene, workerId: string) {
  return (await scene.store.workers()).find((record) => record.workerId === workerId);
}

async function lose(scene: Scene, workerId: string): Promise<void> {
  await scene.register(workerId, leaseMs);
  scene.clock.advance(leaseMs + 1);
  assert.deepEqual((await scene.store.findLost({ limit: 10 })).workers, [workerId]);
}

/** A job whose worker has fallen silent and not yet been declared lost. */
async function heldByLost(scene: Scene) {
  await scene.register(doomed, leaseMs);
  await scene.enqueue();
  const held = await scene.claimOne({ workerId: doomed });
  scene.clock.advance(leaseMs + 1);
  return held;
}
