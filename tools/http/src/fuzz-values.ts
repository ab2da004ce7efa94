/**
 * Values for a fuzz run: such as a JSON Schema allows, such as it nearly allows, and hostile ones. Hostile texts carry a marker: an
 * answer that repeats it repeats what a stranger sent.
 */
import fc from "fast-check";
import type { JsonSchema } from "./document.js";

/** In the values that are sent; nothing that is answered may have it. */
export const marker = "zqCanary7";

export type Resolve = (schema: JsonSchema) => JsonSchema;

const texts = [
  "",
  " ",
  "\0",
  "a\0b",
  "\ud800",
  "\udfff\ud800",
  "\u202e\u0007\u001b[31m",
  "\ufeff",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "null",
  "NaN",
  "-1",
  "1e999",
  "9".repeat(400),
  "0x10",
  "1.5",
  "../../etc/passwd",
  "'; drop table jobs; --",
  "%",
  "_%\\",
  "${1}{{1}}",
  "<script>alert(1)</script>",
  "state:failed",
  "00000000-0000-0000-0000-000000000000",
  "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
  "0000-01-01T00:00:00Z",
  "9999-12-31T23:59:59.999Z",
  "0000-01-01T00:00:00+23:59",
  "9999-12-31T23:59:59-23:59",
  "2026-11-24T12:00:00.123456789123456789Z",
  "2026-02-30T00:00:00Z",
  "+275760-09-13T00:00:00.001Z",
];

export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...texts) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(...texts), fc.constantFrom(marker, ""), fc.constantFrom(...texts))
      .map(([before, middle, after]) => before + middle + after),
  },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 40 }).map((text) => marker + text) },
  { weight: 1, arbitrary: fc.integer({ min: 100, max: 20_000 }).map((length) => marker + "x".repeat(length)) },
);

const numbers = [0, -0, -1, 0.5, 1e-320, 2 ** 31, 2 ** 53, 2 ** 63, -(2 ** 63), 1e21, 1.7976931348623157e308, -1e308];

export const hostileJson: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.constantFrom<unknown>(...numbers, null, true, false, [], {}, [[]], [null]),
  fc.constantFrom(5, 40).map((depth) => {
    let value: unknown = marker;
    for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
    return value;
  }),
  fc.constant(JSON.parse(`{"__proto__":"${marker}"}`) as unknown),
  fc.constant({ constructor: { prototype: { polluted: marker } } }),
  fc.array(hostileText, { maxLength: 5 }),
  // Names may be repeated in an answer: they say where the fault is.
  fc.dictionary(
    hostileText.map((text) => text.replaceAll(marker, "name")),
    fc.constant(marker),
    { maxKeys: 4 },
  ),
  fc.jsonValue(),
);

/** What is said to be right for names that a schema alone cannot tell: ids of jobs that are there, types that are known. */
export type Known = (path: readonly string[]) => fc.Arbitrary<unknown> | undefined;

/** @param path The names that lead to it, for `known`. */
export function validFor(
  schema: JsonSchema,
  resolve: Resolve,
  known: Known,
  path: readonly string[] = [],
): fc.Arbitrary<unknown> {
  const own = known(path);
  if (own !== undefined) return own;
  const whole = resolve(schema);
  const of = (inner: unknown, ...name: string[]) => validFor(inner as JsonSchema, resolve, known, [...path, ...name]);
  const union = (whole["anyOf"] ?? whole["oneOf"]) as readonly JsonSchema[] | undefined;
  if (union !== undefined) return fc.oneof(...union.map((each) => of(each)));
  if ("const" in whole) return fc.constant(whole["const"]);
  if (Array.isArray(whole["enum"])) return fc.constantFrom<unknown>(...(whole["enum"] as unknown[]));
  const { type } = whole;
  if (Array.isArray(type)) return fc.oneof(...type.map((each: string) => of({ ...whole, type: each })));
  switch (type) {
    case "string":
      return validText(whole);
    case "integer":
    case "number":
      return validNumber(whole);
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array": {
      const { minItems = 0, maxItems = 4 } = whole as { minItems?: number; maxItems?: number };
      return fc.array(of(whole["items"] ?? {}, "*"), {
        minLength: minItems,
        maxLength: Math.min(maxItems, minItems + 3),
      });
    }
    case "object": {
      const { properties = {}, required = [] } = whole as {
        properties?: Record<string, JsonSchema>;
        required?: string[];
      };
      const names = Object.keys(properties);
      if (names.length === 0 && typeof whole["additionalProperties"] === "object") {
        const key = validText((whole["propertyNames"] ?? { minLength: 1, maxLength: 10 }) as JsonSchema);
        return fc
          .array(fc.tuple(key, of(whole["additionalProperties"], "*")), { maxLength: 3 })
          .map((entries) => Object.fromEntries(entries.filter(([name]) => name !== "__proto__")));
      }
      const shape = Object.fromEntries(names.map((name) => [name, of(properties[name], name)]));
      return fc.record(shape, { requiredKeys: names.filter((name) => required.includes(name)) });
    }
    default:
      return fc.oneof(fc.string({ maxLength: 10 }), fc.integer(), fc.constant(null), fc.record({ a: fc.boolean() }));
  }
}

function validText(schema: JsonSchema): fc.Arbitrary<string> {
  const {
    minLength = 0,
    maxLength = 30,
    pattern,
    format,
  } = schema as {
    minLength?: number;
    maxLength?: number;
    pattern?: string;
    format?: string;
  };
  if (format === "uuid") return fc.uuid({ version: 7 });
  if (format === "date-time") {
    return fc
      .date({ min: new Date("2020-01-01"), max: new Date("2035-01-01"), noInvalidDate: true })
      .map((date) => date.toISOString());
  }
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern));
  // Visible at both ends: texts may be trimmed before they are measured.
  const length = { minLength: Math.max(0, minLength - 1), maxLength: Math.min(maxLength, 30) - 1 };
  const text = fc.string({ ...length, unit: "grapheme" }).map((inner) => `v${inner}`.slice(0, maxLength).trimEnd());
  return minLength === 0 ? fc.oneof(fc.constant(""), text) : text;
}

function validNumber(schema: JsonSchema): fc.Arbitrary<number> {
  const { minimum, maximum, exclusiveMinimum, type } = schema as {
    minimum?: number;
    maximum?: number;
    exclusiveMinimum?: number;
    type: string;
  };
  const least = minimum ?? exclusiveMinimum ?? -1_000;
  const most = Math.max(maximum ?? least + 2_000, least);
  const whole = fc.integer({
    min: Math.ceil(exclusiveMinimum === undefined ? least : least + 1),
    max: Math.min(most, Number.MAX_SAFE_INTEGER),
  });
  if (type === "integer") return whole;
  return fc.oneof(
    whole,
    fc.double({ min: Math.max(least, least + 0.1), max: most, noNaN: true, noDefaultInfinity: true }),
  );
}

/** One thing in it is not as it was: dropped, of another kind, or one too many. */
export function spoilt(valid: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc
    .tuple(valid, fc.nat(), fc.constantFrom("drop", "replace", "add", "double"), hostileJson, hostileText)
    .map(([value, at, how, stranger, name]) => {
      const places: (readonly [Record<string, unknown>, string])[] = [];
      const copy = structuredClone(value);
      const walk = (inner: unknown) => {
        if (typeof inner !== "object" || inner === null) return;
        for (const key of Object.keys(inner)) {
          places.push([inner as Record<string, unknown>, key]);
          walk((inner as Record<string, unknown>)[key]);
        }
      };
      walk(copy);
      const place = places[at % Math.max(1, places.length)];
      if (place === undefined) return stranger;
      const [holder, key] = place;
      if (how === "drop") {
        if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else delete holder[key];
      } else if (how === "replace") setOwn(holder, key, stranger);
      else if (how === "add") setOwn(holder, name.replaceAll(marker, "name") || "x", stranger);
      else setOwn(holder, key, [holder[key], holder[key]]);
      return copy;
    });
}

/** `__proto__`, too, is a name of its own then. */
function setOwn(holder: object, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
}

/** JSON as bytes: as it should be, or in one of the ways in which it should not. */
export function bytesOf(value: fc.Arbitrary<unknown>): fc.Arbitrary<Uint8Array> {
  const ways: readonly ((text: string) => Uint8Array)[] = [
    (text) => Buffer.from(text),
    (text) => Buffer.from(text.slice(0, -1)),
    (text) => Buffer.from(`\ufeff${text}`),
    (text) => Buffer.from(text, "utf16le"),
    (text) => Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0xfe, 0xc0, 0x80])]),
    (text) => Buffer.from(`${text}${text}`),
    (text) => Buffer.from(text.replace(/:(-?\d+)/, ":1e999")),
    (text) => Buffer.from(text.replace(/:(-?\d+)/, ":-0.0000000000000000000000000000000001")),
    (text) => Buffer.from(text.replace("{", '{"a":1,"a":2,')),
    (text) => Buffer.from(text.replace(/"([^"]*)"/, '"\\ud800$1"')),
    (text) => Buffer.from(text.replace(/"([^"]*)"/, '"\\u0000$1"')),
    () => Buffer.from(`[${"[".repeat(5_000)}`),
    () => Buffer.from(`[${"1,".repeat(150_000)}1]`),
    () => Buffer.alloc(0),
  ];
  return fc.tuple(value, fc.constantFrom(...ways)).map(([inner, way]) => way(JSON.stringify(inner) ?? "null"));
}
