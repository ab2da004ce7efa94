/**
 * The ways an attempt can end, and what becomes of the job.
 */
import assert from "node:assert/strict";
import { fixed } from "../../../backoff.js";
import { NonRetryableError } from "../../../errors.js";
import { cancel, fail, handle, snooze } from "../../../processor.js";
import { aType, fired, Gate, retryMs } from "./stage.js";
import type { LifeCase } from "./stage.js";

export function endingCases(test: LifeCase): void {
  test("a job runs to completed with the result of its handler", async (stage) => {
    const double = aType<{ readonly doubled: number }>();
    await stage.work([handle(double, (job) => ({ doubled: job.payload.n * 2 }))]);

    const { job, outcome } = await stage.queue.enqueue(double, { n: 21 });
    const ended = await stage.completed<{ readonly doubled: number }>(job);

    assert.equal(outcome, "created");
    assert.equal(ended.output?.doubled, 42);
  });

  test("a job that was enqueued before any worker came runs when one does", async (stage) => {
    const type = aType();
    const { job } = await stage.queue.enqueue(type, { n: 1 });

    await stage.work([handle(type, () => "done")]);

    assert.equal((await stage.completed(job)).output, "done");
  });

  test("a job that fails twice completes at the third attempt, with both errors in its history", async (stage) => {
    const type = aType();
    await stage.work([
      handle(type, (_job, ctx) => {
        if (ctx.attempt < 3) throw new Error(`no luck in attempt ${ctx.attempt}`);
        return "done";
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    assert.equal(ended.attempt, 3);
    const { attempts } = await stage.queue.history(job.id);
    assert.deepEqual(
      attempts.map(({ attempt, crashed, error }) => ({ attempt, crashed, message: error.message })),
      [
        { attempt: 1, crashed: false, message: "no luck in attempt 1" },
        { attempt: 2, crashed: false, message: "no luck in attempt 2" },
      ],
    );
  });

  test("a failed attempt is repeated no earlier than its backoff says", async (stage) => {
    const type = aType();
    const startedAt: number[] = [];
    await stage.work([
      handle(type, (_job, ctx) => {
        startedAt.push(stage.clock.now());
        if (ctx.attempt === 1) throw new Error("not yet");
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    const [first, second] = startedAt;
    assert.ok(second! - first! >= retryMs, `waited ${second! - first!} ms`);
  });

  test("a job that fails in every attempt ends failed as exhausted", async (stage) => {
    const type = aType();
    let runs = 0;
    await stage.work([
      handle(type, () => {
        runs++;
        throw new Error("never works");
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.failed(job);

    assert.deepEqual(
      { reason: ended.reason, message: ended.error.message, attempt: ended.attempt, runs },
      { reason: "exhausted", message: "never works", attempt: 3, runs: 3 },
    );
  });

  test("a failed job that is retried completes under the same id with a fresh attempt budget", async (stage) => {
    const type = aType({ retry: fixed({ attempts: 1 }) });
    let isMended = false;
    await stage.work([
      handle(type, () => {
        if (!isMended) throw new Error("broken");
      }),
    ]);
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.failed(job);

    isMended = true;
    assert.equal(await stage.queue.retry(job.id), "applied");
    const ended = await stage.completed(job);

    assert.deepEqual({ id: ended.id, attempt: ended.attempt }, { id: job.id, attempt: 1 });
  });

  test("a NonRetryableError fails a job in its first attempt", async (stage) => {
    const type = aType();
    await stage.work([
      handle(type, () => {
        throw new NonRetryableError("the monster does not exist");
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.failed(job);

    assert.deepEqual(
      { reason: ended.reason, attempt: ended.attempt, message: ended.error.message },
      { reason: "non_retryable", attempt: 1, message: "the monster does not exist" },
    );
  });

  test("a handler that returns fail() fails its job in its first attempt", async (stage) => {
    const type = aType();
    await stage.work([handle(type, () => fail("not wanted"))]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.failed(job);

    assert.deepEqual([ended.reason, ended.error.message], ["non_retryable", "not wanted"]);
  });

  test("a handler that returns cancel() cancels its job", async (stage) => {
    const type = aType();
    await stage.work([handle(type, () => cancel("the campaign was deleted"))]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.ended(job);

    assert.equal(ended.state, "cancelled");
    assert.equal(ended.state === "cancelled" && ended.reason, "the campaign was deleted");
  });

  test("a snoozed job runs again later without an attempt burnt", async (stage) => {
    const type = aType({ retry: fixed({ attempts: 1 }) });
    const startedAt: number[] = [];
    await stage.work([
      handle(type, () => {
        startedAt.push(stage.clock.now());
        return startedAt.length < 4 ? snooze(5_000) : "done";
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    assert.equal(ended.attempt, 1);
    const waits = startedAt.slice(1).map((at, index) => at - startedAt[index]!);
    assert.ok(
      waits.every((ms) => ms >= 5_000),
      `waited ${waits.join(", ")} ms`,
    );
  });

  test("an attempt that exceeds its timeout is told so and retried", async (stage) => {
    const type = aType({ timeoutMs: 2_000 });
    const reasons: unknown[] = [];
    await stage.work([
      handle(type, async (_job, ctx) => {
        if (ctx.attempt === 2) return "done";
        reasons.push(await fired(ctx.signal));
        ctx.signal.throwIfAborted();
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    assert.deepEqual(reasons, ["timeout"]);
    assert.equal(ended.attempt, 2);
    const { attempts } = await stage.queue.history(job.id);
    assert.deepEqual(
      attempts.map(({ error }) => error.name),
      ["TimeoutError"],
    );
  });

  test("a handler that ignores its timeout loses its slot, and what it returns later changes nothing", async (stage) => {
    const type = aType({ timeoutMs: 2_000 });
    const gate = new Gate();
    await stage.work(
      [
        handle(type, async (_job, ctx) => {
          if (ctx.attempt === 2) return "second";
          await gate.opened;
          return "first, late";
        }),
      ],
      { concurrency: 1 },
    );
    const abandoned = stage.next("job.abandoned");

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);
    gate.open();
    await stage.turn();

    assert.equal((await stage.soon(abandoned, "the handler to be abandoned")).reason, "timeout");
    const ended = await stage.completed(job);
    assert.equal(ended.output, "second");
  });

  test("a handler that throws undefined is retried like any other", async (stage) => {
    const type = aType();
    await stage.work([
      handle(type, (_job, ctx) => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- the case: JavaScript lets handlers throw anything
        if (ctx.attempt === 1) throw undefined;
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.equal((await stage.completed(job)).attempt, 2);
  });
}
