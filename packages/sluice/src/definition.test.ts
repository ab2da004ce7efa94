/** Definitions: what they infer, refuse, derive, and how they read what is stored. */
import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { fixed } from "./backoff.js";
import {
  defineJob,
  readPayload,
  toNewJob,
  type EnqueueOptions,
  type InputOf,
  type JobDefinition,
  type PayloadOf,
  type ResultOf,
} from "./definition.js";
import { JobsError } from "./errors.js";
import { handle } from "./processor.js";
import type { Queue } from "./queue.js";
import type { NewJob } from "./store.js";

const id = "01900000-0000-7000-8000-000000000001";

/** The job that would be stored. */
function stored<Input, Payload>(
  definition: JobDefinition<Input, Payload>,
  input: Input,
  options: EnqueueOptions = {},
): NewJob {
  const job = toNewJob(definition, input, options, id);
  if (job instanceof Promise) throw new TypeError("The schema of this test should be synchronous.");
  return job;
}

function refusal(act: () => unknown): JobsError {
  try {
    act();
  } catch (error) {
    if (error instanceof JobsError) return error;
    throw error;
  }
  throw new Error("It was not refused.");
}

describe("types", () => {
  const reembed = defineJob({
    type: "canon.reembed",
    payload: z.object({ entityId: z.string(), weight: z.coerce.number().default(1) }),
    result: z.object({ dimensions: z.number() }),
    correlation: (payload) => {
      expectTypeOf(payload).toEqualTypeOf<{ entityId: string; weight: number }>();
      return { entityId: payload.entityId };
    },
  });

  test("enqueue takes the input of the schema, the handler gets its output", () => {
    expectTypeOf<InputOf<typeof reembed>["entityId"]>().toEqualTypeOf<string>();
    expectTypeOf<{ entityId: string }>().toExtend<InputOf<typeof reembed>>();
    expectTypeOf<PayloadOf<typeof reembed>>().toEqualTypeOf<{ entityId: string; weight: number }>();
    expectTypeOf<ResultOf<typeof reembed>>().toEqualTypeOf<{ dimensions: number }>();
  });

  test("the handler must return the result of the definition", () => {
    handle(reembed, (job) => {
      expectTypeOf(job.payload).toEqualTypeOf<{ entityId: string; weight: number }>();
      return { dimensions: job.payload.weight };
    });
    // @ts-expect-error -- the result is an object
    handle(reembed, () => "384");
  });

  test("a wrong payload does not compile", () => {
    const _enqueue = (queue: Queue) => {
      // @ts-expect-error -- entityId is a string
      void queue.enqueue(reembed, { entityId: 7 });
      return queue.enqueue(reembed, { entityId: "e1" });
    };
    expectTypeOf<Awaited<ReturnType<typeof _enqueue>>["outcome"]>().toEqualTypeOf<
      "created" | "duplicate" | "replaced"
    >();
  });

  test("a definition without a result schema has an unknown result", () => {
    const _plain = defineJob({ type: "plain", payload: z.string() });

    expectTypeOf<ResultOf<typeof _plain>>().toEqualTypeOf<unknown>();
  });
});

describe("defineJob", () => {
  const payload = z.object({ n: z.number() });

  test("has sane defaults", () => {
    const definition = defineJob({ type: "plain", payload });

    expect(definition).toMatchObject({
      version: 1,
      timeoutMs: 600_000,
      priority: 0,
      unique: null,
      correlation: null,
      batch: null,
      maxCrashes: 5,
      retry: { attempts: 5 },
    });
  });

  test.each([
    ["no name", { type: "" }],
    ["a name with a space", { type: "re embed" }],
    ["a name too long for an index", { type: "x".repeat(101) }],
    ["a version of zero", { version: 0 }],
    ["a version that is no whole number", { version: 1.5 }],
    ["a timeout of zero", { timeoutMs: 0 }],
    ["a timeout that is no number", { timeoutMs: Number.NaN }],
    ["a priority beyond the range", { priority: 1_001 }],
    ["a priority that is no whole number", { priority: 0.5 }],
    ["unique by a correlation that it does not have", { unique: { by: "correlation" } }],
    ["unique for no time", { unique: { by: "payload", while: { periodMs: 0 } } }],
    ["an upcast from its own version", { version: 2, upcast: { 2: (old: unknown) => old } }],
    ["no crash allowed", { maxCrashes: 0 }],
    ["more crashes than anybody waits for", { maxCrashes: 101 }],
    ["a batch of none", { batch: { max: 0 } }],
    ["a batch beyond all reason", { batch: { max: 1_001 } }],
    ["half a job in a batch", { batch: { max: 2.5 } }],
    ["a batch that waits for more than it may have", { batch: { max: 5, min: 6, waitMs: 10 } }],
    ["a batch that waits for none", { batch: { max: 5, min: 0, waitMs: 10 } }],
    ["a batch that waits for company, but not how long", { batch: { max: 5, min: 2 } }],
    ["a batch that waits for ever", { batch: { max: 5, min: 2, waitMs: Infinity } }],
    ["a wait into the past", { batch: { max: 5, waitMs: -1 } }],
    ["a weight without a limit", { batch: { max: 5, weight: (): number => 1 } }],
    ["a limit without a weight", { batch: { max: 5, maxWeight: 1 } }],
    ["a batch that may weigh nothing", { batch: { max: 5, weight: (): number => 1, maxWeight: 0 } }],
    ["a gap between its upcasts", { version: 4, upcast: { 1: (old: unknown) => old, 3: (old: unknown) => old } }],
  ] as const)("refuses %s", (_what, options) => {
    const error = refusal(() => defineJob({ type: "example", payload, ...(options as object) }));

    expect(error.code).toBe("INVALID_DEFINITION");
  });

  test("gives a batch its defaults", () => {
    const definition = defineJob({ type: "example", payload, batch: { max: 20 } });

    expect(definition.batch).toEqual({ max: 20, min: 1, waitMs: 0, by: null, weighing: null });
  });

  test("refuses a retry policy without attempts", () => {
    const error = refusal(() => defineJob({ type: "example", payload, retry: { attempts: 0, delayMs: () => 0 } }));

    expect(error.code).toBe("INVALID_OPTIONS");
  });

  test("is content without upcasts from versions that are stored no more", () => {
    const definition = defineJob({ type: "example", payload, version: 3, upcast: { 2: (old: unknown) => old } });

    expect(definition.version).toBe(3);
  });
});

describe("a payload at enqueue", () => {
  const type = defineJob({
    type: "example",
    payload: z.object({ name: z.string(), tags: z.array(z.object({ "a/b": z.number() })).default([]) }),
  });

  test("is stored as the JSON that was given", () => {
    expect(stored(type, { name: "Ankheg" }).payload).toBe('{"name":"Ankheg"}');
  });

  test("that does not match is refused with a JSON Pointer and a reason for each issue", () => {
    const bad = { name: 7, tags: [{ "a/b": 1 }, { "a/b": "x" }] } as unknown as { name: string };

    const error = refusal(() => stored(type, bad));

    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.details["issues"]).toEqual([
      { path: "/name", message: expect.stringContaining("string") },
      { path: "/tags/1/a~1b", message: expect.stringContaining("number") },
    ]);
    expect(error.message).toContain("/tags/1/a~1b");
  });

  test("that is no object at all is refused at the root", () => {
    const error = refusal(() => stored(type, "Ankheg" as unknown as { name: string }));

    expect(error.details["issues"]).toEqual([{ path: "", message: expect.any(String) }]);
  });

  test("with a date is refused, because JSON would lose it", () => {
    const dated = defineJob({ type: "dated", payload: z.object({ at: z.date() }) });

    const error = refusal(() => stored(dated, { at: new Date(0) }));

    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.details["issues"]).toEqual([{ path: "/at", message: expect.any(String) }]);
  });

  test("whose schema makes a date of a string is taken", () => {
    const dated = defineJob({
      type: "dated",
      payload: z.object({ at: z.iso.datetime().transform((at) => new Date(at)) }),
    });

    expect(stored(dated, { at: "2026-01-01T00:00:00Z" }).payload).toBe('{"at":"2026-01-01T00:00:00Z"}');
  });

  test.each([
    ["undefined", undefined],
    ["a function", () => 1],
    ["a BigInt", { n: 1n }],
  ])("that is %s is refused, because JSON cannot hold it", (_what, value) => {
    const anything = defineJob({ type: "anything", payload: z.any() });

    expect(refusal(() => stored(anything, value)).code).toBe("INVALID_PAYLOAD");
  });

  test("that is circular is refused", () => {
    const anything = defineJob({ type: "anything", payload: z.any() });
    const circle: { self?: unknown } = {};
    circle.self = circle;

    expect(refusal(() => stored(anything, circle)).code).toBe("INVALID_PAYLOAD");
  });

  test("larger than a job row should hold is refused with its size, in bytes", () => {
    const text = defineJob({ type: "text", payload: z.string() });
    const fits = "é".repeat(524_287);

    expect(Buffer.byteLength(stored(text, fits).payload)).toBe(1_048_576);
    const error = refusal(() => stored(text, `${fits}é`));
    expect(error).toMatchObject({ code: "PAYLOAD_TOO_LARGE", details: { bytes: 1_048_578, maxBytes: 1_048_576 } });
  });

  test("may be checked by an asynchronous schema", async () => {
    const later = defineJob({ type: "later", payload: z.string().refine(async (name) => name !== "bad") });

    await expect(toNewJob(later, "good", {}, id)).resolves.toMatchObject({ payload: '"good"' });
    await expect(toNewJob(later, "bad", {}, id)).rejects.toMatchObject({ code: "INVALID_PAYLOAD" });
  });
});

describe("options at enqueue", () => {
  const type = defineJob({
    type: "example",
    payload: z.object({ n: z.number() }),
    retry: fixed({ attempts: 4 }),
    priority: 7,
  });

  test("default to those of the definition", () => {
    expect(stored(type, { n: 1 })).toMatchObject({ priority: 7, maxAttempts: 4, due: null, unique: null, version: 1 });
  });

  test("override those of the definition", () => {
    const job = stored(type, { n: 1 }, { priority: -1, maxAttempts: 1, delayMs: 1_500.4 });

    expect(job).toMatchObject({ priority: -1, maxAttempts: 1, due: { afterMs: 1_500 } });
  });

  test("take an instant", () => {
    expect(stored(type, { n: 1 }, { runAt: new Date(5_000) }).due).toEqual({ at: 5_000 });
  });

  test.each([
    ["both a delay and an instant", { delayMs: 1, runAt: new Date(0) }],
    ["a delay that is no number", { delayMs: Number.NaN }],
    ["a negative delay", { delayMs: -1 }],
    ["a delay of eleven years", { delayMs: 11 * 366 * 24 * 3_600_000 }],
    ["an instant that is none", { runAt: new Date("nonsense") }],
    ["an instant that is no Date", { runAt: 5_000 as unknown as Date }],
    ["a priority that is no whole number", { priority: 1.5 }],
    ["no attempts", { maxAttempts: 0 }],
    ["a correlation too long to index", { correlation: { entityId: "x".repeat(201) } }],
    ["half a character in a correlation", { correlation: { entityId: "\ud800" } }],
    ["half a character in a correlation's name", { correlation: { "\ud83d": "\ude00" } }],
    ["a correlation that is no string", { correlation: { entityId: 7 as unknown as string } }],
    ["an empty idempotency key", { idempotency: { key: "" } }],
    ["an idempotency key that is too long", { idempotency: { key: "k".repeat(256) } }],
    ["an idempotency key with a control character", { idempotency: { key: "a\u0000b" } }],
    ["an idempotency key that is no string", { idempotency: { key: 7 as unknown as string } }],
    ["an empty fingerprint", { idempotency: { key: "k", fingerprint: "" } }],
    ["a fingerprint that is too long", { idempotency: { key: "k", fingerprint: "f".repeat(256) } }],
    ["an idempotency period of zero", { idempotency: { key: "k", periodMs: 0 } }],
    ["an idempotency period that is no number", { idempotency: { key: "k", periodMs: Number.NaN } }],
    ["an idempotency period of more than 90 days", { idempotency: { key: "k", periodMs: 90 * 86_400_000 + 1 } }],
  ])("with %s are refused", (_what, options) => {
    expect(refusal(() => stored(type, { n: 1 }, options)).code).toBe("INVALID_OPTIONS");
  });
});

describe("an idempotency key", () => {
  const payload = z.object({ a: z.number(), b: z.object({ c: z.number(), d: z.number() }) });
  const type = defineJob({ type: "example", payload });
  const input = { a: 1, b: { c: 2, d: 3 } };
  const fingerprintOf = (...[definition, value, idempotency]: [typeof type, typeof input, { fingerprint?: string }?]) =>
    stored(definition, value, { idempotency: { key: "k", ...idempotency } }).idempotency?.fingerprint;

  test("is remembered for a day, unless its caller says otherwise, for 90 at most", () => {
    const longest = { key: "k".repeat(255), periodMs: 90 * 86_400_000 };

    expect(stored(type, input).idempotency).toBeNull();
    expect(stored(type, input, { idempotency: { key: "k" } }).idempotency).toMatchObject({ periodMs: 86_400_000 });
    expect(stored(type, input, { idempotency: longest }).idempotency).toMatchObject(longest);
  });

  test("has the same fingerprint for a payload with its keys in another order, at any depth", () => {
    expect(fingerprintOf(type, { b: { d: 3, c: 2 }, a: 1 })).toBe(fingerprintOf(type, input));
  });

  test("has another fingerprint for another payload, type or version", () => {
    const others = [
      fingerprintOf(type, { ...input, a: 2 }),
      fingerprintOf(defineJob({ type: "other", payload }), input),
      fingerprintOf(defineJob({ type: "example", payload, version: 2 }), input),
    ];

    expect(new Set([fingerprintOf(type, input), ...others]).size).toBe(4);
  });

  test("has the fingerprint that its caller gives, whatever the payload", () => {
    expect(fingerprintOf(type, { ...input, a: 2 }, { fingerprint: "mine" })).toBe("mine");
  });

  test("of many payloads has the number of each behind it, however long it is", () => {
    const keys = [0, 1].map((nth) => {
      const job = toNewJob(type, input, { idempotency: { key: "k".repeat(255) }, nth }, id);
      return (job as NewJob).idempotency?.key;
    });

    expect(keys).toEqual([`${"k".repeat(255)}/0`, `${"k".repeat(255)}/1`]);
  });
});

describe("unique keys", () => {
  const byEntity = defineJob({
    type: "example",
    payload: z.object({ entityId: z.string(), campaignId: z.string() }),
    correlation: ({ entityId, campaignId }) => ({ entityId, campaignId }),
  });

  test("are made of the correlation, by default, and guard while the first job is active", () => {
    const job = stored(byEntity, { entityId: "e1", campaignId: "c1" });

    expect(job.correlation).toEqual({ entityId: "e1", campaignId: "c1" });
    expect(job.unique).toEqual({
      key: 'example {"campaignId":"c1","entityId":"e1"}',
      holdWhile: "active",
      periodMs: null,
      onConflict: "keep",
    });
  });

  test("are the same for a correlation with its keys in another order", () => {
    const turned = defineJob({
      ...{ type: "example", payload: z.object({ entityId: z.string(), campaignId: z.string() }) },
      correlation: ({ entityId, campaignId }) => ({ campaignId, entityId }),
    });
    const payload = { entityId: "e1", campaignId: "c1" };

    expect(stored(turned, payload).unique?.key).toBe(stored(byEntity, payload).unique?.key);
  });

  test("are the same for a payload with its keys in another order, at any depth", () => {
    const type = defineJob({ type: "example", payload: z.any(), unique: { by: "payload" } });

    const keys = [
      { a: 1, b: { c: [{ d: 1, e: 2 }], f: null } },
      { b: { f: null, c: [{ e: 2, d: 1 }] }, a: 1 },
    ].map((payload) => stored(type, payload).unique?.key);

    expect(keys[0]).toBe(keys[1]);
  });

  test("differ for lists in another order", () => {
    const type = defineJob({ type: "example", payload: z.array(z.number()), unique: { by: "payload" } });

    expect(stored(type, [1, 2]).unique?.key).not.toBe(stored(type, [2, 1]).unique?.key);
  });

  test("differ between types", () => {
    const other = defineJob({
      type: "other",
      payload: z.object({ entityId: z.string(), campaignId: z.string() }),
      correlation: ({ entityId, campaignId }) => ({ entityId, campaignId }),
    });
    const payload = { entityId: "e1", campaignId: "c1" };

    expect(stored(other, payload).unique?.key).not.toBe(stored(byEntity, payload).unique?.key);
  });

  test("by payload differ for payloads whose schema makes something of them that JSON cannot tell apart", () => {
    const type = defineJob({
      type: "example",
      payload: z.array(z.string()).transform((tags) => new Set(tags)),
      unique: { by: "payload" },
    });

    expect(stored(type, ["a"]).unique?.key).not.toBe(stored(type, ["b"]).unique?.key);
  });

  test("may be a string of one's own", () => {
    const type = defineJob({ type: "example", payload: z.string(), unique: { by: (name) => name.toLowerCase() } });

    expect(stored(type, "Ankheg").unique?.key).toBe("example ankheg");
  });

  test("that would bloat the index are hashed, still one per subject", () => {
    const type = defineJob({ type: "example", payload: z.string(), unique: { by: (name) => name } });

    const [first, again, other] = ["a", "a", "b"].map((last) => stored(type, "x".repeat(500) + last).unique!.key);

    expect(first).toBe(again);
    expect(first).not.toBe(other);
    expect(first!.length).toBeLessThan(60);
  });

  test("hold for a period when asked to", () => {
    const type = defineJob({
      type: "example",
      payload: z.string(),
      unique: { by: "payload", while: { periodMs: 5_000 }, onConflict: "replace" },
    });

    expect(stored(type, "x").unique).toMatchObject({ holdWhile: "period", periodMs: 5_000, onConflict: "replace" });
  });

  test("are not made for a type that says it is not unique", () => {
    const type = defineJob({
      type: "example",
      payload: z.object({ entityId: z.string() }),
      correlation: ({ entityId }) => ({ entityId }),
      unique: false,
    });

    const job = stored(type, { entityId: "e1" });

    expect([job.unique, job.correlation]).toEqual([null, { entityId: "e1" }]);
  });

  test("take what enqueue adds to the correlation into account", () => {
    const payload = { entityId: "e1", campaignId: "c1" };

    const plain = stored(byEntity, payload);
    const added = stored(byEntity, payload, { correlation: { sessionId: "s1" } });

    expect(added.correlation).toEqual({ entityId: "e1", campaignId: "c1", sessionId: "s1" });
    expect(added.unique?.key).not.toBe(plain.unique?.key);
  });
});

describe("a stored payload", () => {
  const type = defineJob({
    type: "example",
    payload: z.object({ fullName: z.string() }),
    version: 3,
    upcast: {
      1: (old: { name: string }) => ({ title: old.name }),
      2: (old: { title: string }) => ({ fullName: `${old.title} the Great` }),
    },
  });

  test("of an older version is brought up step by step", () => {
    expect(readPayload(type, { version: 1, payload: '{"name":"Ankheg"}' })).toEqual({
      ok: true,
      value: { fullName: "Ankheg the Great" },
    });
  });

  test("of a version in between starts there", () => {
    expect(readPayload(type, { version: 2, payload: '{"title":"Ankheg"}' })).toMatchObject({
      value: { fullName: "Ankheg the Great" },
    });
  });

  test("of today's version is only checked", () => {
    expect(readPayload(type, { version: 3, payload: '{"fullName":7}' })).toEqual({
      ok: false,
      issues: [{ path: "/fullName", message: expect.any(String) }],
    });
  });

  test("that is not JSON is an issue, not a throw", () => {
    expect(readPayload(type, { version: 3, payload: "{" })).toMatchObject({ ok: false });
  });

  test("whose upcast throws is an issue that says which", () => {
    const result = readPayload(type, { version: 1, payload: "null" });

    expect(result).toMatchObject({ ok: false, issues: [{ message: expect.stringContaining("version 1") }] });
  });
});
