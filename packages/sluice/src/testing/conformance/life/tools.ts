/**
 * What a handler has in hand: steps, children, progress, lines, keys.
 */
import assert from "node:assert/strict";
import { handle } from "../../../processor.js";
import { aType } from "./stage.js";
import type { LifeCase } from "./stage.js";

export function toolCases(test: LifeCase): void {
  test("a step runs once over a retry, and later attempts get its result", async (stage) => {
    const type = aType();
    let effects = 0;
    const seen: unknown[] = [];
    await stage.work([
      handle(type, async (_job, ctx) => {
        seen.push(await ctx.step("charge", () => ({ receipt: ++effects })));
        if (ctx.attempt < 3) throw new Error("after the charge");
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    assert.equal(effects, 1);
    assert.deepEqual(seen, [{ receipt: 1 }, { receipt: 1 }, { receipt: 1 }]);
  });

  test("a step that throws is not remembered and runs again", async (stage) => {
    const type = aType();
    let tries = 0;
    await stage.work([
      handle(type, (_job, ctx) =>
        ctx.step("charge", () => {
          if (++tries < 2) throw new Error("declined");
          return tries;
        }),
      ),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.equal((await stage.completed(job)).output, 2);
  });

  test("a step without a result is remembered too", async (stage) => {
    const type = aType();
    let effects = 0;
    await stage.work([
      handle(type, async (_job, ctx) => {
        await ctx.step("notify", () => void effects++);
        if (ctx.attempt === 1) throw new Error("after the step");
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    assert.equal(effects, 1);
  });

  test("two calls of one step in one attempt run it once", async (stage) => {
    const type = aType();
    let effects = 0;
    await stage.work([
      handle(type, (_job, ctx) => {
        const charge = () => ctx.step("charge", () => ++effects);
        return Promise.all([charge(), charge()]);
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.deepEqual((await stage.completed(job)).output, [1, 1]);
  });

  test("steps stay over an operator's retry", async (stage) => {
    const type = aType();
    let effects = 0;
    let isMended = false;
    await stage.work([
      handle(type, async (_job, ctx) => {
        await ctx.step("charge", () => ++effects);
        if (!isMended) throw new Error("after the charge");
      }),
    ]);
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.failed(job);

    isMended = true;
    await stage.queue.retry(job.id);
    await stage.completed(job);

    assert.equal(effects, 1);
  });

  test("children come into being only when their parent completes", async (stage) => {
    const parent = aType({ type: "parent" });
    const child = aType({ type: "child" });
    const childrenSeen: number[] = [];
    await stage.work([
      handle(parent, async (_job, ctx) => {
        childrenSeen.push((await stage.queue.list({ types: ["child"] })).jobs.length);
        const id = await ctx.enqueue(child, { n: ctx.attempt });
        if (ctx.attempt === 1) throw new Error("after the child was named");
        return id;
      }),
    ]);

    const { job } = await stage.queue.enqueue(parent, { n: 1 });
    const ended = await stage.completed(job);

    assert.deepEqual(childrenSeen, [0, 0]);
    const { jobs: children } = await stage.queue.list({ types: ["child"] });
    assert.deepEqual(
      children.map(({ id, payload }) => ({ id, payload })),
      [{ id: ended.output, payload: { n: 2 } }],
    );
  });

  test("a child runs", async (stage) => {
    const parent = aType({ type: "parent" });
    const child = aType({ type: "child" });
    await stage.work([
      handle(parent, (_job, ctx) => ctx.enqueue(child, { n: 7 })),
      handle(child, (job) => job.payload.n),
    ]);

    const { job } = await stage.queue.enqueue(parent, { n: 1 });
    const { output: childId } = await stage.completed<string>(job);

    assert.equal((await stage.completed(childId!)).output, 7);
  });

  test("progress is durable before the job ends", async (stage) => {
    const type = aType();
    await stage.work([
      handle(type, (_job, ctx) => {
        ctx.progress(1, 3);
        ctx.progress(3, 3);
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    assert.deepEqual(ended.progress, { done: 3, total: 3 });
  });

  test("progress can be seen while the handler runs", async (stage) => {
    const type = aType();
    const seen: unknown[] = [];
    await stage.work([
      handle(type, async (job, ctx) => {
        ctx.progress(40, 100);
        await stage.pass(300);
        let progress = null;
        for (let look = 0; look < 200 && progress === null; look += 1) progress = (await stage.job(job.id)).progress;
        seen.push(progress);
      }),
    ]);

    const completed = stage.next("job.completed");
    await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(completed, "the job to complete");

    assert.deepEqual(seen, [{ done: 40, total: 100 }]);
  });

  test("log lines are kept with the job, of failed attempts too", async (stage) => {
    const type = aType();
    await stage.work([
      handle(type, (_job, ctx) => {
        ctx.log.info(`attempt ${ctx.attempt}`);
        if (ctx.attempt === 1) throw new Error("no luck");
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    const { lines } = await stage.queue.history(job.id);
    assert.deepEqual(
      lines.map(({ level, message }) => ({ level, message })),
      [
        { level: "info", message: "attempt 1" },
        { level: "info", message: "attempt 2" },
      ],
    );
  });

  test("the idempotency key stays and the epoch grows from attempt to attempt", async (stage) => {
    const type = aType();
    const keys: string[] = [];
    const epochs: number[] = [];
    await stage.work([
      handle(type, (_job, ctx) => {
        keys.push(ctx.idempotencyKey);
        epochs.push(ctx.epoch);
        if (ctx.attempt < 3) throw new Error("again");
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    assert.deepEqual([keys.length, new Set(keys).size], [3, 1]);
    assert.deepEqual(epochs, [1, 2, 3]);
  });
}
