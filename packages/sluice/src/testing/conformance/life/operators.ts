/**
 * Waiting for a job, and an operator's commands for many.
 */
import assert from "node:assert/strict";
import { fixed } from "../../../backoff.js";
import { JobsError } from "../../../errors.js";
import { handle } from "../../../processor.js";
import { aJobId } from "../../builders.js";
import { aType } from "./stage.js";
import type { LifeCase, Stage } from "./stage.js";

export function operatorCases(test: LifeCase): void {
  test("waitFor resolves with a job that ends while it waits", async (stage) => {
    const type = aType();
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const waiting = stage.queue.waitFor(job);

    await stage.work([handle(type, () => "done")]);
    const ended = await stage.reach(waiting, "waitFor to resolve");

    assert.deepEqual([ended.id, ended.state], [job.id, "completed"]);
  });

  test("waitFor resolves at once with a job that has ended", async (stage) => {
    const type = aType();
    await stage.work([handle(type, () => "done")]);
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    const ended = await stage.soon(stage.queue.waitFor(job.id), "waitFor to resolve");

    assert.equal(ended.state, "completed");
  });

  test("waitFor gives up after its timeout, and the job goes on", async (stage) => {
    const type = aType();
    const { job } = await stage.queue.enqueue(type, { n: 1 });

    const error = await stage.reach(rejection(stage.queue.waitFor(job, { timeoutMs: 2_000 })), "waitFor to give up");
    await stage.work([handle(type, () => "done")]);

    assert.equal(error.code, "WAIT_TIMEOUT");
    assert.equal((await stage.completed(job)).output, "done");
  });

  test("waitFor refuses a job that does not exist", async (stage) => {
    const error = await stage.reach(rejection(stage.queue.waitFor(aJobId())), "waitFor to refuse");

    assert.equal(error.code, "JOB_NOT_FOUND");
  });

  test("retryAll brings back the failed jobs that match, and no others", async (stage) => {
    const { good, bad, other, mend } = await threeFailedAndOneOfAnotherType(stage);

    mend();
    const summary = await stage.queue.retryAll({ types: ["good"] });
    for (const id of [...good, ...bad]) await stage.completed(id);

    assert.equal(summary.applied, 3);
    assert.equal((await stage.job(other)).state, "failed");
  });

  test("cancelAll cancels the waiting jobs that match, and no others", async (stage) => {
    const type = aType({ correlation: ({ n }) => ({ campaign: n < 3 ? "c1" : "c2" }), unique: false });
    const jobs = await stage.enqueueMany(type, [{ n: 1 }, { n: 2 }, { n: 3 }]);

    const summary = await stage.queue.cancelAll(
      { correlation: { campaign: "c1" } },
      { actor: "gm", reason: "deleted" },
    );

    assert.equal(summary.applied, 2);
    const after = await Promise.all(jobs.map(({ job }) => stage.job(job.id)));
    assert.deepEqual(
      after.map(({ state }) => state),
      ["cancelled", "cancelled", "pending"],
    );
    const { records: audit } = await stage.queue.audit();
    assert.deepEqual(
      audit.map(({ actor, action, reason }) => [actor, action, reason]),
      [
        ["gm", "cancel", "deleted"],
        ["gm", "cancel", "deleted"],
      ],
    );
  });

  test("discardAll takes failed jobs off the dead-letter queue", async (stage) => {
    const { good, bad, other } = await threeFailedAndOneOfAnotherType(stage);

    const summary = await stage.queue.discardAll({ types: ["good"] }, { reason: "known outage" });

    assert.equal(summary.applied, 3);
    const states = await Promise.all([...good, ...bad].map(async (id) => (await stage.job(id)).state));
    assert.deepEqual(new Set(states), new Set(["cancelled"]));
    assert.equal((await stage.job(other)).state, "failed");
  });

  test("a command by filter reaches more jobs than one page holds", async (stage) => {
    const type = aType();
    await stage.enqueueMany(
      type,
      Array.from({ length: 1_100 }, (_, n) => ({ n })),
    );

    const summary = await stage.queue.cancelAll({ types: ["example"] });

    assert.equal(summary.applied, 1_100);
    const [counts] = await stage.queue.counts({ types: ["example"] });
    assert.deepEqual([counts?.counts.pending, counts?.counts.cancelled], [0, 1_100]);
  });

  test("editAndRetry runs a failed job with its new payload and keeps the old one in the audit", async (stage) => {
    const type = aType({ retry: fixed({ attempts: 1 }) });
    await stage.work([
      handle(type, (job) => {
        if (job.payload.n < 0) throw new Error("negative");
        return job.payload.n;
      }),
    ]);
    const { job } = await stage.queue.enqueue(type, { n: -7 });
    await stage.failed(job);

    const outcome = await stage.queue.editAndRetry(type, job.id, { n: 7 }, { actor: "gm", reason: "typo" });
    const ended = await stage.completed(job);

    assert.deepEqual([outcome, ended.output], ["applied", 7]);
    const { records } = await stage.queue.audit({ target: { kind: "job", id: job.id } });
    assert.deepEqual(
      records.map(({ action, actor, reason, before }) => [action, actor, reason, before]),
      [["edit", "gm", "typo", JSON.stringify({ state: "failed", payload: '{"n":-7}' })]],
    );
  });

  test("editAndRetry refuses a payload that does not match, and changes nothing", async (stage) => {
    const type = aType();
    const { job } = await stage.queue.enqueue(type, { n: 1 });

    const error = await rejection(stage.queue.editAndRetry(type, job.id, { n: "a word" } as unknown as { n: number }));

    assert.equal(error.code, "INVALID_PAYLOAD");
    assert.deepEqual((await stage.job(job.id)).payload, { n: 1 });
    assert.deepEqual((await stage.queue.audit({ target: { kind: "job", id: job.id } })).records, []);
  });

  test("completed jobs are deleted when their retention is over, failed ones stay", async (stage) => {
    const type = aType({ retry: fixed({ attempts: 1 }) });
    await stage.work(
      [
        handle(type, (job) => {
          if (job.payload.n < 0) throw new Error("negative");
        }),
      ],
      { retentionMs: 10_000 },
    );
    const { job: good } = await stage.queue.enqueue(type, { n: 1 });
    const { job: bad } = await stage.queue.enqueue(type, { n: -1 });
    await stage.completed(good);
    await stage.failed(bad);

    // Two days later: a store may let go of whole days.
    stage.clock.advance(2 * 24 * 60 * 60 * 1_000);
    await stage.pass(15_000);

    assert.equal(await stage.queue.get(good.id), null);
    assert.equal((await stage.job(bad.id)).state, "failed");
  });
}

async function threeFailedAndOneOfAnotherType(stage: Stage) {
  let isMended = false;
  const run = () => {
    if (!isMended) throw new Error("broken");
  };
  const retry = fixed({ attempts: 1 });
  const good = aType({ type: "good", retry });
  const other = aType({ type: "other", retry });
  await stage.work([handle(good, run), handle(other, run)]);
  const jobs = await stage.enqueueMany(good, [{ n: 1 }, { n: 2 }, { n: 3 }]);
  const { job: stranger } = await stage.queue.enqueue(other, { n: 4 });
  for (const { job } of jobs) await stage.failed(job);
  await stage.failed(stranger);
  const ids = jobs.map(({ job }) => job.id);
  return { good: ids.slice(0, 2), bad: ids.slice(2), other: stranger.id, mend: () => (isMended = true) };
}

/** What a promise rejects with, which must be one of ours. */
async function rejection(promise: Promise<unknown>): Promise<JobsError> {
  const error = await promise.then(
    () => new Error("It did not reject."),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof JobsError, String(error));
  return error;
}
