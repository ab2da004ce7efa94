/** The headers that a request is judged by. */
import { expect, test } from "vitest";
import { fingerprintOf, idempotencyKeyOf, scopedKey } from "./idempotency.js";
import { isKnown, requireAcceptable, wantedStates } from "./negotiation.js";
import { appliedOf, preferencesOf } from "./prefer.js";
import { Problem } from "./problem.js";

test.each([
  { header: undefined, waitS: null, respondAsync: false },
  { header: "wait=10", waitS: 10, respondAsync: false },
  { header: 'respond-async, wait="7"', waitS: 7, respondAsync: true },
  { header: ["respond-async", "WAIT = 3; x=y"], waitS: 3, respondAsync: true },
  { header: "wait=100000", waitS: 60, respondAsync: false },
  { header: "wait=-1, wait=5", waitS: 5, respondAsync: false },
  { header: "wait=1e3, handling=lenient, =,;", waitS: null, respondAsync: false },
])("Prefer: $header", ({ header, ...preferences }) => {
  expect(preferencesOf(header)).toEqual(preferences);
});

test("what was followed is told", () => {
  expect(appliedOf({ waitS: 5, respondAsync: true }, true)).toBe("respond-async, wait=5");
  expect(appliedOf({ waitS: 5, respondAsync: true }, false)).toBe("wait=5");
  expect(appliedOf({ waitS: null, respondAsync: false }, true)).toBeNull();
});

test.each([
  { header: undefined, key: null },
  { header: '"abc"', key: "abc" },
  { header: "abc", key: "abc" },
  { header: '"a \\"b\\" c"', key: 'a "b" c' },
  { header: "8e03978e-40d5-43dd-bc93-6894a57f9324", key: "8e03978e-40d5-43dd-bc93-6894a57f9324" },
  { header: "x".repeat(255), key: "x".repeat(255) },
])("Idempotency-Key: $header", ({ header, key }) => {
  expect(idempotencyKeyOf(header)).toBe(key);
});

test.each(["", '""', '"abc', "x".repeat(256), "é", 'a"b'])("Idempotency-Key: %j is refused", (header) => {
  expect(() => idempotencyKeyOf(header)).toThrow(Problem);
});

test("a key is one caller's", () => {
  expect(scopedKey("a", "k")).not.toBe(scopedKey("b", "k"));
  expect(scopedKey("a", "k")).toBe(scopedKey("a", "k"));
  expect(scopedKey("a", "k").length).toBeLessThanOrEqual(255);
});

test("a fingerprint is of what a body says, not of how it is written", () => {
  expect(fingerprintOf("x", { a: 1, b: [1, { c: 2, d: 3 }] })).toBe(
    fingerprintOf("x", { b: [1, { d: 3, c: 2 }], a: 1 }),
  );
  expect(fingerprintOf("x", { a: 1 })).not.toBe(fingerprintOf("x", { a: "1" }));
  expect(fingerprintOf("x", { a: [1, 2] })).not.toBe(fingerprintOf("x", { a: [2, 1] }));
  expect(fingerprintOf("x", {})).not.toBe(fingerprintOf("y", {}));
});

test.each([
  undefined,
  "",
  "*/*",
  "application/*",
  "text/html, application/json;q=0.5",
  "APPLICATION/JSON; charset=utf-8",
])("Accept: %s accepts JSON", (accept) => expect(() => requireAcceptable(accept, ["application/json"])).not.toThrow());

test.each(["text/html", "application/json;q=0", "application/json;q=0, */*", "application/jsonx", ";;,,"])(
  "Accept: %s does not",
  (accept) => expect(() => requireAcceptable(accept, ["application/json"])).toThrow(Problem),
);

test("ETags are compared weakly for If-None-Match", () => {
  expect(isKnown('"a"', { "if-none-match": 'W/"a", "b"' })).toBe(true);
  expect(isKnown('"a"', { "if-none-match": "*" })).toBe(true);
  expect(isKnown('"a"', { "if-none-match": '"b"' })).toBe(false);
  expect(isKnown('"a"', {})).toBe(false);
});

test("If-Match: * and none at all mean whatever it is", () => {
  expect(wantedStates({})).toBeNull();
  expect(wantedStates({ "if-match": "*" })).toBeNull();
  expect(wantedStates({ "if-match": '"a", "b"' })).toEqual(['"a"', '"b"']);
});
