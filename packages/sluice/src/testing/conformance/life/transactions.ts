/**
 * The application's rows and the job's ending in one transaction. Functions given to a transaction are synchronous here:
 * every store with transactions takes those.
 */
import assert from "node:assert/strict";
import { JobsError } from "../../../errors.js";
import { handle } from "../../../processor.js";
import { aType, Gate } from "./stage.js";
import type { LifeCase, Stage } from "./stage.js";

export function withoutTransactionsCases(test: LifeCase): void {
  test("ctx.transaction refuses on a store that has none", async (stage) => {
    const type = aType();
    await stage.work([handle(type, (_job, ctx) => ctx.transaction(() => "never").catch(codeOf))]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.equal((await stage.completed(job)).output, "TRANSACTIONS_UNSUPPORTED");
  });

  test("ctx.transactionStep refuses on a store that has none", async (stage) => {
    const type = aType();
    await stage.work([handle(type, (_job, ctx) => ctx.transactionStep("s", () => "never").catch(codeOf))]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.equal((await stage.completed(job)).output, "TRANSACTIONS_UNSUPPORTED");
  });
}

export function transactionCases(test: LifeCase): void {
  test("ctx.transaction commits the application's rows and the completion together", async (stage) => {
    const { insert, count } = await table(stage);
    const type = aType();
    await stage.work([
      handle(type, (job, ctx) =>
        ctx.transaction((tx) => {
          insert(tx, job.payload.n);
          return "saved";
        }),
      ),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    assert.deepEqual([ended.output, await count()], ["saved", 1]);
  });

  test("what ctx.transaction's work throws rolls the rows back, and the job is retried", async (stage) => {
    const { insert, count } = await table(stage);
    const type = aType();
    const rowsSeen: number[] = [];
    await stage.work([
      handle(type, async (job, ctx) => {
        rowsSeen.push(await count());
        await ctx.transaction((tx) => {
          insert(tx, job.payload.n);
          if (ctx.attempt === 1) throw new Error("after the insert");
        });
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    assert.equal(ended.attempt, 2);
    assert.deepEqual([rowsSeen, await count()], [[0, 0], 1]);
  });

  test("a handler that throws after its transaction committed does not undo the completion", async (stage) => {
    const { insert, count } = await table(stage);
    const type = aType();
    await stage.work([
      handle(type, async (job, ctx) => {
        await ctx.transaction((tx) => void insert(tx, job.payload.n));
        throw new Error("too late to matter");
      }),
    ]);
    const troubled = stage.next("worker.troubled");

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    assert.deepEqual([ended.attempt, await count()], [1, 1]);
    await stage.soon(troubled, "the throw to be reported");
  });

  test("a committed job is reported completed once", async (stage) => {
    const { insert } = await table(stage);
    const type = aType();
    let completions = 0;
    stage.events.on("job.completed", () => completions++);
    await stage.work([handle(type, (job, ctx) => ctx.transaction((tx) => void insert(tx, job.payload.n)))]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);
    await stage.turn();

    assert.equal(completions, 1);
  });

  test("ctx.transaction under a lost lease refuses and leaves no row", async (stage) => {
    const { insert, count } = await table(stage);
    const type = aType();
    const gate = new Gate();
    const frozen = await stage.freeze([
      handle(type, async (job, ctx) => {
        await gate.opened;
        await ctx.transaction((tx) => void insert(tx, job.payload.n));
      }),
    ]);
    const started = stage.next("job.started", { from: frozen.events });
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.soon(started, "the job to start");
    await stage.work([handle(type, () => "elsewhere")]);
    await stage.completed(job);

    const late = stage.next("job.leaseLost", { from: frozen.events });
    gate.open();
    await stage.soon(late, "the transaction to be refused");

    assert.equal(await count(), 0);
    assert.equal((await stage.completed(job)).output, "elsewhere");
  });

  test("children of a transaction exist when it has committed", async (stage) => {
    await table(stage);
    const parent = aType({ type: "parent" });
    const child = aType({ type: "child" });
    await stage.work([
      handle(parent, async (_job, ctx) => {
        await ctx.enqueue(child, { n: 7 });
        await ctx.transaction(() => "done");
      }),
    ]);

    const { job } = await stage.queue.enqueue(parent, { n: 1 });
    await stage.completed(job);

    assert.equal((await stage.queue.list({ types: ["child"] })).jobs.length, 1);
  });

  test("queue.enqueue with tx exists only when the transaction commits", async (stage) => {
    await table(stage);
    const type = aType();
    const joined = aType({ type: "joined" });
    await stage.work([
      handle(type, (_job, ctx) =>
        ctx.transaction((tx) => {
          void stage.queue.enqueue(joined, { n: ctx.attempt }, { tx });
          if (ctx.attempt === 1) throw new Error("after the enqueue");
        }),
      ),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    const { jobs } = await stage.queue.list({ types: ["joined"] });
    assert.deepEqual(
      jobs.map(({ payload }) => payload),
      [{ n: 2 }],
    );
  });

  test("a transactionStep takes effect exactly once over a retry", async (stage) => {
    const { insert, count } = await table(stage);
    const type = aType();
    const seen: unknown[] = [];
    await stage.work([
      handle(type, async (job, ctx) => {
        seen.push(
          await ctx.transactionStep("save", (tx) => {
            insert(tx, job.payload.n);
            return { saved: job.payload.n };
          }),
        );
        if (ctx.attempt < 3) throw new Error("after the step");
      }),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    assert.equal(await count(), 1);
    assert.deepEqual(seen, [{ saved: 1 }, { saved: 1 }, { saved: 1 }]);
  });

  test("a transactionStep whose work throws leaves no row and runs again", async (stage) => {
    const { insert, count } = await table(stage);
    const type = aType();
    await stage.work([
      handle(type, (job, ctx) =>
        ctx.transactionStep("save", (tx) => {
          insert(tx, job.payload.n);
          if (ctx.attempt === 1) throw new Error("after the insert");
          return "saved";
        }),
      ),
    ]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const ended = await stage.completed(job);

    assert.deepEqual([ended.output, ended.attempt, await count()], ["saved", 2, 1]);
  });
}

/** The application's table, created the only way an application has: in a job. */
async function table(stage: Stage) {
  const { application } = stage;
  const setUp = aType({ type: "set-up" });
  const worker = await stage.work([handle(setUp, (_job, ctx) => ctx.transaction((tx) => void application.create(tx)))]);
  const { job } = await stage.queue.enqueue(setUp, { n: 0 });
  await stage.completed(job);
  await stage.reach(worker.stop(), "the worker to stop");
  return {
    insert: (tx: unknown, n: number) => void application.insert(tx, n),
    count: async () => application.count(),
  };
}

function codeOf(error: unknown): string {
  assert.ok(error instanceof JobsError);
  return error.code;
}
