/**
 * Unique keys: who holds one and for how long, and what an enqueue does when another job holds it.
 */
import assert from "node:assert/strict";
import { jobStates } from "../../job.js";
import type { Correlation, JobId, JobState } from "../../job.js";
import type { UniqueClaim } from "../../store.js";
import {
  aClaim,
  aCommand,
  aNewJob,
  aStep,
  aUniqueClaim,
  cancelOf,
  completeOf,
  failOf,
  holdOf,
  releaseOf,
  retryOf,
  snoozeOf,
} from "../builders.js";
import { hour, minute, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

const active = aUniqueClaim();
const whilePending = aUniqueClaim({ holdWhile: "pending" });
const forAnHour = aUniqueClaim({ holdWhile: "period", periodMs: hour });
const rerun = aUniqueClaim({ onConflict: "rerun" });
const replace = aUniqueClaim({ onConflict: "replace" });

export function uniqueCases(test: TestCase): void {
  conflicts(test);
  replacing(test);
  rerunning(test);
  holding(test);
  periods(test);
  overtaken(test);
  revived(test);
}

/** What a second job with the same key meets, for each rule and each state of the holder. */
function conflicts(test: TestCase): void {
  const holders = ["scheduled", "pending", "processing", "retrying"] as const;
  const expected: Readonly<Record<UniqueClaim["onConflict"], Readonly<Record<(typeof holders)[number], string>>>> = {
    keep: { scheduled: "duplicate", pending: "duplicate", processing: "duplicate", retrying: "duplicate" },
    replace: { scheduled: "replaced", pending: "replaced", processing: "duplicate", retrying: "replaced" },
    rerun: { scheduled: "replaced", pending: "replaced", processing: "blocked", retrying: "replaced" },
  };
  for (const onConflict of ["keep", "replace", "rerun"] as const) {
    for (const state of holders) {
      const answer = expected[onConflict][state];
      test(`${onConflict}: behind a ${state} holder a new job is ${answer}`, async (scene) => {
        const unique = aUniqueClaim({ onConflict });
        const holder = await scene.jobIn(state, { unique, payload: '"old"' });
        const newer = aNewJob({ unique, payload: '"new"', due: { afterMs: hour } });

        const [result] = await scene.store.enqueue([newer]);

        assert.ok(result);
        assert.equal(result.outcome === "created" ? result.state : result.outcome, answer);
        if (result.outcome === "duplicate" || result.outcome === "replaced") {
          assert.deepEqual(result.job, await scene.job(holder.id));
          assert.equal(result.job.payload, answer === "replaced" ? '"new"' : '"old"');
          assert.deepEqual(await scene.store.get([newer.id]), [null]);
        }
      });
    }
  }

  test("different keys do not meet", async (scene) => {
    await scene.enqueue({ unique: aUniqueClaim({ key: "a" }) });

    const result = await scene.add({ unique: aUniqueClaim({ key: "b" }) });

    assert.equal(result.outcome, "created");
  });

  test("keys that differ only in case or accents do not meet", async (scene) => {
    const keys = ["Łódź", "łódź", "Lodz", "e\u0301", "é", "e"];

    const results = await scene.store.enqueue(keys.map((key) => aNewJob({ unique: aUniqueClaim({ key }) })));

    assert.deepEqual(
      results.map(({ outcome }) => outcome),
      keys.map(() => "created"),
    );
  });

  test("two jobs with one key in one call meet", async (scene) => {
    const [first, second] = [aNewJob({ unique: active }), aNewJob({ unique: active })];

    const [, result] = await scene.store.enqueue([first, second]);

    assert.equal(result?.outcome === "duplicate" && result.job.id, first.id);
  });

  test("of many calls at once with one key, one adds a job", async (scene) => {
    const results = await Promise.all(Array.from({ length: 20 }, () => scene.add({ unique: active })));

    assert.equal(results.filter(({ outcome }) => outcome === "created").length, 1);
  });

  test("a job shows its key", async (scene) => {
    const id = await scene.enqueue({ unique: aUniqueClaim({ key: "embed:e1" }) });

    assert.equal((await scene.job(id)).uniqueKey, "embed:e1");
  });
}

function replacing(test: TestCase): void {
  test("a replaced job takes payload, version, priority and due time, and keeps id and age", async (scene) => {
    const createdAt = scene.clock.now();
    const id = await scene.enqueue({ unique: replace, due: { afterMs: minute } });
    scene.clock.advance(second);

    await scene.add({ unique: replace, payload: '"new"', version: 2, priority: 9, due: { afterMs: hour } });

    const record = await scene.job(id);
    assert.deepEqual(
      [record.payload, record.version, record.priority, record.runAt, record.createdAt, record.state],
      ['"new"', 2, 9, createdAt + second + hour, createdAt, "scheduled"],
    );
  });

  test("a scheduled job that is replaced by one without a due time may run at once", async (scene) => {
    const id = await scene.enqueue({ unique: replace, due: { afterMs: hour } });

    await scene.add({ unique: replace });

    assert.equal(await scene.state(id), "pending");
    assert.deepEqual(await scene.claimIds(), [id]);
  });

  test("a pending job that is replaced by one due later waits for that", async (scene) => {
    const id = await scene.enqueue({ unique: replace });

    await scene.add({ unique: replace, due: { afterMs: minute } });

    assert.equal(await scene.state(id), "scheduled");
    assert.deepEqual(await scene.claimIds(), []);
  });

  test("a retrying job that is replaced may run at once", async (scene) => {
    const { id } = await scene.jobIn("retrying", { unique: replace });

    await scene.add({ unique: replace, payload: '"new"' });

    const claimed = await scene.claimOne();
    assert.deepEqual([claimed.id, claimed.payload], [id, '"new"']);
  });

  for (const unique of [replace, rerun]) {
    test(`${unique.onConflict}: a job that takes another payload inherits nothing of the old one`, async (scene) => {
      const id = await workedOn(scene, unique);

      await scene.add({ unique, payload: '"new"' });

      const record = await scene.job(id);
      assert.deepEqual(
        [record.attempt, record.crashes, record.error, record.progress, record.epoch],
        [0, 0, null, null, 1],
      );
      assert.deepEqual(await scene.store.recall(id), []);
      assert.equal((await scene.store.history(id)).attempts.length, 1);
      assert.deepEqual([(await scene.claimOne()).attempt, (await scene.job(id)).epoch], [1, 2]);
    });

    test(`${unique.onConflict}: a job that takes the payload it has keeps its work and its attempts`, async (scene) => {
      const id = await workedOn(scene, unique);
      const before = await scene.job(id);

      await scene.add({ unique, payload: before.payload, maxAttempts: 9 });

      const { attempt, crashes, error, progress, maxAttempts } = await scene.job(id);
      assert.deepEqual([attempt, crashes, maxAttempts], [1, 1, before.maxAttempts]);
      assert.deepEqual([error, progress], [before.error, before.progress]);
      assert.equal((await scene.store.recall(id)).length, 1);
    });
  }

  test("a job that takes another payload is about what that is about", async (scene) => {
    const trace = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
    const id = await scene.enqueue({ unique: replace, correlation: { entityId: "old", campaignId: "c1" } });

    const newer = { maxAttempts: 7, correlation: { entityId: "new" }, trace };
    await scene.add({ unique: replace, payload: '"new"', ...newer });

    const { maxAttempts, correlation, trace: carrier } = await scene.job(id);
    assert.deepEqual({ maxAttempts, correlation, trace: carrier }, newer);
    const about = async (pair: Correlation) =>
      (await scene.store.list({ filter: { correlation: pair }, page: { before: null, limit: 10 } })).jobs.length;
    assert.deepEqual(
      [await about({ entityId: "old" }), await about({ campaignId: "c1" }), await about({ entityId: "new" })],
      [0, 0, 1],
    );
  });

  test("a blocked job that takes another payload is about what that is about", async (scene) => {
    await scene.processing({ unique: rerun });
    const id = await scene.enqueue({ unique: rerun, payload: "2", correlation: { entityId: "old" } });

    await scene.add({ unique: rerun, payload: "3", correlation: null, maxAttempts: 7 });

    const { correlation, maxAttempts } = await scene.job(id);
    assert.deepEqual({ correlation, maxAttempts }, { correlation: null, maxAttempts: 7 });
  });

  test("a pending job that is replaced keeps its place", async (scene) => {
    const first = await scene.enqueue({ unique: replace });
    scene.clock.advance(1);
    const second = await scene.enqueue();
    scene.clock.advance(1);

    await scene.add({ unique: replace });

    assert.deepEqual(await scene.claimIds(), [first, second]);
  });
}

/** A job that has one attempt behind it, which crashed after a step, and waits for the next. */
async function workedOn(scene: Scene, unique: UniqueClaim): Promise<JobId> {
  const held = await scene.processing({ unique, payload: '"old"' });
  await scene.store.remember([aStep(held)]);
  await scene.store.annotate([{ hold: holdOf(held), progress: { done: 1, total: 2 }, lines: [] }]);
  await scene.apply(retryOf(held, { hasCrashed: true }));
  return held.id;
}

function rerunning(test: TestCase): void {
  test("a blocked job is not handed over while the holder is in flight", async (scene) => {
    await scene.processing({ unique: rerun });
    const next = await scene.enqueue({ unique: rerun });
    scene.clock.advance(hour);

    assert.deepEqual(await scene.claimIds(), []);
    assert.equal(await scene.state(next), "blocked");
  });

  for (const [name, settlement] of [
    ["completes", completeOf],
    ["fails", failOf],
    ["is cancelled", cancelOf],
  ] as const) {
    test(`a blocked job becomes pending when the holder ${name}`, async (scene) => {
      const held = await scene.processing({ unique: rerun });
      const next = await scene.enqueue({ unique: rerun });

      await scene.apply(settlement(held));

      assert.equal(await scene.state(next), "pending");
    });
  }

  for (const [name, settlement] of [
    ["retries", retryOf],
    ["is snoozed", snoozeOf],
    ["is released", releaseOf],
  ] as const) {
    test(`a blocked job stays blocked when the holder ${name}`, async (scene) => {
      const held = await scene.processing({ unique: rerun });
      const next = await scene.enqueue({ unique: rerun });

      await scene.apply(settlement(held));

      assert.equal(await scene.state(next), "blocked");
    });
  }

  test("a blocked job becomes pending when a holder that waits again is cancelled by an operator", async (scene) => {
    const held = await scene.processing({ unique: rerun });
    const next = await scene.enqueue({ unique: rerun });
    await scene.apply(retryOf(held));

    await scene.store.amend(aCommand("cancel", [held.id]));

    assert.equal(await scene.state(next), "pending");
  });

  test("a blocked job whose due time is still ahead becomes scheduled when the holder ends", async (scene) => {
    const held = await scene.processing({ unique: rerun });
    const next = await scene.enqueue({ unique: rerun, due: { afterMs: minute } });

    await scene.apply(completeOf(held));

    const { state, runAt } = await scene.job(next);
    assert.deepEqual({ state, runAt }, { state: "scheduled", runAt: scene.clock.now() + minute });
  });

  test("a blocked job whose due time has passed becomes pending when the holder ends", async (scene) => {
    const held = await scene.processing({ unique: rerun });
    const next = await scene.enqueue({ unique: rerun, due: { afterMs: minute } });
    scene.clock.advance(hour);

    await scene.apply(completeOf(held));

    assert.equal(await scene.state(next), "pending");
  });

  test("a blocked job takes its place by the moment at which it becomes pending", async (scene) => {
    const held = await scene.processing({ unique: rerun });
    const blocked = await scene.enqueue({ unique: rerun });
    scene.clock.advance(1);
    const other = await scene.enqueue();
    scene.clock.advance(1);

    await scene.apply(completeOf(held));

    assert.deepEqual(await scene.claimIds(), [other, blocked]);
  });

  test("however often it is asked for, one rerun follows, with the newest payload", async (scene) => {
    const held = await scene.processing({ unique: rerun, payload: "1" });
    const next = await scene.enqueue({ unique: rerun, payload: "2" });

    const results = await scene.store.enqueue([3, 4, 5].map((n) => aNewJob({ unique: rerun, payload: `${n}` })));
    await scene.apply(completeOf(held));
    const ran = await scene.claimOne();
    await scene.apply(completeOf(ran));

    assert.deepEqual(
      results.map((result) => result.outcome === "replaced" && result.job.id),
      [next, next, next],
    );
    assert.deepEqual([ran.id, ran.payload], [next, "5"]);
    assert.deepEqual(await scene.claimIds(), []);
  });

  test("the newest payload runs last also when the holder went back to retrying in front of a blocked job", async (scene) => {
    const held = await scene.processing({ unique: rerun, payload: "1" });
    const next = await scene.enqueue({ unique: rerun, payload: "2" });
    await scene.apply(retryOf(held, { delayMs: 0 }));

    await scene.add({ unique: rerun, payload: "3" });

    const first = await scene.claimOne();
    await scene.apply(completeOf(first));
    const last = await scene.claimOne();
    assert.deepEqual([first.id, last.id, last.payload], [held.id, next, "3"]);
  });

  test("the newest payload runs last also when the period of the holder is over", async (scene) => {
    const unique = aUniqueClaim({ holdWhile: "period", periodMs: minute, onConflict: "rerun" });
    const held = await scene.processing({ unique, payload: "1" });
    const next = await scene.enqueue({ unique, payload: "2" });
    scene.clock.advance(minute);

    const result = await scene.add({ unique, payload: "3" });

    assert.equal(result.outcome === "replaced" && result.job.id, next);
    await scene.apply(completeOf(held));
    const last = await scene.claimOne();
    assert.deepEqual([last.id, last.payload], [next, "3"]);
  });

  test("a key is not mistaken for the place behind another", async (scene) => {
    const [plain, odd] = ["import e1", "rerun:import e1"].map((key) => aUniqueClaim({ key, onConflict: "rerun" }));
    const first = await scene.processing({ unique: plain!, payload: "1" });
    const other = await scene.enqueue({ unique: odd!, payload: "2" });

    const behind = await scene.enqueue({ unique: plain!, payload: "3" });
    await scene.apply(completeOf(first));

    assert.deepEqual([(await scene.job(other)).payload, (await scene.job(behind)).payload], ["2", "3"]);
    assert.deepEqual(await scene.claimIds(), [other, behind]);
  });

  test("a rerun in flight may be followed by one more", async (scene) => {
    const first = await scene.processing({ unique: rerun });
    await scene.enqueue({ unique: rerun });
    await scene.apply(completeOf(first));
    await scene.claimOne();

    const result = await scene.add({ unique: rerun });

    assert.equal(result.outcome === "created" && result.state, "blocked");
  });

  test("a job that came out of blocked holds the key", async (scene) => {
    const held = await scene.processing({ unique: rerun });
    const next = await scene.enqueue({ unique: rerun });
    await scene.apply(completeOf(held));

    const result = await scene.add({ unique: active });

    assert.equal(result.outcome === "duplicate" && result.job.id, next);
  });

  test("a cancelled blocked job makes room for another", async (scene) => {
    const held = await scene.processing({ unique: rerun });
    const first = await scene.enqueue({ unique: rerun });
    await scene.store.amend(aCommand("cancel", [first]));

    const second = await scene.enqueue({ unique: rerun });
    await scene.apply(completeOf(held));

    assert.deepEqual([await scene.state(first), await scene.state(second)], ["cancelled", "pending"]);
  });

  test("holders that end in one call each wake the job behind them", async (scene) => {
    const keys = ["a", "b", "c"].map((key) => aUniqueClaim({ key, onConflict: "rerun" }));
    await scene.store.enqueue(keys.map((unique) => aNewJob({ unique })));
    const { jobs: held } = await scene.store.claim(aClaim());
    const behind = keys.map((unique) => aNewJob({ unique }));
    await scene.store.enqueue(behind);

    await scene.store.settle(held.map((job) => completeOf(job)));

    const records = await scene.store.get(behind.map(({ id }) => id));
    assert.deepEqual(
      records.map((record) => record?.state),
      ["pending", "pending", "pending"],
    );
  });

  test("a job that becomes runnable behind its holder hints at work", async (scene) => {
    const held = await scene.processing({ unique: rerun });
    await scene.enqueue({ unique: rerun });
    const hint = scene.nextHint(({ work }) => work);

    await scene.apply(completeOf(held));

    assert.equal((await hint).work, true);
  });
}

function holding(test: TestCase): void {
  const outcomes: Readonly<Record<JobState, { readonly active: string; readonly pending: string }>> = {
    scheduled: { active: "duplicate", pending: "duplicate" },
    pending: { active: "duplicate", pending: "duplicate" },
    blocked: { active: "duplicate", pending: "duplicate" },
    processing: { active: "duplicate", pending: "created" },
    retrying: { active: "duplicate", pending: "duplicate" },
    completed: { active: "created", pending: "created" },
    failed: { active: "created", pending: "created" },
    cancelled: { active: "created", pending: "created" },
  };
  for (const state of jobStates.filter((state) => state !== "blocked")) {
    for (const holdWhile of ["active", "pending"] as const) {
      const outcome = outcomes[state][holdWhile];
      const verb = outcome === "duplicate" ? "holds" : "has given back";
      test(`while ${holdWhile}: a ${state} job ${verb} its key`, async (scene) => {
        const unique = aUniqueClaim({ holdWhile });
        await scene.jobIn(state, { unique });

        const result = await scene.add({ unique });

        assert.equal(result.outcome, outcome);
      });
    }
  }

  for (const [name, settlement] of [
    ["retried", retryOf],
    ["snoozed", snoozeOf],
    ["released", releaseOf],
  ] as const) {
    test(`while pending: a job that is ${name} takes its key again`, async (scene) => {
      const held = await scene.processing({ unique: whilePending });
      await scene.apply(settlement(held));

      const result = await scene.add({ unique: whilePending });

      assert.equal(result.outcome === "duplicate" && result.job.id, held.id);
    });

    test(`while pending: a job that is ${name} goes on without its key when another has it`, async (scene) => {
      const held = await scene.processing({ unique: whilePending });
      const other = await scene.enqueue({ unique: whilePending });
      await scene.apply(settlement(held));
      scene.clock.advance(hour);

      const result = await scene.add({ unique: whilePending });

      assert.equal(result.outcome === "duplicate" && result.job.id, other);
      assert.deepEqual(new Set(await scene.claimIds()), new Set([held.id, other]));
    });
  }

  test("while pending: the key goes to the next job while the first one runs and ends", async (scene) => {
    const held = await scene.processing({ unique: whilePending });
    const next = await scene.enqueue({ unique: whilePending });
    await scene.apply(completeOf(held));

    const result = await scene.add({ unique: whilePending });

    assert.equal(result.outcome === "duplicate" && result.job.id, next);
  });

  for (const unique of [active, whilePending]) {
    test(`while ${unique.holdWhile}: a waiting job that an operator cancels gives its key back`, async (scene) => {
      const id = await scene.enqueue({ unique });
      await scene.store.amend(aCommand("cancel", [id]));

      const result = await scene.add({ unique });

      assert.equal(result.outcome, "created");
    });
  }

  test("while pending: a job that went back gives its key back when it is claimed again", async (scene) => {
    const held = await scene.processing({ unique: whilePending });
    await scene.apply(releaseOf(held));
    await scene.claimOne();

    const result = await scene.add({ unique: whilePending });

    assert.equal(result.outcome, "created");
  });

  test("while active: a retry turned into a cancellation gives the key back", async (scene) => {
    const held = await scene.processing({ unique: active });
    await scene.requestCancel(held.id);
    await scene.settle(retryOf(held));

    const result = await scene.add({ unique: active });

    assert.equal(result.outcome, "created");
  });
}

function periods(test: TestCase): void {
  const states = jobStates.filter((state) => state !== "blocked");
  for (const state of states) {
    test(`for a period: a ${state} job holds its key until the period has passed`, async (scene) => {
      const { id } = await scene.jobIn(state, { unique: forAnHour });

      scene.clock.advance(hour - 1);
      const before = await scene.add({ unique: forAnHour });
      scene.clock.advance(1);
      const after = await scene.add({ unique: forAnHour });

      assert.equal(before.outcome === "duplicate" && before.job.id, id);
      assert.equal(after.outcome, "created");
    });
  }

  for (const onConflict of ["replace", "rerun"] as const) {
    test(`for a period: ${onConflict} behind a job that has ended keeps it`, async (scene) => {
      const unique = { ...forAnHour, onConflict };
      const { id } = await scene.jobIn("completed", { unique });

      const result = await scene.add({ unique });

      assert.equal(result.outcome === "duplicate" && result.job.id, id);
    });
  }

  test("for a period: the job that takes the key over holds it for a period of its own", async (scene) => {
    await scene.jobIn("completed", { unique: forAnHour });
    scene.clock.advance(hour);
    const next = await scene.enqueue({ unique: forAnHour });
    scene.clock.advance(hour - 1);

    const result = await scene.add({ unique: forAnHour });

    assert.equal(result.outcome === "duplicate" && result.job.id, next);
  });

  test("for a period: a job whose key went to another takes nothing with it when it ends", async (scene) => {
    const held = await scene.processing({ unique: forAnHour });
    scene.clock.advance(hour);
    const next = await scene.enqueue({ unique: forAnHour });
    await scene.apply(completeOf(held));

    const result = await scene.add({ unique: forAnHour });

    assert.equal(result.outcome === "duplicate" && result.job.id, next);
  });

  test("for a period: a rerun takes the key over when the holder ends within its period", async (scene) => {
    const unique = { ...forAnHour, onConflict: "rerun" } as const;
    const held = await scene.processing({ unique });
    const next = await scene.enqueue({ unique });
    await scene.apply(completeOf(held));

    const result = await scene.add({ unique: forAnHour });

    assert.equal(await scene.state(next), "pending");
    assert.equal(result.outcome === "duplicate" && result.job.id, next);
  });
}

/** The key goes to a third job while one waits behind the first. */
function overtaken(test: TestCase): void {
  const untilSoon = aUniqueClaim({ holdWhile: "period", periodMs: minute, onConflict: "rerun" });

  test("a blocked job waits for whoever took the key over after a period", async (scene) => {
    const first = await scene.processing({ unique: untilSoon });
    const blocked = await scene.enqueue({ unique: untilSoon });
    scene.clock.advance(minute);
    const third = await scene.processing({ unique: active });

    await scene.apply(completeOf(first));
    const behindThird = await scene.state(blocked);
    await scene.apply(completeOf(third));

    assert.deepEqual([behindThird, await scene.state(blocked)], ["blocked", "pending"]);
  });

  test("a blocked job becomes pending when a job gives the key back by being claimed", async (scene) => {
    await scene.processing({ unique: untilSoon });
    const blocked = await scene.enqueue({ unique: untilSoon });
    scene.clock.advance(minute);

    await scene.processing({ unique: whilePending });

    assert.equal(await scene.state(blocked), "pending");
  });
}

/** Failed jobs that an operator retries meet whoever took their key. */
function revived(test: TestCase): void {
  test("a failed job that is retried holds its key again", async (scene) => {
    const { id } = await scene.jobIn("failed", { unique: active });
    await scene.store.amend(aCommand("retry", [id]));

    const result = await scene.add({ unique: active });

    assert.equal(result.outcome === "duplicate" && result.job.id, id);
  });

  test("a failed job whose key belongs to another is not retried and stays as it is", async (scene) => {
    const failed = await scene.jobIn("failed", { unique: active });
    await scene.enqueue({ unique: active });

    const { results } = await scene.store.amend(aCommand("retry", [failed.id]));

    assert.deepEqual(results, [{ id: failed.id, outcome: "key_taken", state: "failed" }]);
    assert.deepEqual(await scene.job(failed.id), failed);
  });

  test("of two failed jobs with one key, the first to be retried gets it", async (scene) => {
    const first = await scene.jobIn("failed", { unique: active });
    const second = await scene.jobIn("failed", { unique: active });

    const { results } = await scene.store.amend(aCommand("retry", [first.id, second.id]));

    assert.deepEqual(
      results.map(({ outcome }) => outcome),
      ["applied", "key_taken"],
    );
  });

  test("a failed job may be retried after the job that took its key has ended", async (scene) => {
    const failed = await scene.jobIn("failed", { unique: active });
    await scene.jobIn("completed", { unique: active });

    const { results } = await scene.store.amend(aCommand("retry", [failed.id]));

    assert.deepEqual(results, [{ id: failed.id, outcome: "applied", state: "pending" }]);
  });

  test("a failed job that held its key while pending holds it again when it is retried", async (scene) => {
    const { id } = await scene.jobIn("failed", { unique: whilePending });
    await scene.store.amend(aCommand("retry", [id]));

    const result = await scene.add({ unique: whilePending });

    assert.equal(result.outcome === "duplicate" && result.job.id, id);
  });

  test("a failed job that held its key while pending is retried without it when another has it", async (scene) => {
    const failed = await scene.jobIn("failed", { unique: whilePending });
    await scene.enqueue({ unique: whilePending });

    const { results } = await scene.store.amend(aCommand("retry", [failed.id]));

    assert.deepEqual(results, [{ id: failed.id, outcome: "applied", state: "pending" }]);
  });
}
