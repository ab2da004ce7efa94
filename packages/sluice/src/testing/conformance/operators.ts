/**
 * What operators may do to a job in each state.
 */
import assert from "node:assert/strict";
import { jobStates } from "../../job.js";
import type { JobId, JobState } from "../../job.js";
import type { AmendOutcome, OperatorCommand } from "../../store.js";
import { aCommand, aNewJob, anEdit, anError, aStep, failOf, holdOf, retryOf } from "../builders.js";
import { minute, only, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

type Action = OperatorCommand["action"];

export function operatorCases(test: TestCase): void {
  whatIsAllowed(test);
  cancelling(test);
  retrying(test);
  editing(test);
  targets(test);
}

/** Every command on every state: its outcome and where it leads. */
function whatIsAllowed(test: TestCase): void {
  type Expected = readonly [AmendOutcome, JobState];
  const refused = (state: JobState): Expected => ["wrong_state", state];
  const expected: Readonly<Record<Action, Readonly<Record<JobState, Expected>>>> = {
    cancel: {
      scheduled: ["applied", "cancelled"],
      pending: ["applied", "cancelled"],
      blocked: ["applied", "cancelled"],
      processing: ["requested", "processing"],
      retrying: ["applied", "cancelled"],
      completed: refused("completed"),
      failed: refused("failed"),
      cancelled: refused("cancelled"),
    },
    retry: {
      scheduled: refused("scheduled"),
      pending: refused("pending"),
      blocked: refused("blocked"),
      processing: refused("processing"),
      retrying: ["applied", "pending"],
      completed: refused("completed"),
      failed: ["applied", "pending"],
      cancelled: refused("cancelled"),
    },
    edit: {
      scheduled: ["applied", "scheduled"],
      pending: ["applied", "pending"],
      blocked: ["applied", "blocked"],
      processing: refused("processing"),
      retrying: ["applied", "retrying"],
      completed: refused("completed"),
      failed: ["applied", "pending"],
      cancelled: refused("cancelled"),
    },
    // Of a job that its type's rollout keeps: intake.ts.
    release: Object.fromEntries(jobStates.map((state) => [state, refused(state)])) as Record<JobState, Expected>,
    discard: {
      scheduled: refused("scheduled"),
      pending: refused("pending"),
      blocked: refused("blocked"),
      processing: refused("processing"),
      retrying: refused("retrying"),
      completed: refused("completed"),
      failed: ["applied", "cancelled"],
      cancelled: refused("cancelled"),
    },
  };

  for (const action of ["cancel", "retry", "edit", "discard", "release"] as const) {
    for (const state of jobStates) {
      const [outcome, after] = expected[action][state];
      test(`${action} of a ${state} job: ${outcome}`, async (scene) => {
        const before = await scene.jobIn(state);

        const { results } = await scene.store.amend(
          action === "edit" ? anEdit([before.id]) : aCommand(action, [before.id]),
        );

        assert.deepEqual(results, [{ id: before.id, outcome, state: after }]);
        const record = await scene.job(before.id);
        assert.equal(record.state, after);
        if (outcome === "wrong_state") assert.deepEqual(record, before);
      });
    }
  }
}

function cancelling(test: TestCase): void {
  test("a cancelled job keeps the operator's reason and the time", async (scene) => {
    const id = await scene.enqueue();
    scene.clock.advance(second);

    await scene.store.amend(aCommand("cancel", [id], { reason: "Wrong file." }));

    const { cancelReason, finishedAt } = await scene.job(id);
    assert.deepEqual([cancelReason, finishedAt], ["Wrong file.", scene.clock.now()]);
  });

  test("a job in flight that is asked to stop goes on, and shows it", async (scene) => {
    const held = await scene.processing();
    await scene.requestCancel(held.id);

    const { state, isCancelRequested, finishedAt } = await scene.job(held.id);

    assert.deepEqual(
      { state, isCancelRequested, finishedAt },
      { state: "processing", isCancelRequested: true, finishedAt: null },
    );
  });

  test("asking a job in flight to stop hints at work", async (scene) => {
    const held = await scene.processing();
    const hint = scene.nextHint(({ work }) => work);

    await scene.requestCancel(held.id);

    assert.equal((await hint).work, true);
  });

  test("cancelling a waiting job hints that it has ended", async (scene) => {
    const id = await scene.enqueue();
    const hint = scene.nextHint(({ ended }) => ended);

    await scene.store.amend(aCommand("cancel", [id]));

    assert.equal((await hint).ended, true);
  });
}

function retrying(test: TestCase): void {
  test("a failed job that is retried starts over with a fresh budget and its epoch", async (scene) => {
    const held = await scene.processing();
    await scene.apply(failOf(held, { hasCrashed: true, reason: "crashed" }));
    scene.clock.advance(minute);

    await scene.store.amend(aCommand("retry", [held.id]));

    const { attempt, crashes, epoch, error, failReason, finishedAt, runAt } = await scene.job(held.id);
    assert.deepEqual(
      { attempt, crashes, epoch, error, failReason, finishedAt, runAt },
      { attempt: 0, crashes: 0, epoch: 1, error: null, failReason: null, finishedAt: null, runAt: scene.clock.now() },
    );
  });

  test("a failed job that is retried keeps its steps and its history", async (scene) => {
    const held = await scene.processing();
    await scene.store.remember([aStep(held)]);
    await scene.apply(failOf(held, { error: anError({ message: "kept" }) }));

    await scene.store.amend(aCommand("retry", [held.id]));

    const { attempts } = await scene.store.history(held.id);
    assert.deepEqual(
      attempts.map(({ error }) => error.message),
      ["kept"],
    );
    assert.equal((await scene.store.recall(held.id)).length, 1);
  });

  test("a failed job that is retried runs with a new epoch", async (scene) => {
    const { id } = await scene.jobIn("failed");
    await scene.store.amend(aCommand("retry", [id]));

    const claimed = await scene.claimOne();

    assert.deepEqual([claimed.id, claimed.attempt, claimed.epoch, claimed.crashes], [id, 1, 2, 0]);
  });

  test("a retrying job that is retried is due now and keeps its attempts and its epoch", async (scene) => {
    const { id } = await scene.jobIn("retrying");
    scene.clock.advance(second);

    await scene.store.amend(aCommand("retry", [id]));

    const { attempt, epoch, runAt } = await scene.job(id);
    assert.deepEqual({ attempt, epoch, runAt }, { attempt: 1, epoch: 1, runAt: scene.clock.now() });
  });

  test("a retried job takes its place by the moment of the command", async (scene) => {
    const { id } = await scene.jobIn("failed");
    scene.clock.advance(1);
    const other = await scene.enqueue();
    scene.clock.advance(1);

    await scene.store.amend(aCommand("retry", [id]));

    assert.deepEqual(await scene.claimIds(), [other, id]);
  });

  test("a retry hints at work", async (scene) => {
    const { id } = await scene.jobIn("failed");
    const hint = scene.nextHint(({ work }) => work);

    await scene.store.amend(aCommand("retry", [id]));

    assert.equal((await hint).work, true);
  });

  test("a discarded job keeps the operator's reason and shows it has ended", async (scene) => {
    const { id } = await scene.jobIn("failed");

    await scene.store.amend(aCommand("discard", [id], { reason: "Known bug." }));

    const { state, cancelReason, finishedAt } = await scene.job(id);
    assert.deepEqual([state, cancelReason, finishedAt], ["cancelled", "Known bug.", scene.clock.now()]);
  });
}

function editing(test: TestCase): void {
  test("an edited job takes payload and version and runs with them", async (scene) => {
    const id = await scene.enqueue({ payload: '"old"' });

    await scene.store.amend(anEdit([id], { payload: '"nëw"', version: 2 }));

    const claimed = await scene.claimOne();
    assert.deepEqual([claimed.payload, claimed.version], ['"nëw"', 2]);
  });

  test("an edited waiting job keeps its time and its place", async (scene) => {
    const id = await scene.enqueue();
    scene.clock.advance(1);
    const other = await scene.enqueue();
    scene.clock.advance(1);

    await scene.store.amend(anEdit([id]));

    assert.deepEqual(await scene.claimIds(), [id, other]);
  });

  test("an edited retrying job keeps its backoff and gets a fresh budget", async (scene) => {
    const before = await scene.jobIn("retrying");

    await scene.store.amend(anEdit([before.id], { payload: "2" }));

    assert.deepEqual(await scene.job(before.id), { ...before, payload: "2", attempt: 0 });
  });

  for (const state of ["retrying", "failed"] as const) {
    test(`a ${state} job that is edited inherits nothing of the old payload`, async (scene) => {
      const id = await workedOn(scene, state);

      await scene.store.amend(anEdit([id], { payload: "2" }));

      const { attempt, crashes, progress, epoch } = await scene.job(id);
      assert.deepEqual([attempt, crashes, progress, epoch], [0, 0, null, 1]);
      assert.deepEqual(await scene.store.recall(id), []);
      assert.equal((await scene.store.history(id)).attempts.length, 1);
    });

    test(`a ${state} job that is edited to the payload it has keeps its work`, async (scene) => {
      const id = await workedOn(scene, state);
      const { payload, progress } = await scene.job(id);

      await scene.store.amend(anEdit([id], { payload, version: 2 }));

      const after = await scene.job(id);
      assert.deepEqual([after.version, after.progress], [2, progress]);
      assert.equal((await scene.store.recall(id)).length, 1);
    });

    test(`a ${state} job that is retried keeps its work`, async (scene) => {
      const id = await workedOn(scene, state);
      const { progress } = await scene.job(id);

      await scene.store.amend(aCommand("retry", [id]));

      assert.deepEqual((await scene.job(id)).progress, progress);
      assert.equal((await scene.store.recall(id)).length, 1);
    });
  }

  test("an edited failed job starts over", async (scene) => {
    const { id } = await scene.jobIn("failed");

    await scene.store.amend(anEdit([id], { payload: "2", version: 2 }));

    const record = await scene.job(id);
    assert.deepEqual(
      [record.payload, record.version, record.attempt, record.error, record.finishedAt],
      ["2", 2, 0, null, null],
    );
  });

  test("an edit is refused where a retry would find the key taken", async (scene) => {
    const unique = { key: "k", holdWhile: "active", periodMs: null, onConflict: "keep" } as const;
    const failed = await scene.jobIn("failed", { unique });
    await scene.enqueue({ unique });

    const { results } = await scene.store.amend(anEdit([failed.id]));

    assert.deepEqual(results, [{ id: failed.id, outcome: "key_taken", state: "failed" }]);
    assert.deepEqual(await scene.job(failed.id), failed);
  });
}

/** A job that has one attempt behind it, which crashed after a step. */
async function workedOn(scene: Scene, state: "retrying" | "failed"): Promise<JobId> {
  const held = await scene.processing();
  await scene.store.remember([aStep(held)]);
  await scene.store.annotate([{ hold: holdOf(held), progress: { done: 1, total: 2 }, lines: [] }]);
  await scene.apply((state === "failed" ? failOf : retryOf)(held, { hasCrashed: true }));
  return held.id;
}

function targets(test: TestCase): void {
  test("ids are answered in order, also those that do not exist", async (scene) => {
    const [pending, unknown] = [await scene.enqueue(), aNewJob().id];
    const { id: completed } = await scene.jobIn("completed", { type: "other" });

    const { results, next } = await scene.store.amend(aCommand("cancel", [unknown, completed, pending]));

    assert.deepEqual(results, [
      { id: unknown, outcome: "not_found", state: null },
      { id: completed, outcome: "wrong_state", state: "completed" },
      { id: pending, outcome: "applied", state: "cancelled" },
    ]);
    assert.equal(next, null);
  });

  test("the same id twice is judged by what the first did", async (scene) => {
    const id = await scene.enqueue();

    const { results } = await scene.store.amend(aCommand("cancel", [id, id]));

    assert.deepEqual(
      results.map(({ outcome }) => outcome),
      ["applied", "wrong_state"],
    );
  });

  test("no ids are no work", async (scene) => {
    assert.deepEqual(await scene.store.amend(aCommand("cancel", [])), { results: [], next: null });
  });

  test("a filter reaches the jobs that match, newest first, and no others", async (scene) => {
    const first = await scene.enqueue({ type: "a" });
    const other = await scene.enqueue({ type: "b" });
    const second = await scene.enqueue({ type: "a" });

    const { results, next } = await scene.store.amend(
      aCommand("cancel", { filter: { types: ["a"] }, page: { before: null, limit: 10 } }),
    );

    assert.deepEqual(
      results.map(({ id, outcome }) => [id, outcome]),
      [
        [second, "applied"],
        [first, "applied"],
      ],
    );
    assert.equal(next, null);
    assert.equal(await scene.state(other), "pending");
  });

  test("a filter is worked off page by page, each job once", async (scene) => {
    const ids = [];
    for (let n = 0; n < 7; n += 1) ids.push((await scene.jobIn("failed")).id);

    const seen: string[] = [];
    const filter = { states: ["failed"] as const };
    for (let before: string | null = null, pages = 0; ; pages += 1) {
      assert.ok(pages < 4, "The pages do not end.");
      const answer = await scene.store.amend(aCommand("retry", { filter, page: { before, limit: 3 } }));
      seen.push(...answer.results.map(({ id }) => id));
      if (answer.next === null) break;
      before = answer.next;
    }

    assert.deepEqual(seen, ids.reverse());
    assert.equal((await scene.claimIds()).length, 7);
  });

  test("a filter may meet jobs in a state that the command does not suit", async (scene) => {
    await scene.jobIn("completed");

    const { results } = await scene.store.amend(aCommand("cancel", { filter: {}, page: { before: null, limit: 10 } }));

    assert.equal(only(results).outcome, "wrong_state");
  });

  test("a thousand jobs are cancelled in one command", async (scene) => {
    const jobs = Array.from({ length: 1_000 }, () => aNewJob());
    await scene.store.enqueue(jobs);

    const { results } = await scene.store.amend(
      aCommand(
        "cancel",
        jobs.map(({ id }) => id),
      ),
    );

    assert.equal(results.filter(({ outcome }) => outcome === "applied").length, 1_000);
    assert.deepEqual(await scene.claimIds(), []);
  });
}
