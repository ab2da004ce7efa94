/** What a text of a search means, what is wrong with one, and that a filter never hides what matches. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { failReasons, jobStates, statusOf, type JobRecord } from "./job.js";
import { newRecord } from "./moves.js";
import { compileQuery, needsTypes, parseQuery, printQuery, type Query, type Term } from "./search.js";
import { aNewJob, anError } from "./testing/builders.js";

const now = Date.UTC(2026, 10, 25, 12);
const hourMs = 3_600_000;

function aRecord(overrides: Partial<JobRecord> = {}): JobRecord {
  return { ...newRecord(aNewJob(), { state: "pending", createdAt: now, runAt: now }), ...overrides };
}

function parsed(text: string): Query {
  const answer = parseQuery(text);
  if (!answer.ok) throw new Error(answer.faults.map(({ message }) => message).join(" "));
  return answer.query;
}

function finds(text: string, job: Partial<JobRecord>): boolean {
  return compileQuery(parsed(text), { now, types: null }).accepts(aRecord(job));
}

const compiled = (text: string, types: readonly string[] | null = ["mail.send", "mail.check", "shop.order"]) =>
  compileQuery(parsed(text), { now, types });

// ── what it means ───────────────────────────────────────────────────────────

const reset = anError({ name: "TimeoutError", message: "Connection reset, by peer" });
const id = "0190a0e4-0000-7000-8000-00000000000a";

test.each<[text: string, job: Partial<JobRecord>, isFound: boolean]>([
  ["", {}, true],
  ["state:failed,retrying", { state: "retrying" }, true],
  ["state:failed,retrying", { state: "pending" }, false],
  ["status:pending", { state: "blocked" }, true],
  ["-status:pending", { state: "blocked" }, false],
  ["type:mail.*", { type: "mail.send" }, true],
  ["type:mail.*", { type: "Mail.send" }, false],
  ["type:mail.send", { type: "mail.send.now" }, false],
  ["type:a:b", { type: "a:b" }, true],
  ["reason:crashed", { state: "failed", failReason: "crashed" }, true],
  ["reason:crashed", { state: "cancelled", failReason: "crashed" }, false],
  ['error:"reset, by"', { state: "failed", error: reset }, true],
  ["error:timeouterror", { state: "retrying", error: reset }, true],
  ["error:reset", { state: "pending", error: reset }, false],
  ["attempt:>=3", { attempt: 3 }, true],
  ["attempt:>3", { attempt: 3 }, false],
  ["attempt:<2,4..6", { attempt: 5 }, true],
  ["priority:-5..-1", { priority: -5 }, true],
  ["version:<=2", { version: 3 }, false],
  ["worker:w1", { workerId: "w1" }, true],
  ["worker:w1", { workerId: null }, false],
  ["correlation.game:g1,g2", { correlation: { game: "g2" } }, true],
  ["correlation.toString:g1", { correlation: {} }, false],
  ['correlation."my game":"g 1"', { correlation: { "my game": "g 1" } }, true],
  ["since:24h", { createdAt: now - 24 * hourMs }, true],
  ["since:24h", { createdAt: now - 24 * hourMs - 1 }, false],
  ["-since:24h", { createdAt: now - 24 * hourMs - 1 }, true],
  ["until:30m", { createdAt: now - hourMs }, true],
  ["until:2026-11-24", { createdAt: Date.UTC(2026, 10, 24, 23, 59, 59, 999) }, true],
  ["until:2026-11-24", { createdAt: Date.UTC(2026, 10, 25) }, false],
  ["since:2026-11-25T10:00:00+02:00", { createdAt: Date.UTC(2026, 10, 25, 8) }, true],
  ["since:2026-11-25T08:00:00.001", { createdAt: Date.UTC(2026, 10, 25, 8) }, false],
  ["since:2026-11-23..2026-11-24", { createdAt: Date.UTC(2026, 10, 24, 12) }, true],
  ["since:2026-11-23..2026-11-24", { createdAt: now }, false],
  [id.toUpperCase(), { id }, true],
  [`-id:${id}`, { id }, false],
  ["mail", { type: "mail.send" }, true],
  ["MAIL*", { type: "mail.send" }, true],
  ["mail", { type: "e.mail" }, false],
  ["peer", { type: "e.mail", state: "failed", error: reset }, true],
  ['-"reset, by peer"', { state: "failed", error: reset }, false],
  ["type:mail.* -state:failed peer", { type: "mail.send", state: "failed", error: reset }, false],
])("%s: whether it finds %o is %s", (text, job, isFound) => {
  expect(finds(text, job)).toBe(isFound);
});

test.each([
  ["state:failed -status:processing", { states: ["failed"] }],
  ["type:mail.*,shop.later", { types: ["shop.later", "mail.send", "mail.check"] }],
  ["-type:mail.*", { types: ["shop.order"] }],
  ["type:mail.* -type:mail.send", { types: ["mail.check"] }],
  ["reason:crashed", { states: ["failed"], failReasons: ["crashed"] }],
  ["error:x", { states: ["retrying", "failed"] }],
  ["peer", { states: ["retrying", "failed"] }],
  ["mail", {}],
  ["correlation.a:1 correlation.b:2", { correlation: { a: "1", b: "2" } }],
  ["since:1h", { createdAfter: now - hourMs - 1 }],
  ["since:1h,2h until:2026-11-25T11:30Z", { createdAfter: now - 2 * hourMs - 1, createdBefore: now - hourMs / 2 + 1 }],
])("%s lets the store look for %o", (text, filter) => {
  expect(compiled(text).filter).toEqual(filter);
});

test.each([
  "state:failed state:pending",
  "type:news.*",
  "type:mail.send -type:mail.*",
  "reason:crashed state:pending",
  "correlation.a:1 correlation.a:2",
  "since:1h until:2h",
  `${id} id:another`,
])("%s can match nothing, and no store need be asked", (text) => {
  expect(compiled(text).canMatch).toBe(false);
});

test("ids are looked up by themselves", () => {
  expect(compiled(`id:${id},other ${id}`).ids).toEqual([id]);
  expect(compiled("state:failed").ids).toBeNull();
});

test("types are asked for only where they matter", () => {
  expect(["type:mail.*", "-type:mail.send", "mail"].map((text) => needsTypes(parsed(text)))).toEqual([
    true,
    true,
    true,
  ]);
  expect(["type:mail.send", id, "state:failed", "-mail"].map((text) => needsTypes(parsed(text)))).not.toContain(true);
});

test("as of an instant, what came or ended after it is not there", () => {
  const { accepts } = compileQuery(parsed(""), { now, types: null, isFrozen: true });

  expect(accepts(aRecord({ createdAt: now }))).toBe(true);
  expect(accepts(aRecord({ createdAt: now + 1 }))).toBe(false);
  expect(accepts(aRecord({ createdAt: now - 2, state: "completed", finishedAt: now + 1 }))).toBe(false);
  expect(accepts(aRecord({ createdAt: now - 2, state: "completed", finishedAt: now }))).toBe(true);
});

// ── what is wrong with it ───────────────────────────────────────────────────

test.each([
  ["type:mail stat:failed", 10, 4, "There is no key stat. Did you mean state? Keys: id, state,"],
  ["Correlation:x", 0, 11, "Did you mean correlation.<name>?"],
  ["http://host", 0, 4, "To look for a text with a colon, put it in quotes."],
  ["state:faild", 6, 5, "There is no state faild. Did you mean failed? It is one of scheduled,"],
  ["state:", 6, 0, "A value of state is missing here. Write state:failed"],
  ["state:failed,", 13, 0, "is missing here"],
  ["attempt:many", 8, 4, "Write attempt:3, attempt:>=3"],
  ["attempt:4..2", 8, 4, "the first is the greater one"],
  ["since:yesterday", 6, 9, "Write since:24h"],
  ["since:2026-02-30", 6, 10, "This is no time."],
  ["until:2026-01-01..2026-01-02", 6, 22, "since:A..B"],
  ['error:"reset', 6, 6, "This quote has no end."],
  ['error:a"b', 7, 1, "quote a value"],
  ["type:a!", 5, 2, "This is no name of a type."],
  ["- state:failed", 0, 1, "Nothing follows the minus."],
  ['error:""', 6, 2, "may not be empty"],
  [":x", 0, 1, "no key before this colon"],
])("%s has a fault at %i, %i long: %s", (text, position, length, message) => {
  const answer = parseQuery(text);

  expect(answer).toMatchObject({ ok: false, faults: [{ position, length }] });
  expect(!answer.ok && answer.faults[0]!.message).toContain(message);
});

test("every fault is told", () => {
  const answer = parseQuery("stat:failed type:a state:done -");

  expect(!answer.ok && answer.faults.map(({ position }) => position)).toEqual([0, 25, 30]);
});

test.each([
  ["characters", "x".repeat(2_001), 2_000],
  ["terms", "a ".repeat(51), 100],
  ["values", `state:${Array(101).fill("failed").join(",")}`, 706],
])("too many %s are a fault where they begin to be too many", (what, text, position) => {
  const answer = parseQuery(text);

  expect(answer).toMatchObject({ ok: false, faults: [{ position }] });
  expect(!answer.ok && answer.faults[0]!.message).toContain(what);
});

// ── for any text, and any query ─────────────────────────────────────────────

const pieces = fc.constantFrom("state:", "failed", "type:", "a.b*", '"', "\\", ",", "-", " ", "..", ">=", "3", "24h", "since:", "2026-11-24", "correlation.", "x", ":", "é", "\ud83d", "\0", "error:", "T10:00Z"); // prettier-ignore
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.array(pieces, { maxLength: 30 }).map((all) => all.join("")),
);

test("any text is understood, or has faults that lie within it", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const answer = parseQuery(text);
      if (answer.ok) {
        expect(parseQuery(printQuery(answer.query))).toEqual(answer);
        return;
      }
      expect(answer.faults.length).toBeGreaterThan(0);
      for (const { position, length } of answer.faults) {
        expect(position).toBeGreaterThanOrEqual(0);
        expect(length).toBeGreaterThanOrEqual(0);
        expect(position + length).toBeLessThanOrEqual(text.length);
      }
    }),
    { numRuns: 3_000 },
  );
});

const word = fc.string({ unit: "binary", minLength: 1, maxLength: 12 });
const someOf = <T>(values: fc.Arbitrary<T>) => fc.array(values, { minLength: 1, maxLength: 3 });
const day = 86_400_000;
const instantMs = fc.integer({ min: 0, max: 4_000_000_000_000 });
const time = fc.oneof(
  fc.integer({ min: 0, max: 900_000 }).map((s) => ({ kind: "ago" as const, ms: s * 1_000 })),
  instantMs.map((ms) => ({ kind: "at" as const, from: ms, before: ms + 1 })),
  fc.integer({ min: 0, max: 40_000 }).map((n) => ({ kind: "at" as const, from: n * day, before: (n + 1) * day })),
);
const stretch = fc
  .tuple(instantMs, fc.integer({ min: 1, max: 10 * day }))
  .map(([from, ms]) => ({ kind: "between" as const, from, before: from + ms }));
const numbers = fc.oneof(
  fc.integer({ min: -9, max: 9 }).map((n) => ({ from: n, to: n })),
  fc.integer({ min: -9, max: 9 }).map((n) => ({ from: n, to: null })),
  fc.integer({ min: -9, max: 9 }).map((n) => ({ from: null, to: n })),
  fc.tuple(fc.integer({ min: -9, max: 0 }), fc.integer({ min: 1, max: 9 })).map(([from, to]) => ({ from, to })),
);
const typeName = fc.constantFrom("mail.send", "mail.check", "shop.order", "a:b");
const term: fc.Arbitrary<Term> = fc
  .tuple(
    fc.boolean(),
    fc.oneof(
      fc.record({ key: fc.constant("text" as const), text: fc.oneof(word, fc.constantFrom("mail", "reset", id)) }),
      fc.record({ key: fc.constantFrom("error" as const, "worker" as const), values: someOf(fc.oneof(word, fc.constantFrom("reset", "w1"))) }), // prettier-ignore
      fc.record({ key: fc.constant("id" as const), values: someOf(fc.constantFrom(id, "other")) }),
      fc.record({ key: fc.constant("type" as const), values: someOf(fc.record({ name: fc.oneof(typeName, fc.constant("mail.")), isPrefix: fc.boolean() })) }), // prettier-ignore
      fc.record({ key: fc.constant("state" as const), values: someOf(fc.constantFrom(...jobStates)) }),
      fc.record({ key: fc.constant("status" as const), values: someOf(fc.constantFrom(...jobStates).map(statusOf)) }),
      fc.record({ key: fc.constant("reason" as const), values: someOf(fc.constantFrom(...failReasons)) }),
      fc.record({ key: fc.constantFrom("attempt" as const, "priority" as const, "version" as const), values: someOf(numbers) }), // prettier-ignore
      fc.record({ key: fc.constant("since" as const), values: someOf(fc.oneof(time, stretch)) }),
      fc.record({ key: fc.constant("until" as const), values: someOf(time) }),
      fc.record({ key: fc.constant("correlation" as const), name: fc.oneof(word, fc.constant("game")), values: someOf(fc.oneof(fc.string(), fc.constantFrom("g1", "g2"))) }), // prettier-ignore
    ),
  )
  .map(([isNegated, rest]) => ({ ...rest, isNegated }));
const query = fc.array(term, { maxLength: 4 }).map((terms) => ({ terms }));

const record = fc
  .record({
    id: fc.constantFrom(id, "other", "third"),
    type: typeName,
    state: fc.constantFrom(...jobStates),
    failReason: fc.option(fc.constantFrom(...failReasons)),
    error: fc.constantFrom(null, reset),
    attempt: fc.integer({ min: 0, max: 5 }),
    priority: fc.integer({ min: -5, max: 5 }),
    workerId: fc.constantFrom(null, "w1"),
    correlation: fc.constantFrom(null, { game: "g1" }, { game: "g2", x: "" }),
    createdAt: fc.oneof(instantMs, fc.integer({ min: now - 900_000_000, max: now })),
  })
  .map(aRecord);

test("what is printed is understood as the same query", () => {
  fc.assert(
    fc.property(query, (query) => {
      expect(parseQuery(printQuery(query))).toEqual({ ok: true, query });
    }),
    { numRuns: 3_000 },
  );
});

test("a filter lets through whatever matches, and a negated term finds what it would not", () => {
  const types = fc.constantFrom(null, ["mail.send", "mail.check", "shop.order", "a:b"]);
  fc.assert(
    fc.property(query, record, types, (query, job, types) => {
      const { canMatch, ids, filter, accepts } = compileQuery(query, { now, types });
      const each = query.terms.map((term) => {
        const one = compileQuery({ terms: [term] }, { now, types }).accepts(job);
        const not = compileQuery({ terms: [{ ...term, isNegated: !term.isNegated }] }, { now, types }).accepts(job);
        expect(not).toBe(!one);
        return one;
      });
      expect(accepts(job)).toBe(each.every(Boolean));
      if (!accepts(job)) return;
      expect(canMatch).toBe(true);
      expect(ids ?? [job.id]).toContain(job.id);
      expect(filter.types ?? [job.type]).toContain(job.type);
      expect(filter.states ?? [job.state]).toContain(job.state);
      expect(filter.failReasons ?? [job.failReason]).toContain(job.failReason);
      expect(job.correlation ?? {}).toMatchObject(filter.correlation ?? {});
      expect(job.createdAt).toBeGreaterThan(filter.createdAfter ?? -Infinity);
      expect(job.createdAt).toBeLessThan(filter.createdBefore ?? Infinity);
    }),
    { numRuns: 3_000 },
  );
});
