/** One attempt: every way a handler can end, or refuse to, as a value. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { Attempt, describeError, type AttemptDeps } from "./attempt.js";
import { AttemptAborted, type Context } from "./context.js";
import { defineJob, type AnyDefinition } from "./definition.js";
import { JobsError, NonRetryableError } from "./errors.js";
import { Events } from "./events.js";
import { cancel, fail, handle, snooze, type JobInHand } from "./processor.js";
import type { ClaimedJob } from "./store.js";
import { memory } from "./stores/memory/index.js";
import { aClaimedJob } from "./testing/builders.js";
import { ManualClock } from "./testing/manual-clock.js";

const plain = defineJob({ type: "example", payload: z.object({}), timeoutMs: 10_000 });
const abortGraceMs = 5_000;

async function setup(
  handler: (job: JobInHand<never>, ctx: Context) => unknown,
  {
    definition = plain,
    job = {},
    ...deps
  }: { definition?: AnyDefinition; job?: Partial<ClaimedJob> } & Partial<AttemptDeps> = {},
) {
  const clock = new ManualClock();
  const told = { started: 0, abandoned: [] as string[], troubles: [] as string[] };
  const attempt = new Attempt(aClaimedJob(job), handle(definition, handler as never), {
    store: await memory({ clock }),
    clock,
    events: new Events(),
    newId: () => "a child",
    workerId: "worker-1",
    retryForMs: 1_000,
    middleware: [],
    abortGraceMs,
    onStarted: () => told.started++,
    onProgress: () => {},
    onAbandoned: (_attempt, reason) => told.abandoned.push(reason),
    onTrouble: (during) => told.troubles.push(during),
    ...deps,
  });
  return { attempt, clock, told };
}

async function outcomeOf(...given: Parameters<typeof setup>) {
  const { attempt } = await setup(...given);
  return attempt.run();
}

function throwing(anything: unknown): () => never {
  return () => {
    throw anything;
  };
}

/** Resolves when the handler has its signal. */
function startedHandler() {
  let signalled: (signal: AbortSignal) => void = () => {};
  const signal = new Promise<AbortSignal>((resolve) => (signalled = resolve));
  return { signal, started: (ctx: Context) => signalled(ctx.signal) };
}

describe("a handler that returns", () => {
  test("succeeds with its result as JSON", async () => {
    expect(await outcomeOf(() => ({ n: 1 }))).toEqual({ kind: "succeeded", output: '{"n":1}', children: [] });
  });

  test("nothing succeeds without an output", async () => {
    expect(await outcomeOf(async () => {})).toMatchObject({ kind: "succeeded", output: null });
  });

  test("what its result schema takes succeeds with what the schema makes of it", async () => {
    const definition = defineJob({
      type: "example",
      payload: z.object({}),
      result: z.object({ n: z.coerce.number() }),
    });

    expect(await outcomeOf(() => ({ n: "7", extra: true }), { definition })).toMatchObject({ output: '{"n":7}' });
  });

  test("what its result schema refuses fails without another try", async () => {
    const definition = defineJob({ type: "example", payload: z.object({}), result: z.object({ n: z.number() }) });

    expect(await outcomeOf(() => ({ n: "seven" }), { definition })).toMatchObject({
      kind: "failed",
      isRetryable: false,
      error: { name: "InvalidResult", issues: [{ path: "/n" }] },
    });
  });

  test("what JSON cannot hold fails without another try", async () => {
    expect(await outcomeOf(() => ({ n: 1n }))).toMatchObject({
      kind: "failed",
      isRetryable: false,
      error: { name: "JobsError", message: expect.stringContaining("cannot be written as JSON") },
    });
  });

  test.each([
    [snooze(5_000), { kind: "snoozed", delayMs: 5_000 }],
    [cancel("not wanted"), { kind: "cancelled", reason: "not wanted" }],
    [
      fail("no such monster"),
      { kind: "failed", isRetryable: false, error: { name: "Failed", message: "no such monster" } },
    ],
  ])("a directive is steered by it: %o", async (directive, outcome) => {
    expect(await outcomeOf(() => directive)).toEqual(outcome);
  });

  test("a directive is steered by it whatever the result schema says", async () => {
    const definition = defineJob({ type: "example", payload: z.object({}), result: z.string() });

    expect(await outcomeOf(() => snooze(1), { definition })).toEqual({ kind: "snoozed", delayMs: 1 });
  });

  test("hands on the children it named", async () => {
    const child = defineJob({ type: "child", payload: z.object({ n: z.number() }) });

    const outcome = await outcomeOf((_job, ctx) => ctx.enqueue(child, { n: 1 }));

    expect(outcome).toMatchObject({ children: [{ id: "a child", type: "child", payload: '{"n":1}' }] });
  });
});

describe("a handler that throws", () => {
  test("may be tried again", async () => {
    const outcome = await outcomeOf(async () => Promise.reject(new RangeError("too far")));

    expect(outcome).toMatchObject({
      kind: "failed",
      isRetryable: true,
      error: { name: "RangeError", message: "too far", stack: expect.stringContaining("attempt.test") },
    });
  });

  test("before its first await is treated alike", async () => {
    const outcome = await outcomeOf(() => {
      throw new RangeError("too far");
    });

    expect(outcome).toMatchObject({ kind: "failed", isRetryable: true, error: { name: "RangeError" } });
  });

  test("a NonRetryableError is not tried again", async () => {
    class NoSuchMonster extends NonRetryableError {}

    const outcome = await outcomeOf(async () => Promise.reject(new NoSuchMonster("Ankheg")));

    expect(outcome).toMatchObject({ kind: "failed", isRetryable: false, error: { message: "Ankheg" } });
  });

  test.each([
    ["undefined", undefined],
    ["null", null],
    ["a string", "no luck"],
    ["a symbol", Symbol("no luck")],
    ["a plain object", { code: 7 }],
    ["an object without a prototype", Object.create(null) as object],
  ])("%s is a failure like any other", async (_what, thrown) => {
    const outcome = await outcomeOf(throwing(thrown));

    expect(outcome).toMatchObject({ kind: "failed", isRetryable: true, error: { name: "NonError" } });
  });

  test("something circular is a failure like any other", async () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;

    const outcome = await outcomeOf(throwing(circle));

    expect(outcome).toMatchObject({ kind: "failed", error: { name: "NonError" } });
  });

  test("an error whose properties throw is a failure like any other", async () => {
    const hostile = new Error("x");
    Object.defineProperty(hostile, "message", {
      get() {
        throw new Error("gotcha");
      },
    });

    expect(await outcomeOf(async () => Promise.reject(hostile))).toMatchObject({ kind: "failed" });
  });

  test("10 MB of message fails with a bounded error", async () => {
    const outcome = await outcomeOf(async () => Promise.reject(new Error("x".repeat(10_000_000))));

    expect(outcome).toMatchObject({
      kind: "failed",
      error: { message: expect.stringMatching(/^x+… \(10000000 char/) },
    });
    expect(JSON.stringify(outcome).length).toBeLessThan(20_000);
  });

  test("an error of ours keeps its issues", () => {
    const issues = [{ path: "/n", message: "expected a number" }];

    expect(describeError(new JobsError("INVALID_PAYLOAD", "No.", { issues }))).toMatchObject({ issues });
  });
});

describe("a payload", () => {
  test("that does not match ends the attempt before the handler sees it", async () => {
    const definition = defineJob({ type: "example", payload: z.object({ n: z.number() }) });
    const { attempt, told } = await setup(() => "never", { definition, job: { payload: '{"n":"x"}' } });

    const outcome = await attempt.run();

    expect(outcome).toMatchObject({ kind: "unreadable", error: { name: "InvalidPayload", issues: [{ path: "/n" }] } });
    expect([told.started, attempt.inHand]).toEqual([0, null]);
  });

  test("reaches the handler upcast and transformed", async () => {
    const definition = defineJob({
      type: "example",
      payload: z.object({ at: z.iso.datetime().transform((at) => new Date(at)) }),
      version: 2,
      upcast: { 1: (old: { when: string }) => ({ at: old.when }) },
    });

    const outcome = await outcomeOf((job: JobInHand<{ at: Date }>) => job.payload.at.getUTCFullYear(), {
      definition,
      job: { payload: '{"when":"2026-01-01T00:00:00Z"}', version: 1 },
    });

    expect(outcome).toMatchObject({ output: "2026" });
  });

  test("whose asynchronous check throws is unreadable", async () => {
    const payload: StandardSchemaV1<unknown, object> = {
      "~standard": { version: 1, vendor: "test", validate: () => Promise.reject(new Error("database down")) },
    };

    const outcome = await outcomeOf(() => "never", { definition: defineJob({ type: "example", payload }) });

    expect(outcome).toMatchObject({ kind: "unreadable", error: { issues: [{ message: "database down" }] } });
  });
});

describe("a timeout", () => {
  test("fires the signal with its reason and ends the attempt when the handler stops", async () => {
    const { signal, started } = startedHandler();
    const { attempt, clock } = await setup(async (_job, ctx) => {
      started(ctx);
      await new Promise((_resolve, reject) => ctx.signal.addEventListener("abort", reject));
    });
    const running = attempt.run();
    const fired = await signal;

    clock.advance(9_999);
    const early = fired.aborted;
    clock.advance(1);

    expect(await running).toEqual({ kind: "timed_out", error: expect.objectContaining({ name: "TimeoutError" }) });
    expect([early, fired.reason]).toEqual([false, expect.any(AttemptAborted)]);
    expect((fired.reason as AttemptAborted).reason).toBe("timeout");
  });

  test("does not undo what the handler still completes within the grace", async () => {
    const { signal, started } = startedHandler();
    const { attempt, clock, told } = await setup(async (_job, ctx) => {
      started(ctx);
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      return "just in time";
    });
    const running = attempt.run();
    await signal;

    clock.advance(10_000);

    expect(await running).toMatchObject({ kind: "succeeded", output: '"just in time"' });
    expect(told.abandoned).toEqual([]);
  });

  test("ends the attempt without the handler when that ignores its signal for the grace", async () => {
    const { signal, started } = startedHandler();
    const { attempt, clock, told } = await setup((_job, ctx) => {
      started(ctx);
      return new Promise(() => {});
    });
    let outcome: unknown = null;
    const running = attempt.run().then((ended) => (outcome = ended));
    await signal;

    clock.advance(10_000 + abortGraceMs - 1);
    await new Promise((resolve) => setImmediate(resolve));
    const early = outcome;
    clock.advance(1);
    await running;

    expect(early).toBeNull();
    expect(outcome).toMatchObject({ kind: "timed_out" });
    expect(told.abandoned).toEqual(["timeout"]);
  });

  test("never fires for a handler that ended in time", async () => {
    let kept: AbortSignal | undefined;
    const { attempt, clock, told } = await setup((_job, ctx) => void (kept = ctx.signal));
    await attempt.run();

    clock.advance(100_000);

    expect(kept?.aborted).toBe(false);
    expect(told.abandoned).toEqual([]);
  });
});

describe("an abort", () => {
  test.each([
    ["cancelled", { kind: "cancelled", reason: "requested" }],
    ["shutdown", { kind: "interrupted" }],
    ["lease_lost", { kind: "lease_lost" }],
  ] as const)("for %s ends as such when the handler throws", async (reason, outcome) => {
    const { signal, started } = startedHandler();
    const { attempt } = await setup(async (_job, ctx) => {
      started(ctx);
      await new Promise((_resolve, reject) => ctx.signal.addEventListener("abort", reject));
    });
    const running = attempt.run();
    await signal;

    attempt.abort(reason);

    expect(await running).toEqual(outcome);
  });

  test("keeps its first reason", async () => {
    const { signal, started } = startedHandler();
    const { attempt } = await setup(async (_job, ctx) => {
      started(ctx);
      await new Promise((_resolve, reject) => ctx.signal.addEventListener("abort", reject));
    });
    const running = attempt.run();
    const fired = await signal;

    attempt.abort("cancelled");
    attempt.abort("shutdown");

    expect(await running).toMatchObject({ kind: "cancelled" });
    expect((fired.reason as AttemptAborted).reason).toBe("cancelled");
  });

  test("before the handler runs keeps it from running", async () => {
    const { attempt, told } = await setup(() => "never");

    attempt.abort("shutdown");

    expect(await attempt.run()).toEqual({ kind: "interrupted" });
    expect(told.started).toBe(0);
  });

  test("while the payload's check hangs frees the slot after the grace", async () => {
    const definition = defineJob({
      type: "example",
      payload: z.object({}).refine(() => new Promise<boolean>(() => {})),
    });
    const { attempt, clock } = await setup(() => "never", { definition });
    let outcome: unknown = "still running";
    void attempt.run().then((ended) => (outcome = ended));
    await new Promise((resolve) => setImmediate(resolve));

    attempt.abort("shutdown");
    clock.advance(abortGraceMs);
    await new Promise((resolve) => setImmediate(resolve));

    expect(outcome).toEqual({ kind: "interrupted" });
  });

  test("can be seen by a handler that looks at its signal only later", async () => {
    let context: Context | undefined;
    const { attempt } = await setup(async (_job, ctx) => {
      context = ctx;
      await new Promise((resolve) => setImmediate(resolve));
      return ctx.signal.aborted;
    });
    const running = attempt.run();
    await vi.waitUntil(() => context !== undefined, { interval: 1 });

    attempt.abort("cancelled");

    expect(await running).toMatchObject({ output: "true" });
  });
});

describe("steps", () => {
  test("with a name that cannot be kept are refused before they take effect", async () => {
    let effects = 0;

    const outcome = await outcomeOf((_job, ctx) => ctx.step("", () => ++effects));

    expect(outcome).toMatchObject({ kind: "failed", error: { message: expect.stringContaining("name") } });
    expect(effects).toBe(0);
  });

  test("that cannot be recalled give the job back instead of running twice", async () => {
    const clock = new ManualClock();
    const store = await memory({ clock });
    store.recall = () => Promise.reject(new JobsError("STORE_UNAVAILABLE", "The store is busy."));
    const { attempt, told } = await setup(() => "never", { job: { epoch: 2 }, store: store });

    expect(await attempt.run()).toEqual({ kind: "interrupted" });
    expect([told.started, told.troubles]).toEqual([0, ["recalling steps"]]);
  });
});

describe("middleware", () => {
  test("sees the result and may change it", async () => {
    const outcome = await outcomeOf(() => 1, { middleware: [async (_job, _ctx, next) => [await next()]] });

    expect(outcome).toMatchObject({ output: "[1]" });
  });

  test("sees what the handler throws and may swallow it", async () => {
    const outcome = await outcomeOf(async () => Promise.reject(new Error("no luck")), {
      middleware: [(_job, _ctx, next) => next().catch(() => "saved")],
    });

    expect(outcome).toMatchObject({ kind: "succeeded", output: '"saved"' });
  });

  test("that throws at once fails the attempt", async () => {
    const outcome = await outcomeOf(() => "never", {
      middleware: [
        () => {
          throw new Error("no context");
        },
      ],
    });

    expect(outcome).toMatchObject({ kind: "failed", isRetryable: true, error: { message: "no context" } });
  });
});
