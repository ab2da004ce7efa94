/**
 * Searches by text, and commands for many jobs by their ids. What a text means is search.test.ts's to show; here it meets rows.
 */
import assert from "node:assert/strict";
import { fixed } from "../../../backoff.js";
import type { JobsError } from "../../../errors.js";
import type { Job } from "../../../job.js";
import { handle } from "../../../processor.js";
import { aJobId } from "../../builders.js";
import { aType } from "./stage.js";
import type { LifeCase, Stage } from "./stage.js";

export function searchCases(test: LifeCase): void {
  test("a search finds by state, type, reason, correlation, error, attempt and id, and by what is not so", async (stage) => {
    const { failed, waiting } = await aFailedAndTwoWaiting(stage);

    const found = async (text: string) => idsOf((await stage.queue.search(text)).jobs);

    for (const text of [
      "state:failed",
      "status:failed reason:exhausted",
      "error:CONNECTION",
      '"connection reset"',
      "attempt:>=1",
      `id:${failed.id}`,
      failed.id,
      "-type:mail.*",
      "type:shop.order",
      "shop",
      "-status:pending",
      "correlation.game:g1",
    ]) {
      assert.deepEqual(await found(text), [failed.id], text);
    }
    for (const text of [
      "type:mail.*",
      "type:mail.send,mail.check",
      "mail",
      "-state:failed",
      "attempt:0",
      "-correlation.game:g1",
      "-error:reset",
      "-shop",
    ]) {
      assert.deepEqual(await found(text), waiting, text);
    }
    for (const text of [
      "state:completed",
      "type:nothing.*",
      "reset state:pending",
      "correlation.game:g1,g2 type:mail.send",
      aJobId(),
    ]) {
      assert.deepEqual(await found(text), [], text);
    }
    assert.equal((await found("")).length, 3);
  });

  test("a search goes on where its page ended, with every match once", async (stage) => {
    const type = aType({ type: "paged" });
    const enqueued = await stage.queue.enqueueMany(type, [...Array(7).keys()].map((n) => ({ n })), { priority: 1 }); // prettier-ignore
    await stage.queue.enqueueMany(type, [...Array(7).keys()].map((n) => ({ n }))); // prettier-ignore

    const pages: (readonly string[])[] = [];
    for (let cursor: string | null = null, isFirst = true; isFirst || cursor !== null; isFirst = false) {
      const page = await stage.queue.search("type:paged priority:1", { cursor, limit: 3 });
      pages.push(idsOf(page.jobs));
      assert.equal(page.searched.isComplete, page.next === null);
      cursor = page.next;
    }

    assert.deepEqual(pages.map((page) => page.length), [3, 3, 1]); // prettier-ignore
    assert.deepEqual(pages.flat(), enqueued.map(({ job }) => job!.id).reverse()); // prettier-ignore
  });

  test("a search as of an instant finds no job that came or ended after it", async (stage) => {
    const type = aType({ type: "frozen" });
    const { job: done } = await stage.queue.enqueue(type, { n: 1 });
    const { job: waits } = await stage.queue.enqueue(type, { n: 2 }, { delayMs: 86_400_000 });
    const asOf = new Date(stage.clock.now());
    stage.clock.advance(5);
    await stage.work([handle(type, () => undefined)]);
    await stage.completed(done);
    await stage.queue.enqueue(type, { n: 3 });

    const { jobs } = await stage.queue.search("type:frozen since:1h", { asOf });

    assert.deepEqual(idsOf(jobs), [waits.id]);
  });

  test("a search says how far it looked", async (stage) => {
    const { failed } = await aFailedAndTwoWaiting(stage);

    const all = await stage.queue.search("priority:0");
    const some = await stage.queue.search("priority:0", { limit: 1 });
    const none = await stage.queue.search("state:failed state:pending");

    assert.deepEqual(all.searched, { from: null, to: null, rows: 3, isComplete: true });
    assert.deepEqual([some.next, some.searched.rows, some.searched.isComplete], [some.jobs[0]!.id, 1, false]);
    assert.deepEqual([none.jobs, none.next, none.searched.rows], [[], null, 0]);
    assert.deepEqual(idsOf((await stage.queue.search("since:1h until:2999-01-01 state:failed")).jobs), [failed.id]);
  });

  test("a search that cannot be understood is refused, with every fault", async (stage) => {
    const error = await stage.queue.search("stat:failed state:done").then(
      () => assert.fail("It was understood."),
      (error: unknown) => error as JobsError,
    );

    assert.equal(error.code, "INVALID_QUERY");
    assert.deepEqual((error.details["faults"] as { position: number }[]).map(({ position }) => position), [0, 18]); // prettier-ignore
  });

  test("amendMany answers for each job by itself, also for one named twice", async (stage) => {
    const { failed, waiting } = await aFailedAndTwoWaiting(stage);
    const missing = aJobId();

    const answer = await stage.queue.amendMany("cancel", [waiting[0]!, failed.id, missing, waiting[1]!, waiting[0]!], {
      actor: "ada",
      reason: "ticket 12",
    });

    assert.deepEqual(answer, [
      { id: waiting[0], outcome: "applied", state: "cancelled" },
      { id: failed.id, outcome: "wrong_state", state: "failed" },
      { id: missing, outcome: "not_found", state: null },
      { id: waiting[1], outcome: "applied", state: "cancelled" },
      { id: waiting[0], outcome: "wrong_state", state: "cancelled" },
    ]);
    const {
      records: [record],
    } = await stage.queue.audit({ limit: 1 });
    assert.deepEqual([record?.actor, record?.reason, record?.action], ["ada", "ticket 12", "cancel"]);
    assert.deepEqual(await stage.queue.amendMany("retry", []), []);
    await assert.rejects(stage.queue.amendMany("retry", Array<string>(501).fill(missing)), { code: "INVALID_OPTIONS" });
  });
}

function idsOf(jobs: readonly Job[]): readonly string[] {
  return jobs.map(({ id }) => id);
}

/** The waiting ones newest first. */
async function aFailedAndTwoWaiting(stage: Stage): Promise<{ failed: Job; waiting: readonly string[] }> {
  const order = aType({ type: "shop.order", retry: fixed({ attempts: 1, delayMs: 0 }) });
  await stage.work([handle(order, () => Promise.reject(new Error("Connection reset by peer")))]);
  const { job: failed } = await stage.queue.enqueue(order, { n: 1 }, { correlation: { game: "g1" } });
  await stage.ended(failed);
  const { job: first } = await stage.queue.enqueue(aType({ type: "mail.send" }), { n: 1 });
  const { job: second } = await stage.queue.enqueue(aType({ type: "mail.check" }), { n: 1 });
  return { failed, waiting: [second.id, first.id] };
}
