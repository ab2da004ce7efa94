/**
 * The same request sent twice (I7), as its sender sees it.
 */
import assert from "node:assert/strict";
import { JobsError } from "../../../errors.js";
import { handle } from "../../../processor.js";
import type { NewJob, Store } from "../../../store.js";
import { aType, changed } from "./stage.js";
import type { LifeCase, Stage } from "./stage.js";

const dayMs = 24 * 60 * 60 * 1_000;
const idempotency = { key: "client-1 request-1" };

export function idempotencyCases(test: LifeCase): void {
  test("a request that is sent again after its job has completed is answered with it, and runs nothing", async (stage) => {
    const type = aType({});
    let runs = 0;
    await stage.work([handle(type, () => void runs++)]);
    const first = await stage.queue.enqueue(type, { n: 1 }, { idempotency });
    await stage.completed(first.job);

    const again = await stage.queue.enqueue(type, { n: 1 }, { idempotency });

    assert.deepEqual([first.outcome, first.isRepeated], ["created", false]);
    assert.deepEqual([again.outcome, again.isRepeated, again.job.id], ["duplicate", true, first.job.id]);
    assert.equal(again.job.state, "completed");
    assert.equal(runs, 1);
  });

  test("a duplicate by its unique key is no repeat", async (stage) => {
    const type = aType({ correlation: () => ({ entityId: "e1" }), unique: { onConflict: "replace" } });
    await stage.queue.enqueue(type, { n: 1 });

    const replaced = await stage.queue.enqueue(type, { n: 2 }, { idempotency });
    const repeated = await stage.queue.enqueue(type, { n: 2 }, { idempotency });

    assert.deepEqual([replaced.outcome, replaced.isRepeated], ["replaced", false]);
    assert.deepEqual([repeated.outcome, repeated.isRepeated], ["duplicate", true]);
  });

  test("a key for another payload is refused, and adds nothing", async (stage) => {
    const type = aType({});
    await stage.queue.enqueue(type, { n: 1 }, { idempotency });

    await assert.rejects(stage.queue.enqueue(type, { n: 2 }, { idempotency }), {
      code: "IDEMPOTENCY_KEY_REUSED",
      details: { type: type.type, key: idempotency.key },
    });

    assert.equal((await stage.queue.list()).jobs.length, 1);
  });

  test("a request whose job has been deleted says so, and which it was", async (stage) => {
    const type = aType({});
    const worker = await stage.work([handle(type, () => undefined)]);
    const longer = { ...idempotency, periodMs: 10 * dayMs };
    const { job } = await stage.queue.enqueue(type, { n: 1 }, { idempotency: longer });
    await stage.completed(job);
    await stage.soon(worker.stop(), "the worker to stop");
    // Some stores let go of whole days.
    stage.clock.advance(3 * dayMs);
    await stage.store.prune({ retentionMs: 1, limit: 10 });

    await assert.rejects(stage.queue.enqueue(type, { n: 1 }, { idempotency: longer }), {
      code: "JOB_GONE",
      details: { type: type.type, id: job.id },
    });
  });

  test("a request whose answer was lost is created once, and hears that it was created", async (stage) => {
    const type = aType({});
    const store = forgetful(stage);

    const answer = stage.queueOn(store).enqueue(type, { n: 1 }, { idempotency });
    const { outcome, isRepeated, job } = await stage.reach(answer, "the request to be answered");

    assert.deepEqual([outcome, isRepeated], ["created", false]);
    assert.deepEqual(
      (await stage.queue.list()).jobs.map(({ id }) => id),
      [job.id],
    );
  });

  test("fifty senders of one request at the same moment are answered with one job", async (stage) => {
    const type = aType({});

    const answers = await Promise.all(
      Array.from({ length: 50 }, () => stage.queue.enqueue(type, { n: 1 }, { idempotency })),
    );

    assert.equal(answers.filter(({ outcome }) => outcome === "created").length, 1);
    assert.equal(answers.filter(({ isRepeated }) => isRepeated).length, 49);
    assert.equal(new Set(answers.map(({ job }) => job.id)).size, 1);
  });

  test("many payloads sent again with more behind them add only what is missing", async (stage) => {
    const type = aType({});
    const first = await stage.enqueueMany(type, [{ n: 0 }, { n: 1 }], { idempotency });

    const again = await stage.enqueueMany(type, [{ n: 0 }, { n: 1 }, { n: 2 }], { idempotency });

    assert.deepEqual(
      again.map(({ outcome, isRepeated }) => [outcome, isRepeated]),
      [
        ["duplicate", true],
        ["duplicate", true],
        ["created", false],
      ],
    );
    assert.deepEqual(
      again.slice(0, 2).map(({ job }) => job.id),
      first.map(({ job }) => job.id),
    );
  });

  test("many payloads of which one is another than before are refused when the others are durable", async (stage) => {
    const type = aType({});
    await stage.enqueueMany(type, [{ n: 0 }, { n: 1 }], { idempotency });

    const again = stage.queue.enqueueMany(type, [{ n: 0 }, { n: 7 }, { n: 2 }], { idempotency });

    await assert.rejects(again, {
      code: "IDEMPOTENCY_KEY_REUSED",
      details: { type: type.type, key: `${idempotency.key}/1` },
    });
    const { jobs } = await stage.queue.list();
    assert.deepEqual(jobs.map(({ payload }) => (payload as { n: number }).n).sort(), [0, 1, 2]);
  });

  test("a listener hears of a repeat as of a duplicate, and of a key in wrong use not at all", async (stage) => {
    const type = aType({});
    const heard: string[] = [];
    stage.events.on("job.enqueued", ({ job, outcome }) => heard.push(`${outcome} ${job.id}`));
    const { job } = await stage.queue.enqueue(type, { n: 1 }, { idempotency });

    await stage.queue.enqueue(type, { n: 1 }, { idempotency });
    await stage.queue.enqueue(type, { n: 2 }, { idempotency }).catch(() => undefined);

    assert.deepEqual(heard, [`created ${job.id}`, `duplicate ${job.id}`]);
  });
}

/** Commits the first enqueue, and loses its answer. */
function forgetful({ store }: Stage): Store<unknown> {
  let isFirst = true;
  const enqueue = async (jobs: readonly NewJob[]) => {
    const results = await store.enqueue(jobs);
    if (!isFirst) return results;
    isFirst = false;
    throw new JobsError("STORE_UNAVAILABLE", "The answer was lost.");
  };
  return changed(store, { enqueue });
}
