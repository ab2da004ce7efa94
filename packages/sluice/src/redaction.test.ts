/** What of a job can be seen, and that nothing else can. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { defineJob } from "./definition.js";
import { toJob, type Job, type JobRecord } from "./job.js";
import { newRecord } from "./moves.js";
import { jsonSchemaOf, mask, maskOutput, maskPayload, scrub, secretsOf, viewOf } from "./redaction.js";
import { aNewJob, anError } from "./testing/builders.js";

const secret = <T extends z.ZodType>(schema: T): T => schema.meta({ sensitive: true });
const typed = (payload: StandardSchemaV1, more: { sensitive?: readonly string[]; result?: StandardSchemaV1 } = {}) =>
  defineJob({ type: "example", payload, ...more });
const seen = (schema: StandardSchemaV1, payload: unknown, sensitive?: readonly string[]) =>
  maskPayload(typed(schema, sensitive && { sensitive }), payload).payload;

/** A Standard Schema without a JSON Schema, as some libraries have. */
const opaque: StandardSchemaV1 = {
  "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) },
};

/** One with just this JSON Schema. */
function written(jsonSchema: object): StandardSchemaV1 {
  const convert = () => jsonSchema;
  return {
    "~standard": { ...opaque["~standard"], jsonSchema: { input: convert, output: convert } },
  } as StandardSchemaV1;
}

function aJob(overrides: Partial<JobRecord> & { readonly payload: string }): Job {
  return toJob({ ...newRecord(aNewJob(), { state: "pending", createdAt: 1, runAt: 1 }), ...overrides });
}

// ── payloads ────────────────────────────────────────────────────────────────

const user = z.object({ name: z.string(), email: secret(z.string()) });
const node = z.object({
  label: z.string(),
  pin: secret(z.string()),
  get children() {
    return z.array(node);
  },
});
const choice = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("card"), number: secret(z.string()) }),
  z.object({ kind: z.literal("bill"), address: z.string() }),
]);

test.each<[what: string, schema: StandardSchemaV1, payload: unknown, seen: unknown]>([
  ["a marked field", user, { name: "Ada", email: "a@b" }, { name: "Ada", email: mask }],
  ["an undeclared field", user, { name: "Ada", more: { x: [1, "y"] } }, { name: "Ada", more: { x: [mask, mask] } }],
  ["a field of a loose object", z.looseObject({ a: z.string() }), { a: "x", b: "y" }, { a: "x", b: mask }],
  ["a field of another type than declared", user, { name: { first: "Ada" } }, { name: { first: mask } }],
  ["an element of a list", z.array(user), [{ name: "Ada", email: "a@b" }], [{ name: "Ada", email: mask }]],
  ["a marked object, as a whole", z.object({ a: secret(user) }), { a: { name: "Ada" } }, { a: mask }],
  ["an empty one, too", z.object({ a: secret(z.array(z.string())) }), { a: [] }, { a: mask }],
  ["a marked payload", secret(z.string()), "x", mask],
  ["optional and nullable fields", z.object({ a: secret(z.string()).optional(), b: secret(z.string()).nullable(), c: z.string().nullable() }), { a: "x", b: "y", c: null }, { a: mask, b: mask, c: null }], // prettier-ignore
  ["a record", z.record(z.string(), z.number()), { "a@b": 1 }, { "a@b": 1 }],
  ["a record with secret names, as a whole", z.object({ r: z.record(secret(z.string()), z.number()) }), { r: { x: 1 } }, { r: mask }], // prettier-ignore
  ["a tuple", z.tuple([z.string(), secret(z.string())]).rest(z.number()), ["a", "b", 3], ["a", mask, 3]],
  ["a longer tuple", z.tuple([z.string()]), ["a", "b"], ["a", mask]],
  ["a recursive type", node, { label: "a", pin: "1", children: [{ label: "b", pin: "2", children: [] }] }, { label: "a", pin: mask, children: [{ label: "b", pin: mask, children: [] }] }], // prettier-ignore
  ["an intersection", z.intersection(z.object({ a: z.string() }), z.object({ b: secret(z.string()) })), { a: "x", b: "y" }, { a: "x", b: mask }], // prettier-ignore
  ["an alternative", choice, { kind: "card", number: "4111" }, { kind: "card", number: mask }],
  ["the other alternative", choice, { kind: "bill", address: "here" }, { kind: "bill", address: "here" }],
  ["a field of an alternative that is not the one", choice, { kind: "card", number: "4111", address: "here" }, { kind: "card", number: mask, address: mask }], // prettier-ignore
  ["a field that one of the alternatives marks", z.union([z.object({ v: secret(z.string()), a: z.string() }), z.object({ v: z.string() })]), { v: "x" }, { v: mask }], // prettier-ignore
  ["a mark before and after a transformation", z.object({ a: z.string().transform(Number).meta({ sensitive: true }), b: z.string().pipe(secret(z.string())) }), { a: "1", b: "2" }, { a: mask, b: mask }], // prettier-ignore
  ["a reference with a mark beside it", z.object({ a: secret(z.string().meta({ id: "named" })), b: z.string().meta({ id: "named2" }) }), { a: "x", b: "y" }, { a: mask, b: "y" }], // prettier-ignore
  ["anything", z.object({ a: z.any(), b: z.unknown() }), { a: "x", b: { c: 1 } }, { a: mask, b: { c: mask } }],
  ["a field that JSON Schema cannot describe", z.object({ a: z.bigint(), b: z.string() }), { a: 1, b: "x" }, { a: mask, b: "x" }], // prettier-ignore
  ["an undeclared name that is somebody's", z.object({}), { "a@b": 1, plain: 2 }, { [`${mask}1`]: mask, plain: mask }],
  ["a name of the language", z.object({ a: z.string() }), JSON.parse('{"a":"x","__proto__":{"b":"y"},"toString":"z"}'), JSON.parse(`{"a":"x","__proto__":{"b":"${mask}"},"toString":"${mask}"}`)], // prettier-ignore
])("%s", (_what, schema, payload, expected) => {
  expect(seen(schema, payload)).toEqual(expected);
});

test.each<[what: string, schema: object, payload: unknown, seen: unknown]>([
  ["a reference that leads nowhere", { $ref: "#/$defs/none" }, "x", mask],
  ["a reference to another document", { $ref: "https://example.org/s" }, "x", mask],
  ["a reference in a circle", { $ref: "#" }, "x", mask],
  ["an anchor", { $ref: "#name", type: "string" }, "x", mask],
  ["allOf", { allOf: [{ type: "string" }, { sensitive: true }] }, "x", mask],
  ["if and then", { type: "object", properties: { a: { type: "string" } }, then: { properties: { a: { sensitive: true } } } }, { a: "x" }, { a: mask }], // prettier-ignore
  ["patternProperties", { patternProperties: { "^s_": { type: "string", sensitive: true }, "^p_": { type: "string" } } }, { s_a: "x", p_a: "y", z: "z" }, { s_a: mask, p_a: "y", z: mask }], // prettier-ignore
  ["a pattern that is none", { patternProperties: { "(": { sensitive: true } }, additionalProperties: { type: "string" } }, { a: "x" }, { a: mask }], // prettier-ignore
  ["a tuple of old drafts", { items: [{ type: "string" }], additionalItems: { type: "number" } }, ["a", 1, "b"], ["a", 1, mask]], // prettier-ignore
  ["contains", { items: { type: "string" }, contains: { sensitive: true } }, ["a"], [mask]],
  ["constants and enumerations", { properties: { a: { const: 1 }, b: { enum: ["x"] } } }, { a: 1, b: "y" }, { a: 1, b: mask }], // prettier-ignore
  ["a mark that is no boolean", { type: "string", sensitive: "yes" }, "x", mask],
  ["a mark that says no", { type: "string", sensitive: false }, "x", "x"],
  ["a schema that allows anything", {}, { a: "x" }, { a: mask }],
])("a JSON Schema: %s", (_what, schema, payload, expected) => {
  expect(seen(written(schema), payload)).toEqual(expected);
});

test.each<[sensitive: readonly string[], payload: unknown, seen: unknown]>([
  [["/token"], { token: "x", name: "y" }, { token: mask, name: "y" }],
  [["/users/*/email"], { users: [{ email: "x", n: 1 }] }, { users: [{ email: mask, n: 1 }] }],
  [["/users/*/email"], { users: { ada: { email: "x" } } }, { users: { ada: { email: mask } } }],
  [["/users/*/email"], { users: "a@b" }, { users: mask }],
  [["/users/email"], { users: [{ email: "x" }] }, { users: mask }],
  [["/users/1"], { users: ["x", "y"] }, { users: ["x", mask] }],
  [["/a~1b/~0"], { "a/b": { "~": "x" } }, { "a/b": { "~": mask } }],
  [["/auth/token"], { auth: null }, { auth: null }],
  [[""], { a: "x" }, mask],
  [[], { a: "x" }, { a: "x" }],
])("without a JSON Schema, all is shown but %j", (sensitive, payload, expected) => {
  expect(seen(opaque, payload, sensitive)).toEqual(expected);
});

test("a list of sensitive places comes on top of the schema", () => {
  expect(seen(user, { name: "Ada", email: "a@b", more: 1 }, ["/name"])).toEqual({
    name: mask,
    email: mask,
    more: mask,
  });
});

test("nothing is shown where nothing is known", () => {
  expect(maskPayload(null, { a: [1, null], b: "x" })).toEqual({
    payload: { a: [mask, mask], b: mask },
    isMasked: true,
  });
  expect(seen(opaque, { a: "x" })).toEqual({ a: mask });
  expect(maskPayload(null, {})).toEqual({ payload: {}, isMasked: false });
});

test("what is shown as a whole is the payload itself", () => {
  const payload = { name: "Ada", numbers: [1, 2] };
  const answer = maskPayload(typed(z.object({ name: z.string(), numbers: z.array(z.number()) })), payload);

  expect(answer).toEqual({ payload, isMasked: false });
  expect(answer.payload).toBe(payload);
});

test("a long list keeps its length up to a hundred, and a deep value ends", () => {
  const { payload } = maskPayload(null, Array(1_000).fill("x"));
  expect(payload).toHaveLength(101);
  expect((payload as string[]).at(-1)).toBe("… 900 more");

  const deep = JSON.parse(`${"[".repeat(50_000)}"canary"${"]".repeat(50_000)}`) as unknown;
  expect(JSON.stringify(maskPayload(null, deep).payload)).toContain(mask);
  expect(scrub("a canary", secretsOf({ ...aJob({ payload: "{}" }), payload: deep }, null))).toBe(`a ${mask}`);
});

test("results are masked by the schema of results, and without one", () => {
  const result = z.object({ id: z.string(), key: secret(z.string()) });
  expect(maskOutput(typed(user, { result }), { id: "1", key: "k" }).output).toEqual({ id: "1", key: mask });
  expect(maskOutput(typed(user, { sensitive: [] }), { id: "1" }).output).toEqual({ id: mask });
  expect(maskOutput(null, undefined)).toEqual({ output: undefined, isMasked: false });
});

test("the JSON Schema of a definition is that of its input", () => {
  expect(jsonSchemaOf(typed(z.object({ a: z.string().transform(Number) })))).toMatchObject({ properties: { a: { type: "string" } } }); // prettier-ignore
  expect(jsonSchemaOf(typed(opaque))).toBeNull();
});

test.each([["token"], ["/a~2"], [1], ["/a/~"]])("a list of sensitive places may not have %j in it", (pointer) => {
  expect(() => typed(user, { sensitive: [pointer as string] })).toThrow(/JSON Pointers/);
});

// ── texts ───────────────────────────────────────────────────────────────────

test.each<[text: string, secrets: readonly (string | number)[], scrubbed: string]>([
  ["no user a@b.example", ["a@b.example"], `no user ${mask}`],
  ["tokens abcdef and abcd", ["abcd", "abcdef"], `tokens ${mask} and ${mask}`],
  ["xabcdefghx", ["abcdef", "defgh"], `x${mask}x`],
  ["abcdabcd", ["abcd"], `${mask}${mask}`],
  ["a cat", ["cat", 123], "a cat"],
  ["order 12345 of -1234.5", [1234, 12345, -1234.5], `order ${mask} of -${mask}`],
  ['{"a":"x\\"y\\nz"}', ['x"y\nz'], `{"a":"${mask}"}`],
  ['"{\\"a\\":\\"x\\\\\\"yz\\"}"', ['x"yz'], `"{\\"a\\":\\"${mask}\\"}"`],
  ["GET /?q=a%20b%26c&r=a+b%26c", ["a b&c"], `GET /?q=${mask}&r=${mask}`],
  ["half \ud83d of it", ["half \ud83d"], `${mask} of it`],
])("%j without %j", (text, secrets, scrubbed) => {
  expect(scrub(text, secrets)).toBe(scrubbed);
});

test("what is left of a secret at a cut goes, too", () => {
  const long = "s3cr3t".repeat(100);
  expect(scrub(`it was ${long.slice(0, 300)}… (700 characters)`, [long])).toBe(`it was ${mask}… (700 characters)`);
  expect(scrub(`${"it was ".repeat(40)}${long.slice(0, 9)}`, [long])).toBe(`${"it was ".repeat(40)}${mask}`);
});

test("a text is cut after it was scrubbed, at a whole character", () => {
  expect(scrub("ab secret", ["secret"], 5)).toBe("ab ••…");
  expect(scrub("ab\u{1F600}cd", [], 3)).toBe("ab…");
});

test("no secret is left of any text", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "é", '"'), maxLength: 40 });
  fc.assert(
    fc.property(letters, fc.array(letters, { maxLength: 8 }), (text, secrets) => {
      const scrubbed = scrub(text, secrets);
      for (const each of secrets.filter(({ length }) => length >= 4)) expect(scrubbed).not.toContain(each);
      if (!secrets.some((each) => each.length >= 4 && text.includes(each))) {
        const isEscaped = secrets.some((each) => /["é]/.test(each));
        if (!isEscaped) expect(scrubbed).toBe(text);
      }
    }),
    { numRuns: 3_000 },
  );
});

test("many secrets take no long time", () => {
  const secrets = Array.from({ length: 50_000 }, (_, n) => `aaaa${"a".repeat(n % 300)}${n}`);
  expect(scrub("a".repeat(8_000), secrets).length).toBeLessThanOrEqual(8_000);
});

// ── whole jobs ──────────────────────────────────────────────────────────────

test("a view keeps what may be seen, and the rest of the job", () => {
  const job = aJob({
    payload: '{"name":"Ada","email":"ada@b.example"}',
    state: "failed",
    finishedAt: 5,
    failReason: "exhausted",
    correlation: { user: "Ada", mail: "ada@b.example" },
    error: anError({ message: "no ada@b.example", stack: "at ada@b.example", issues: [{ path: "/x", message: "ada%40b.example" }] }), // prettier-ignore
  });

  expect(viewOf(job, typed(user))).toEqual({
    ...job,
    isMasked: true,
    payload: { name: "Ada", email: mask },
    correlation: { user: "Ada", mail: mask },
    error: { name: "Error", message: `no ${mask}`, stack: `at ${mask}`, issues: [{ path: "/x", message: mask }] },
  });
});

test("of a job of another version or type than the definition's, nothing is shown", () => {
  const job = aJob({ payload: '{"name":"Adah"}', version: 2 });

  expect(viewOf(job, typed(user)).payload).toEqual({ name: mask });
  expect(viewOf({ ...job, version: 1 }, typed(user)).payload).toEqual({ name: "Adah" });
  expect(viewOf({ ...job, version: 1, type: "other" }, typed(user)).payload).toEqual({ name: mask });
});

interface Grown {
  readonly schema: z.ZodType;
  readonly value: unknown;
}

const canaries = fc.constantFrom<string | number>("canary-7", 'ca"na\\ry/ü&\n7', "canary ".repeat(50), 70_007_000_7);
const grown = (canary: string | number) => {
  const leaf = z.union([z.string(), z.number()]);
  const { tree } = fc.letrec<{ tree: Grown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.constant<Grown>({ schema: z.string(), value: "plain" }),
      fc.constant<Grown>({ schema: secret(leaf), value: canary }),
      fc.constant<Grown>({ schema: secret(leaf).optional(), value: canary }),
      fc.constant<Grown>({ schema: z.any(), value: { deep: [canary] } }),
      tie("tree").map<Grown>(({ schema, value }) => ({ schema: z.array(schema), value: [value, value] })),
      tie("tree").map<Grown>(({ schema, value }) => ({ schema: z.record(z.string(), schema), value: { k: value } })),
      tie("tree").map<Grown>(({ value }) => ({ schema: secret(z.any()), value: { v: value, [String(canary)]: canary } })), // prettier-ignore
      fc.tuple(tie("tree"), tie("tree")).map<Grown>(([a, b]) => ({ schema: z.looseObject({ a: a.schema, b: b.schema }), value: { a: a.value, b: b.value, [String(canary)]: canary, c: canary } })), // prettier-ignore
      fc.tuple(tie("tree"), tie("tree")).map<Grown>(([a, b]) => ({ schema: z.union([z.object({ a: a.schema }), z.object({ b: b.schema })]), value: { b: b.value } })), // prettier-ignore
      fc.tuple(tie("tree"), tie("tree")).map<Grown>(([a, b]) => ({ schema: z.tuple([a.schema, b.schema]), value: [a.value, b.value] })), // prettier-ignore
    ),
  }));
  return tree.map(({ schema, value }) => ({
    canary,
    definition: typed(z.object({ tree: schema, key: secret(leaf) }), { result: z.object({ tree: schema }) }),
    payload: { tree: value, key: canary },
    output: { tree: value },
  }));
};

test("a canary that lies anywhere it should not be seen is in no view", () => {
  const places = fc.constantFrom<Partial<JobRecord>>(
    { state: "completed", finishedAt: 1 },
    { state: "failed", failReason: "exhausted" },
    { state: "retrying" },
    { state: "cancelled" },
    { state: "pending" },
  );
  fc.assert(
    fc.property(canaries.chain(grown), places, fc.constantFrom("known", "unknown", "list"), (scene, place, kind) => {
      const { canary, payload } = scene;
      const raw = String(canary);
      const text = `it was ${raw}, ${JSON.stringify(payload)}, ${encodeURIComponent(raw)}`;
      const job = aJob({
        ...place,
        payload: JSON.stringify(payload),
        output: JSON.stringify(scene.output),
        correlation: { key: raw, about: `of ${raw}` },
        cancelReason: text,
        error: anError({ name: raw, message: text, stack: `${text}\n at ${raw}`, issues: [{ path: `/${raw}`, message: text }] }), // prettier-ignore
        trace: { traceparent: raw, tracestate: text },
      });
      const definition = { known: scene.definition, unknown: null, list: typed(opaque, { sensitive: ["/key", "/tree"] }) }[kind]; // prettier-ignore

      const view = JSON.stringify(viewOf(job, definition));

      for (const form of [raw, JSON.stringify(raw).slice(1, -1), encodeURIComponent(raw)])
        expect(view).not.toContain(form);
    }),
    { numRuns: 500 },
  );
});
