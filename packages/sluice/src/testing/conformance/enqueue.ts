/**
 * What an enqueued job looks like, and that sending it twice is safe. Unique keys have their own file.
 */
import assert from "node:assert/strict";
import { aNewJob, completeOf } from "../builders.js";
import { hour, minute, only } from "./scene.js";
import type { TestCase } from "./scene.js";

export function enqueueCases(test: TestCase): void {
  test("a job without a due time is pending and may run at once", async (scene) => {
    const now = scene.clock.now();

    const result = await scene.add();

    assert.deepEqual(result, { outcome: "created", state: "pending", createdAt: now, runAt: now });
  });

  test("a job with a delay is scheduled, counted from the store's present", async (scene) => {
    const now = scene.clock.now();

    const result = await scene.add({ due: { afterMs: minute } });

    assert.deepEqual(result, { outcome: "created", state: "scheduled", createdAt: now, runAt: now + minute });
  });

  test("a job due at a future instant is scheduled for it", async (scene) => {
    const now = scene.clock.now();

    const result = await scene.add({ due: { at: now + hour } });

    assert.deepEqual(result, { outcome: "created", state: "scheduled", createdAt: now, runAt: now + hour });
  });

  test("a delay of zero makes a job pending", async (scene) => {
    const result = await scene.add({ due: { afterMs: 0 } });

    assert.equal(result.outcome === "created" && result.state, "pending");
  });

  test("a job due at an instant that has passed is pending", async (scene) => {
    const result = await scene.add({ due: { at: scene.clock.now() - hour } });

    assert.equal(result.outcome === "created" && result.state, "pending");
  });

  test("a job keeps every field it came with", async (scene) => {
    const now = scene.clock.now();
    const job = aNewJob({
      type: "import.monster",
      version: 3,
      payload: '{"name":"Ankheg"}',
      correlation: { entityId: "e1", campaignId: "c1" },
      priority: -5,
      maxAttempts: 7,
      trace: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "a=1" },
    });

    await scene.store.enqueue([job]);

    assert.deepEqual(await scene.job(job.id), {
      id: job.id,
      type: "import.monster",
      version: 3,
      state: "pending",
      priority: -5,
      payload: '{"name":"Ankheg"}',
      output: null,
      correlation: { entityId: "e1", campaignId: "c1" },
      uniqueKey: null,
      trace: job.trace,
      createdAt: now,
      runAt: now,
      startedAt: null,
      finishedAt: null,
      attempt: 0,
      maxAttempts: 7,
      crashes: 0,
      epoch: 0,
      workerId: null,
      isCancelRequested: false,
      failReason: null,
      cancelReason: null,
      error: null,
      progress: null,
      controls: null,
      heldBy: null,
    });
  });

  test("a payload comes back character by character, whatever its script", async (scene) => {
    const payload = JSON.stringify({
      text: "Łódź 東京 🐉 e\u0301 \u0000 \u2028 \"quoted\" 'single' \\ % ; --",
      lone: "\ud800",
    });

    const id = await scene.enqueue({ payload, correlation: { ключ: "значение 🗝️" } });

    const record = await scene.job(id);
    assert.equal(record.payload, payload);
    assert.deepEqual(record.correlation, { ключ: "значение 🗝️" });
  });

  test("a payload of one megabyte comes back whole", async (scene) => {
    const payload = JSON.stringify({ text: "ä".repeat(500_000) });

    const id = await scene.enqueue({ payload });

    assert.equal((await scene.job(id)).payload, payload);
    assert.equal((await scene.claimOne()).payload, payload);
  });

  test("a thousand jobs in one call are answered in order", async (scene) => {
    const now = scene.clock.now();
    const jobs = Array.from({ length: 1_000 }, (_, n) => aNewJob({ due: { afterMs: n + 1 }, payload: `{"n":${n}}` }));

    const results = await scene.store.enqueue(jobs);

    const expected = jobs.map((_, n) => ({
      outcome: "created",
      state: "scheduled",
      createdAt: now,
      runAt: now + n + 1,
    }));
    assert.deepEqual(results, expected);
  });

  test("no jobs are no work", async (scene) => {
    assert.deepEqual(await scene.store.enqueue([]), []);
  });

  test("sending the same id again adds nothing and answers as before", async (scene) => {
    const job = aNewJob({ due: { afterMs: minute } });
    const first = await scene.store.enqueue([job]);
    scene.clock.advance(1);

    const second = await scene.store.enqueue([job]);

    assert.deepEqual(second, first);
    const { jobs } = await scene.store.list({ filter: {}, page: { before: null, limit: 10 } });
    assert.deepEqual(
      jobs.map(({ id }) => id),
      [job.id],
    );
  });

  test("the same id twice in one call adds one job", async (scene) => {
    const job = aNewJob();

    const [first, second] = await scene.store.enqueue([job, job]);

    assert.deepEqual(second, first);
    assert.deepEqual(await scene.claimIds(), [job.id]);
  });

  test("sending the id of a completed job again does not run it again", async (scene) => {
    const job = aNewJob();
    await scene.store.enqueue([job]);
    await scene.apply(completeOf(await scene.claimOne()));

    const again = only(await scene.store.enqueue([job]));

    assert.equal(again.outcome, "created");
    assert.equal(await scene.state(job.id), "completed");
  });

  test("enqueue hints at work", async (scene) => {
    const hint = scene.nextHint(({ work }) => work);

    await scene.enqueue();

    assert.equal((await hint).work, true);
  });
}
