/**
 * Those who watch: hooks of a processor, middleware, subscribers. They see the truth and cannot change it.
 */
import assert from "node:assert/strict";
import type { Context } from "../../../context.js";
import type { EventName } from "../../../events.js";
import { handle, Processor, type JobInHand } from "../../../processor.js";
import { aType, type Task } from "./stage.js";
import type { LifeCase } from "./stage.js";

export function hookCases(test: LifeCase): void {
  test("the hooks of a processor are called in the order of what happens", async (stage) => {
    const processor = new Diarist((job, ctx) => {
      ctx.progress(1, 2);
      if (job.attempt === 1) throw new Error("no luck");
    });
    await stage.work([processor]);

    const { job } = await stage.queue.enqueue(processor.definition, { n: 1 });
    await stage.completed(job);

    assert.deepEqual(processor.diary, [
      "start 1",
      "progress 1/2",
      "retry no luck",
      "start 2",
      "progress 1/2",
      "success",
    ]);
  });

  test("the failure hook hears why a job failed for good", async (stage) => {
    const processor = new Diarist(() => {
      throw new Error("never works");
    });
    await stage.work([processor]);

    const { job } = await stage.queue.enqueue(processor.definition, { n: 1 }, { maxAttempts: 1 });
    await stage.failed(job);

    assert.deepEqual(processor.diary, ["start 1", "failure exhausted never works"]);
  });

  test("a hook is told of a success only when it is durable", async (stage) => {
    let tell: (state: string) => void = () => undefined;
    const told = new Promise<string>((resolve) => (tell = resolve));
    class Checking extends Processor<ReturnType<typeof aType>> {
      readonly definition = aType();
      process = () => "done";
      override async onSuccess(job: JobInHand<Task>) {
        tell((await stage.job(job.id)).state);
      }
    }
    const processor = new Checking();
    await stage.work([processor]);

    const { job } = await stage.queue.enqueue(processor.definition, { n: 1 });
    await stage.completed(job);

    assert.equal(await stage.soon(told, "the hook"), "completed");
  });

  test("middleware wraps every attempt, the first one outermost", async (stage) => {
    const type = aType();
    const diary: string[] = [];
    const worker = stage.hire([
      handle(type, () => {
        diary.push("handler");
        return "done";
      }),
    ]);
    for (const name of ["outer", "inner"]) {
      worker.use(async (_job, _ctx, next) => {
        diary.push(`${name} before`);
        const result = await next();
        diary.push(`${name} after ${String(result)}`);
        return result;
      });
    }
    await worker.start();

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.completed(job);

    assert.deepEqual(diary, ["outer before", "inner before", "handler", "inner after done", "outer after done"]);
  });

  test("middleware that throws fails the attempt like a handler that throws", async (stage) => {
    const type = aType();
    const worker = stage.hire([handle(type, () => "done")]);
    worker.use((job, _ctx, next) => {
      if (job.attempt === 1) throw new Error("no context");
      return next();
    });
    await worker.start();

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.equal((await stage.completed(job)).attempt, 2);
  });

  test("hooks that throw or reject change nothing and are reported", async (stage) => {
    class Clumsy extends Processor<ReturnType<typeof aType>> {
      readonly definition = aType();
      process = () => "done";
      override onStart(): void {
        throw new Error("onStart tripped");
      }
      override async onSuccess(): Promise<void> {
        throw new Error("onSuccess tripped");
      }
    }
    const troubles: string[] = [];
    stage.events.on("worker.troubled", ({ during, error }) => troubles.push(`${during}: ${(error as Error).message}`));
    const processor = new Clumsy();
    await stage.work([processor]);

    const { job } = await stage.queue.enqueue(processor.definition, { n: 1 });
    await stage.completed(job);
    await stage.turn();

    assert.deepEqual(troubles, ["the hook onStart: onStart tripped", "the hook onSuccess: onSuccess tripped"]);
  });

  test("subscribers that throw change nothing", async (stage) => {
    const type = aType();
    const names: EventName[] = ["job.enqueued", "job.started", "job.completed", "worker.troubled"];
    for (const name of names) {
      stage.events.on(name, () => {
        throw new Error("tripped");
      });
    }
    await stage.work([handle(type, () => "done")]);

    const { job } = await stage.queue.enqueue(type, { n: 1 });

    assert.equal((await stage.completed(job)).attempt, 1);
  });

  test("the events of a job name it, its attempt and its worker", async (stage) => {
    const type = aType({ correlation: ({ n }) => ({ entityId: `e${n}` }) });
    const started = stage.next("worker.started");
    await stage.work([handle(type, () => "done")]);
    const { workerId } = await stage.soon(started, "the worker to start");
    const completed = stage.next("job.completed");

    const { job } = await stage.queue.enqueue(type, { n: 1 });
    const event = await stage.soon(completed, "the job to complete");

    assert.deepEqual(
      { job: event.job, attempt: event.attempt, workerId: event.workerId },
      { job: { id: job.id, type: "example", correlation: { entityId: "e1" } }, attempt: 1, workerId },
    );
  });
}

class Diarist extends Processor<ReturnType<typeof aType>> {
  readonly definition = aType();
  readonly diary: string[] = [];

  constructor(readonly process: (job: JobInHand<Task>, ctx: Context) => unknown) {
    super();
  }

  override onStart(job: JobInHand<Task>): void {
    this.diary.push(`start ${job.attempt}`);
  }
  override onProgress(_job: JobInHand<Task>, { done, total }: { done: number; total: number | null }): void {
    this.diary.push(`progress ${done}/${total}`);
  }
  override onSuccess(): void {
    this.diary.push("success");
  }
  override onRetry(_job: JobInHand<Task>, { error }: { error: { message: string } }): void {
    this.diary.push(`retry ${error.message}`);
  }
  override onFailure(_job: JobInHand<Task>, { error, reason }: { error: { message: string }; reason: string }): void {
    this.diary.push(`failure ${reason} ${error.message}`);
  }
}
