/**
 * The life of the store itself: what it says of itself, migration, deleting what is old, and the end.
 */
import assert from "node:assert/strict";
import type { JobState } from "../../job.js";
import type { StoreCapabilities } from "../../store.js";
import {
  aBeat,
  aClaim,
  aCommand,
  aJobId,
  aNewJob,
  aRollup,
  aStep,
  aUniqueClaim,
  cancelOf,
  completeOf,
  failOf,
  holdOf,
  retryOf,
} from "../builders.js";
import { hour, minute } from "./scene.js";
import type { TestCase } from "./scene.js";

const everything = { filter: {}, page: { before: null, limit: 100 } };

export function upkeepCases(test: TestCase, capabilities: StoreCapabilities): void {
  pruning(test);

  test("the store says of itself what the suite was told", async (scene) => {
    assert.deepEqual({ ...scene.store.capabilities }, { ...capabilities });
    assert.equal(scene.store.transact !== undefined, capabilities.transactions !== "none");
  });

  test("migrating again, also twice at once, changes nothing", async (scene) => {
    const id = await scene.enqueue();

    await Promise.all([scene.store.migrate(), scene.store.migrate()]);

    assert.equal(await scene.state(id), "pending");
  });

  test("a closed store refuses every call", async (scene) => {
    await scene.store.close();

    const { store } = scene;
    const held = { id: aNewJob().id, epoch: 1 };
    const calls: readonly (() => Promise<unknown>)[] = [
      () => store.enqueue([aNewJob()]),
      () => store.claim(aClaim()),
      () => store.settle([completeOf(held)]),
      () => store.remember([aStep(held)]),
      () => store.recall(held.id),
      () => store.annotate([{ hold: held, progress: null, lines: [] }]),
      () => store.heartbeat(aBeat()),
      () => store.retire("worker-1"),
      () => store.heldBy("worker-1"),
      () => store.findLost({ limit: 1 }),
      () => store.amend(aCommand("cancel", [held.id])),
      () => store.get([held.id]),
      () => store.history(held.id),
      () => store.list(everything),
      () => store.counts(),
      () => store.workers(),
      () => store.addRollups([aRollup()]),
      () => store.rollups({ from: 0, to: minute, stepMs: minute }),
      () => store.standing([aJobId()]),
      () => store.audit({ limit: 1 }),
      () => store.record([]),
      () => store.accessKeys(),
      () => store.prune({ retentionMs: 0, limit: 1 }),
    ];
    for (const call of calls) await assert.rejects(call, { code: "STORE_CLOSED" }, call.toString());
  });

  test("a store may be closed twice", async (scene) => {
    await scene.store.close();

    await scene.store.close();
  });

  test("calls under way when the store is closed are finished", async (scene) => {
    const job = aNewJob();

    const [results] = await Promise.all([scene.store.enqueue([job]), scene.store.close()]);

    assert.equal(results[0]?.outcome, "created");
  });
}

function pruning(test: TestCase): void {
  for (const [state, settlement] of [
    ["completed", completeOf],
    ["cancelled", cancelOf],
  ] as const) {
    test(`a ${state} job is deleted after the retention and not before`, async (scene) => {
      const held = await scene.processing();
      scene.clock.advance(hour);
      await scene.apply(settlement(held));

      scene.clock.advance(minute);
      const before = await scene.store.prune({ retentionMs: minute, limit: 10 });
      scene.clock.advance(1);
      const after = await scene.store.prune({ retentionMs: minute, limit: 10 });

      assert.deepEqual([before.pruned, after.pruned], [0, 1]);
      assert.deepEqual(await scene.store.get([held.id]), [null]);
    });
  }

  for (const state of ["scheduled", "pending", "blocked", "processing", "retrying", "failed"] as JobState[]) {
    test(`a ${state} job is never deleted`, async (scene) => {
      const before = await scene.jobIn(state);
      scene.clock.advance(1_000 * hour);

      const { pruned } = await scene.store.prune({ retentionMs: 0, limit: 10 });

      assert.equal(pruned, 0);
      assert.deepEqual(await scene.job(before.id), before);
    });
  }

  test("with a job goes all that belongs to it", async (scene) => {
    const first = await scene.processing();
    await scene.store.remember([aStep(first)]);
    await scene.store.annotate([
      { hold: holdOf(first), progress: null, lines: [{ at: 1, level: "info", message: "gone" }] },
    ]);
    await scene.apply(retryOf(first, { delayMs: 0 }));
    await scene.apply(completeOf(await scene.claimOne()));
    scene.clock.advance(hour);

    await scene.store.prune({ retentionMs: minute, limit: 10 });

    assert.deepEqual(await scene.store.recall(first.id), []);
    assert.deepEqual(await scene.store.history(first.id), { attempts: [], lines: [] });
  });

  test("the blob of a deleted job is deleted", async (scene) => {
    const { id: blob } = await scene.store.blobs.put(bytes("large"));
    await scene.jobIn("completed", { blob });
    scene.clock.advance(hour);

    await scene.store.prune({ retentionMs: minute, limit: 10 });

    await assert.rejects(drain(scene.store.blobs.get(blob)), { code: "BLOB_NOT_FOUND" });
  });

  test("the blob of a job that stays is kept", async (scene) => {
    const { id: blob } = await scene.store.blobs.put(bytes("large"));
    await scene.jobIn("failed", { blob });
    await scene.jobIn("completed");
    scene.clock.advance(hour);

    await scene.store.prune({ retentionMs: minute, limit: 10 });

    assert.equal(await drain(scene.store.blobs.get(blob)), "large");
  });

  test("the blob of a payload that was replaced is deleted, the one of the new payload is kept", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "replace" });
    const [old, newer] = [await scene.store.blobs.put(bytes("old")), await scene.store.blobs.put(bytes("new"))];
    await scene.enqueue({ unique, blob: old.id });
    await scene.add({ unique, blob: newer.id });

    await scene.store.prune({ retentionMs: minute, limit: 10 });

    await assert.rejects(drain(scene.store.blobs.get(old.id)), { code: "BLOB_NOT_FOUND" });
    assert.equal(await drain(scene.store.blobs.get(newer.id)), "new");
  });

  test("the blob of a replaced payload belongs to the job from then on", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "replace" });
    const { id: blob } = await scene.store.blobs.put(bytes("new"));
    await scene.enqueue({ unique });
    await scene.add({ unique, blob });
    await scene.apply(completeOf(await scene.claimOne()));
    scene.clock.advance(hour);

    await scene.store.prune({ retentionMs: minute, limit: 10 });

    await assert.rejects(drain(scene.store.blobs.get(blob)), { code: "BLOB_NOT_FOUND" });
  });

  test("no more jobs are deleted than the limit", async (scene) => {
    for (let n = 0; n < 3; n += 1) await scene.jobIn("completed");
    scene.clock.advance(hour);

    const first = await scene.store.prune({ retentionMs: minute, limit: 2 });
    const second = await scene.store.prune({ retentionMs: minute, limit: 2 });

    assert.deepEqual([first.pruned, second.pruned], [2, 1]);
  });

  test("a job that still holds its key for a period is kept until the period has passed", async (scene) => {
    const unique = aUniqueClaim({ holdWhile: "period", periodMs: hour });
    const { id } = await scene.jobIn("completed", { unique });

    scene.clock.advance(hour - 1);
    const before = await scene.store.prune({ retentionMs: minute, limit: 10 });
    const conflict = await scene.add({ unique });
    scene.clock.advance(2);
    const after = await scene.store.prune({ retentionMs: minute, limit: 10 });

    assert.deepEqual([before.pruned, after.pruned], [0, 1]);
    assert.equal(conflict.outcome === "duplicate" && conflict.job.id, id);
  });

  test("a job that is kept for its key does not stand in the way of others", async (scene) => {
    const unique = aUniqueClaim({ holdWhile: "period", periodMs: 100 * hour });
    await scene.jobIn("completed", { unique });
    const other = await scene.jobIn("completed");
    scene.clock.advance(hour);

    const { pruned } = await scene.store.prune({ retentionMs: minute, limit: 1 });

    assert.equal(pruned, 1);
    assert.deepEqual(await scene.store.get([other.id]), [null]);
  });

  test("the job that ended first is deleted first", async (scene) => {
    const [first, second] = [await scene.processing(), await scene.processing()];
    await scene.apply(completeOf(second));
    scene.clock.advance(1);
    await scene.apply(completeOf(first));
    scene.clock.advance(hour);

    await scene.store.prune({ retentionMs: minute, limit: 1 });

    assert.deepEqual([await scene.state(first.id), await scene.store.get([second.id])], ["completed", [null]]);
  });

  test("the key of a deleted job is free", async (scene) => {
    const unique = aUniqueClaim({ holdWhile: "period", periodMs: hour });
    await scene.jobIn("completed", { unique });
    scene.clock.advance(2 * hour);
    await scene.store.prune({ retentionMs: minute, limit: 10 });

    const result = await scene.add({ unique });

    assert.equal(result.outcome, "created");
  });

  test("a discarded job is deleted like any cancelled one", async (scene) => {
    const held = await scene.processing();
    await scene.apply(failOf(held));
    await scene.store.amend(aCommand("discard", [held.id]));
    scene.clock.advance(hour);

    const { pruned } = await scene.store.prune({ retentionMs: minute, limit: 10 });

    assert.equal(pruned, 1);
  });

  test("the audit outlives the job", async (scene) => {
    const id = await scene.enqueue();
    await scene.store.amend(aCommand("cancel", [id]));
    scene.clock.advance(hour);

    await scene.store.prune({ retentionMs: minute, limit: 10 });

    assert.equal((await scene.store.audit({ target: { kind: "job", id }, limit: 10 })).records.length, 1);
  });
}

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}

async function drain(source: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
