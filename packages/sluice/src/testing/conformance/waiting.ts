/**
 * Where jobs stand: the facts from which waiting.ts says why they do not run. What is counted is counted in the order of claims.
 */
import assert from "node:assert/strict";
import type { JobId } from "../../job.js";
import type { NewJob, TypeStanding, WaitingJob } from "../../store.js";
import { aClaim, aJobId, aNewJob, anError, aUniqueClaim, completeOf, failOf, releaseOf, retryOf } from "../builders.js";
import { hour, only, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

export function waitingCases(test: TestCase): void {
  jobsAhead(test);
  holders(test);
  types(test);
}

function jobsAhead(test: TestCase): void {
  test("jobs stand in the order of claims: priority, then how long they are pending, then as they came", async (scene) => {
    const late = aNewJob({ priority: -1 });
    const [first, next] = [aNewJob(), aNewJob()];
    const urgent = aNewJob({ priority: 5 });
    await scene.store.enqueue([late, first, next]);
    scene.clock.advance(second);
    await scene.store.enqueue([urgent]);
    const ids = [late.id, first.id, next.id, urgent.id];

    const ahead = await aheadOf(scene, ids);

    assert.deepEqual(ahead, [3, 1, 2, 0]);
    const claimed = await scene.claimIds();
    assert.deepEqual(
      [...ids].sort((a, b) => ahead[ids.indexOf(a)]! - ahead[ids.indexOf(b)]!),
      claimed,
    );
  });

  test("a job that was released stands where it stood", async (scene) => {
    const held = await scene.processing();
    const other = await scene.enqueue();

    assert.deepEqual(await aheadOf(scene, [held.id, other]), [null, 0]);
    await scene.apply(releaseOf(held));
    assert.deepEqual(await aheadOf(scene, [held.id, other]), [0, 1]);
  });

  test("jobs of another type, or of another state, are not ahead", async (scene) => {
    for (const state of ["completed", "failed", "retrying", "scheduled", "processing"] as const)
      await scene.jobIn(state, { priority: 9 });
    await scene.enqueue({ type: "other", priority: 9 });
    const id = await scene.enqueue();

    assert.deepEqual(await aheadOf(scene, [id]), [0]);
  });

  test("jobs of a newer version are ahead like any other", async (scene) => {
    await scene.enqueue({ version: 9 });
    const id = await scene.enqueue();

    assert.deepEqual(await aheadOf(scene, [id]), [1]);
  });

  test("more than 1,000 jobs ahead are counted as 1,001", async (scene) => {
    const jobs = Array.from({ length: 1_004 }, () => aNewJob());
    await scene.store.enqueue(jobs);

    const ahead = await aheadOf(
      scene,
      [0, 999, 1_000, 1_001, 1_002, 1_003].map((at) => jobs[at]!.id),
    );

    assert.deepEqual(ahead, [0, 999, 1_000, 1_001, 1_001, 1_001]);
  });

  test("a job that is due and that no claim has made pending stands where it will", async (scene) => {
    const before = await scene.enqueue();
    const due = await scene.enqueue({ due: { afterMs: second } });
    const later = await scene.enqueue({ due: { afterMs: hour } });
    scene.clock.advance(2 * second);
    const after = await scene.enqueue();
    const urgent = await scene.enqueue({ priority: 1 });

    const jobs = await standingOf(scene, [before, due, later, after, urgent]);

    assert.deepEqual(
      jobs.map((job) => job?.ahead),
      [1, 2, null, 2, 0],
    );
    assert.equal(jobs[1]?.state, "scheduled");
  });

  test("a job that is not pending stands nowhere, and one that is not there is null", async (scene) => {
    for (const state of [
      "scheduled",
      "blocked",
      "processing",
      "retrying",
      "completed",
      "failed",
      "cancelled",
    ] as const) {
      const { id } = await scene.jobIn(state, { type: state });
      assert.equal(only(await aheadOf(scene, [id])), null);
    }
    assert.deepEqual(await standingOf(scene, [aJobId(), "no id"]), [null, null]);
    assert.deepEqual(await scene.store.standing([]), { now: scene.clock.now(), jobs: [], types: [] });
  });

  test("what a job waits for is told with it", async (scene) => {
    const held = await scene.processing({ version: 3 });
    const error = anError({ message: "the mail server is down" });
    await scene.apply(retryOf(held, { delayMs: hour, error }));

    const job = only(await standingOf(scene, [held.id]));

    assert.deepEqual(job, {
      id: held.id,
      type: held.type,
      version: 3,
      state: "retrying",
      runAt: scene.clock.now() + hour,
      attempt: 1,
      error,
      controls: null,
      heldBy: null,
      ahead: null,
      holder: null,
    });
  });

  test("the store tells its present", async (scene) => {
    const { now } = await scene.store.standing([aJobId()]);

    assert.equal(now, scene.clock.now());
  });
}

function holders(test: TestCase): void {
  test("a blocked job names the one that holds its key", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "rerun" });
    const holder = await scene.processing({ unique });
    const blocked = await scene.enqueue({ unique });
    const other = await scene.jobIn("blocked", { type: "other" });

    const jobs = await standingOf(scene, [holder.id, blocked, other.id]);

    assert.deepEqual(
      jobs.map((job) => [job?.state, job?.holder === null]),
      [
        ["processing", true],
        ["blocked", false],
        ["blocked", false],
      ],
    );
    assert.equal(jobs[1]?.holder, holder.id);
    assert.notEqual(jobs[2]?.holder, holder.id);
  });

  test("a job that waits for no key names nobody, be it unique", async (scene) => {
    const id = await scene.enqueue({ unique: aUniqueClaim() });

    assert.equal(only(await standingOf(scene, [id]))?.holder, null);
  });
}

function types(test: TestCase): void {
  test("of each type it is told how many are processing, whoever processes them", async (scene) => {
    await scene.register("worker-2");
    await scene.store.enqueue([aNewJob(), aNewJob(), aNewJob({ type: "other" })]);
    await scene.claimOne();
    await scene.claimOne({ workerId: "worker-2" });
    const [mine, other] = [await scene.enqueue(), await scene.enqueue({ type: "other" })];

    const { types } = await scene.store.standing([mine, other, await scene.enqueue()]);

    assert.deepEqual([...types].sort(byType), [
      { type: "example", processing: 2, spentUntil: null, runMs: [] },
      { type: "other", processing: 0, spentUntil: null, runMs: [] },
    ]);
  });

  test("of types whose jobs wait for something of their own, or do not wait, nothing is told", async (scene) => {
    const ids = [];
    for (const state of ["scheduled", "blocked", "processing", "retrying", "completed", "failed"] as const)
      ids.push((await scene.jobIn(state, { type: state })).id);

    assert.deepEqual((await scene.store.standing(ids)).types, []);
  });

  test("of a job that is due, the type is told although no claim has made it pending", async (scene) => {
    const id = await scene.enqueue({ due: { afterMs: second } });
    scene.clock.advance(second);

    assert.equal((await onlyType(scene, id)).type, "example");
  });

  test("of each type it is told how long its completed jobs ran, in their last attempt", async (scene) => {
    const twice = await scene.processing();
    scene.clock.advance(hour);
    await scene.apply(retryOf(twice, { delayMs: 0 }));
    await endIn(scene, 200);
    await scene.processing();
    scene.clock.advance(300);
    await scene.apply(failOf(await heldAlone(scene)));
    await ran(scene, 400);
    await ran(scene, 500, { type: "other" });

    const { runMs } = await onlyType(scene, await scene.enqueue());

    assert.deepEqual(sorted(runMs), [200, 400]);
  });

  test("no more than 50 run times are told, those of the newest jobs", async (scene) => {
    for (let n = 1; n <= 60; n += 1) await ran(scene, n);

    const { runMs } = await onlyType(scene, await scene.enqueue());

    assert.deepEqual(
      sorted(runMs),
      Array.from({ length: 50 }, (_, n) => n + 11),
    );
  });
}

async function standingOf(scene: Scene, ids: readonly JobId[]): Promise<readonly (WaitingJob | null)[]> {
  return (await scene.store.standing(ids)).jobs;
}

async function aheadOf(scene: Scene, ids: readonly JobId[]): Promise<readonly (number | null | undefined)[]> {
  return (await standingOf(scene, ids)).map((job) => job?.ahead);
}

async function onlyType(scene: Scene, id: JobId): Promise<TypeStanding> {
  return only((await scene.store.standing([id])).types);
}

/** A job that ran for so long, and completed. */
async function ran(scene: Scene, ms: number, overrides: Partial<NewJob> = {}): Promise<void> {
  const held = await scene.processing(overrides);
  scene.clock.advance(ms);
  await scene.apply(completeOf(held));
}

/** Claims the only pending job, and completes it after so long. */
async function endIn(scene: Scene, ms: number): Promise<void> {
  const held = await scene.claimOne();
  scene.clock.advance(ms);
  await scene.apply(completeOf(held));
}

async function heldAlone(scene: Scene) {
  return only(await scene.store.heldBy(aClaim().workerId));
}

function byType(a: TypeStanding, b: TypeStanding): number {
  return a.type < b.type ? -1 : 1;
}

function sorted(values: readonly number[]): readonly number[] {
  return [...values].sort((a, b) => a - b);
}
