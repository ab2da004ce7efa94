/**
 * Which jobs a worker gets, in which order, and what else a claim tells it.
 */
import assert from "node:assert/strict";
import { jobStates } from "../../job.js";
import { aClaim, aNewJob, holdOf, releaseOf, retryOf, snoozeOf } from "../builders.js";
import { hour, minute, only, second } from "./scene.js";
import type { TestCase } from "./scene.js";

export function claimCases(test: TestCase): void {
  whatAClaimDoes(test);
  order(test);
  limits(test);
  dueTimes(test);
  company(test);
  aging(test);
}

function whatAClaimDoes(test: TestCase): void {
  test("a claimed job carries what a worker needs to run it", async (scene) => {
    const createdAt = scene.clock.now();
    const trace = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
    const id = await scene.enqueue({ version: 2, payload: "[1]", correlation: { a: "b" }, priority: 4, trace });
    scene.clock.advance(second);

    const { jobs } = await scene.store.claim(aClaim());

    const expected = {
      id,
      epoch: 1,
      type: "example",
      version: 2,
      payload: "[1]",
      correlation: { a: "b" },
      priority: 4,
      createdAt,
      runAt: createdAt,
      startedAt: createdAt + second,
      attempt: 1,
      maxAttempts: 3,
      crashes: 0,
      trace,
    };
    assert.deepEqual(jobs, [expected]);
  });

  test("a claimed job is processing by that worker", async (scene) => {
    await scene.register("worker-2");
    const id = await scene.enqueue();

    await scene.claimOne({ workerId: "worker-2" });

    const { state, workerId, startedAt, attempt, epoch } = await scene.job(id);
    assert.deepEqual(
      { state, workerId, startedAt, attempt, epoch },
      { state: "processing", workerId: "worker-2", startedAt: scene.clock.now(), attempt: 1, epoch: 1 },
    );
  });

  test("a job is handed over once", async (scene) => {
    const id = await scene.enqueue();

    const claims = await Promise.all([scene.claimIds(), scene.claimIds(), scene.claimIds()]);

    assert.deepEqual(claims.flat(), [id]);
  });

  test("attempt and epoch grow by one with every claim", async (scene) => {
    await scene.apply(retryOf(await scene.processing(), { delayMs: 0 }));

    const again = await scene.claimOne();

    assert.deepEqual([again.attempt, again.epoch], [2, 2]);
  });

  for (const state of jobStates.filter((state) => state !== "pending")) {
    test(`a ${state} job is not handed over`, async (scene) => {
      await scene.jobIn(state);

      assert.deepEqual(await scene.claimIds(), []);
    });
  }

  test("a worker is told which of its jobs are asked to stop", async (scene) => {
    await scene.register("worker-2");
    const mine = await scene.processing();
    await scene.enqueue();
    const others = await scene.claimOne({ workerId: "worker-2" });
    await scene.requestCancel(mine.id);
    await scene.requestCancel(others.id);

    const { cancels } = await scene.store.claim(aClaim());

    assert.deepEqual(cancels, [holdOf(mine)]);
  });
}

function order(test: TestCase): void {
  test("the higher priority goes first", async (scene) => {
    const normal = await scene.enqueue({ priority: 0 });
    const low = await scene.enqueue({ priority: -10 });
    const high = await scene.enqueue({ priority: 10 });

    assert.deepEqual(await scene.claimIds(), [high, normal, low]);
  });

  test("within a priority, the longest pending goes first", async (scene) => {
    const first = await scene.enqueue();
    scene.clock.advance(1);
    const second = await scene.enqueue();
    scene.clock.advance(1);
    const third = await scene.enqueue();

    assert.deepEqual(await scene.claimIds(), [first, second, third]);
  });

  test("jobs that became pending together go in the order in which they were added", async (scene) => {
    const jobs = Array.from({ length: 50 }, () => aNewJob());
    await scene.store.enqueue(jobs);

    const claimed = await scene.claimIds();

    assert.deepEqual(
      claimed,
      jobs.map(({ id }) => id),
    );
  });

  test("a scheduled job takes its place by its due time, not by when it was added or noticed", async (scene) => {
    const dueLater = await scene.enqueue({ due: { afterMs: 20 } });
    const dueSooner = await scene.enqueue({ due: { afterMs: 10 } });
    scene.clock.advance(15);
    const between = await scene.enqueue();
    scene.clock.advance(15);

    assert.deepEqual(await scene.claimIds(), [dueSooner, between, dueLater]);
  });

  test("a retrying job takes its place by the end of its backoff", async (scene) => {
    const failed = await scene.processing();
    await scene.apply(retryOf(failed, { delayMs: 10 }));
    const before = await scene.enqueue();
    scene.clock.advance(20);
    const after = await scene.enqueue();

    assert.deepEqual(await scene.claimIds(), [before, failed.id, after]);
  });

  test("a released job returns to its old place", async (scene) => {
    const first = await scene.processing();
    scene.clock.advance(1);
    const second = await scene.enqueue();
    scene.clock.advance(1);
    await scene.apply(releaseOf(first));

    assert.deepEqual(await scene.claimIds(), [first.id, second]);
  });

  test("types are served in the order of the request while the limit lasts", async (scene) => {
    const [a1, b1] = [await scene.enqueue({ type: "a" }), await scene.enqueue({ type: "b" })];
    const [a2, b2] = [await scene.enqueue({ type: "a" }), await scene.enqueue({ type: "b" })];

    const claimed = await scene.claimIds({ types: ["b", "a"], limit: 3 });

    assert.deepEqual(claimed, [b1, b2, a1]);
    assert.equal(await scene.state(a2), "pending");
  });
}

function limits(test: TestCase): void {
  test("no more jobs are handed over than the limit in all", async (scene) => {
    await scene.store.enqueue([aNewJob(), aNewJob(), aNewJob()]);

    const { jobs } = await scene.store.claim(aClaim({ limit: 2 }));

    assert.equal(jobs.length, 2);
  });

  test("no more jobs of a type are handed over than the limit of the type", async (scene) => {
    const ofA = [aNewJob({ type: "a" }), aNewJob({ type: "a" })];
    const ofB = [aNewJob({ type: "b" }), aNewJob({ type: "b" })];
    await scene.store.enqueue([...ofA, ...ofB]);

    const claimed = await scene.claimIds({ types: [{ type: "a", limit: 1 }, "b"] });

    assert.deepEqual(claimed, [ofA[0]?.id, ofB[0]?.id, ofB[1]?.id]);
  });

  test("a limit of zero claims nothing", async (scene) => {
    const id = await scene.enqueue();

    assert.deepEqual(await scene.claimIds({ limit: 0 }), []);
    assert.equal(await scene.state(id), "pending");
  });

  test("a limit of zero for one type leaves its jobs and serves the others", async (scene) => {
    await scene.enqueue({ type: "a" });
    const other = await scene.enqueue({ type: "b" });

    assert.deepEqual(await scene.claimIds({ types: [{ type: "a", limit: 0 }, "b"] }), [other]);
  });

  test("a claim for no types is no work", async (scene) => {
    await scene.enqueue();

    assert.deepEqual(await scene.store.claim(aClaim({ types: [] })), {
      jobs: [],
      nextDueInMs: null,
      cancels: [],
      limited: [],
    });
  });

  test("a type that the worker did not name is left alone", async (scene) => {
    await scene.enqueue({ type: "other" });

    assert.deepEqual(await scene.claimIds(), []);
  });

  test("whoever leaves newer versions alone does not lead others past them", async (scene) => {
    const newer = await scene.enqueue({ version: 2 });
    const older = [await scene.enqueue(), await scene.enqueue()];

    const claimed = await scene.claimIds({ types: [{ type: "example", maxVersion: 1 }], limit: 1 });

    assert.deepEqual(claimed, [older[0]]);
    assert.deepEqual(await scene.claimIds({ types: [{ type: "example", maxVersion: 2 }], limit: 2 }), [
      newer,
      older[1],
    ]);
  });

  test("a newer version is left for a newer worker and blocks nobody", async (scene) => {
    const newer = await scene.enqueue({ version: 3, priority: 10 });
    const known = await scene.enqueue({ version: 2 });

    const claimed = await scene.claimIds({ types: [{ type: "example", maxVersion: 2 }], limit: 1 });

    assert.deepEqual(claimed, [known]);
    assert.deepEqual(await scene.claimIds({ types: [{ type: "example", maxVersion: 3 }] }), [newer]);
  });

  test("a thousand jobs are handed over in one call", async (scene) => {
    const jobs = Array.from({ length: 1_000 }, () => aNewJob());
    await scene.store.enqueue(jobs);

    const claimed = await scene.claimIds({ limit: 1_000 });

    assert.deepEqual(
      claimed,
      jobs.map(({ id }) => id),
    );
  });
}

function dueTimes(test: TestCase): void {
  test("a scheduled job is handed over at its due time and not a millisecond before", async (scene) => {
    const id = await scene.enqueue({ due: { afterMs: minute } });

    scene.clock.advance(minute - 1);
    const before = await scene.claimIds();
    scene.clock.advance(1);
    const onTime = await scene.claimIds();

    assert.deepEqual([before, onTime], [[], [id]]);
  });

  test("a retrying job is handed over after its backoff and not a millisecond before", async (scene) => {
    const held = await scene.processing();
    await scene.apply(retryOf(held, { delayMs: minute }));

    scene.clock.advance(minute - 1);
    const before = await scene.claimIds();
    scene.clock.advance(1);
    const onTime = await scene.claimIds();

    assert.deepEqual([before, onTime], [[], [held.id]]);
  });

  test("a snoozed job is handed over after its snooze and not a millisecond before", async (scene) => {
    const held = await scene.processing();
    await scene.apply(snoozeOf(held, { delayMs: minute }));

    scene.clock.advance(minute - 1);
    const before = await scene.claimIds();
    scene.clock.advance(1);
    const onTime = await scene.claimIds();

    assert.deepEqual([before, onTime], [[], [held.id]]);
  });

  test("a claim makes due jobs pending also when it has no room for them", async (scene) => {
    const ids = [await scene.enqueue({ due: { afterMs: 1 } }), await scene.enqueue({ due: { afterMs: 2 } })];
    scene.clock.advance(minute);

    await scene.claimOne();

    assert.equal(await scene.state(ids[1] ?? ""), "pending");
  });

  test("a claim says how long until the next job of its types is due", async (scene) => {
    await scene.enqueue({ due: { afterMs: hour } });
    await scene.enqueue({ due: { afterMs: minute } });
    await scene.enqueue({ due: { afterMs: second }, type: "other" });
    scene.clock.advance(second);

    const { nextDueInMs } = await scene.store.claim(aClaim());

    assert.equal(nextDueInMs, minute - second);
  });

  test("the end of a backoff counts as due", async (scene) => {
    await scene.apply(retryOf(await scene.processing(), { delayMs: minute }));

    const { nextDueInMs } = await scene.store.claim(aClaim());

    assert.equal(nextDueInMs, minute);
  });

  test("a claim with a limit of zero says what is due next", async (scene) => {
    await scene.enqueue({ due: { afterMs: minute } });

    const { nextDueInMs } = await scene.store.claim(aClaim({ limit: 0 }));

    assert.equal(nextDueInMs, minute);
  });

  test("nothing is due next when no job waits for its time", async (scene) => {
    await scene.enqueue();
    await scene.enqueue({ due: { afterMs: second }, type: "other" });

    const { jobs, nextDueInMs } = await scene.store.claim(aClaim());

    only(jobs);
    assert.equal(nextDueInMs, null);
  });
}

/** Of jobs with a low priority, some are handed over although others come first. */
function aging(test: TestCase): void {
  const wanted = { type: "example", aged: 1 };

  test("the longest waiting of the lowest priority gets its share once it has waited for a minute", async (scene) => {
    const low = [await scene.enqueue({ priority: -5 }), await scene.enqueue({ priority: -5 })];
    scene.clock.advance(minute - 1);
    const high = [await scene.enqueue(), await scene.enqueue(), await scene.enqueue()];

    const before = await scene.claimIds({ types: [wanted], limit: 1 });
    scene.clock.advance(1);
    const onTime = await scene.claimIds({ types: [wanted], limit: 2 });
    const without = await scene.claimIds({ limit: 2 });

    assert.deepEqual([before, new Set(onTime), without], [[high[0]], new Set([low[0], high[1]]), [high[2], low[1]]]);
  });

  test("a share that finds one priority only changes nothing", async (scene) => {
    const ids = [await scene.enqueue(), await scene.enqueue()];
    scene.clock.advance(hour);
    assert.deepEqual(await scene.claimIds({ types: [{ ...wanted, aged: 5 }], limit: 1 }), [ids[0]]);
  });

  test("a share goes no further than the limits of the type", async (scene) => {
    for (let n = 0; n < 3; n++) await scene.enqueue({ priority: -5 });
    scene.clock.advance(hour);
    await scene.enqueue();
    const narrow = { ...wanted, aged: 3, concurrency: 2 };
    assert.equal((await scene.claimIds({ types: [narrow] })).length, 2);
    assert.equal((await scene.claimIds({ types: [narrow] })).length, 0);
  });

  test("where each job is asked for, the aged are asked for first", async (scene) => {
    const low = await scene.enqueue({ priority: -5 });
    scene.clock.advance(hour);
    await scene.enqueue();
    const controls = { concurrencyPerKey: 1, rate: null, ratePerKey: null };
    assert.deepEqual(await scene.claimIds({ types: [{ ...wanted, controls }], limit: 1 }), [low]);
  });
}

/** Jobs that are not handed over one by one: what batch processors ask for. */
function company(test: TestCase): void {
  const wanted = { type: "example", company: { min: 3, waitMs: minute } };

  test("jobs that wait for company are handed over together when there are enough", async (scene) => {
    const first = [await scene.enqueue(), await scene.enqueue()];
    const tooFew = await scene.claimIds({ types: [wanted] });
    const last = await scene.enqueue();

    assert.deepEqual([tooFew, await scene.claimIds({ types: [wanted] })], [[], [...first, last]]);
  });

  test("too few are handed over when the first of them has waited for as long as it should, and not before", async (scene) => {
    const first = await scene.enqueue();
    scene.clock.advance(second);
    const late = await scene.enqueue();

    scene.clock.advance(minute - second - 1);
    const before = await scene.claimIds({ types: [wanted] });
    scene.clock.advance(1);
    const onTime = await scene.claimIds({ types: [wanted] });

    assert.deepEqual([before, onTime], [[], [first, late]]);
  });

  test("the wait of a scheduled job for company begins when it is due", async (scene) => {
    const id = await scene.enqueue({ due: { afterMs: hour } });

    scene.clock.advance(hour + minute - 1);
    const before = await scene.claimIds({ types: [wanted] });
    scene.clock.advance(1);
    const onTime = await scene.claimIds({ types: [wanted] });

    assert.deepEqual([before, onTime], [[], [id]]);
  });

  test("a job that was given back has waited since it was first pending", async (scene) => {
    const held = await scene.processing();
    scene.clock.advance(minute);
    await scene.apply(releaseOf(held));

    assert.deepEqual(await scene.claimIds({ types: [wanted] }), [held.id]);
  });

  test("jobs whose version is too new are no company", async (scene) => {
    await scene.store.enqueue([aNewJob(), aNewJob(), aNewJob({ version: 2 })]);

    assert.deepEqual(await scene.claimIds({ types: [{ ...wanted, maxVersion: 1 }] }), []);
  });

  test("a claim with room for fewer than should come together gets them after their wait", async (scene) => {
    const jobs = [aNewJob(), aNewJob(), aNewJob()];
    await scene.store.enqueue(jobs);
    const narrow = { types: [wanted], limit: 2 };

    const before = await scene.claimIds(narrow);
    scene.clock.advance(minute);
    const onTime = await scene.claimIds(narrow);

    assert.deepEqual([before, onTime], [[], [jobs[0]?.id, jobs[1]?.id]]);
  });

  test("other types are served while one waits for company", async (scene) => {
    await scene.enqueue();
    const other = await scene.enqueue({ type: "other" });

    assert.deepEqual(await scene.claimIds({ types: [wanted, "other"] }), [other]);
  });

  test("a claim says when the waiting for company will be over", async (scene) => {
    await scene.enqueue();
    scene.clock.advance(second);
    await scene.enqueue();

    const { nextDueInMs } = await scene.store.claim(aClaim({ types: [wanted] }));

    assert.equal(nextDueInMs, minute - second);
  });

  test("a wait for company that is over is not due next", async (scene) => {
    await scene.enqueue();
    scene.clock.advance(minute);

    const { nextDueInMs } = await scene.store.claim(aClaim({ types: [wanted], limit: 0 }));

    assert.equal(nextDueInMs, null);
  });
}
