/** What a stranger may send as JSON, and what is refused with its place. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { maxDepth, parseJson } from "./json.js";
import { Problem } from "./problem.js";

function faultOf(text: string): { pointer: string | undefined; detail: string } {
  try {
    parseJson(text);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    expect(error.code).toBe("malformed_json");
    const { pointer, detail } = error.errors![0]!;
    return { pointer, detail };
  }
  throw new Error(`${text} was taken`);
}

test.each([
  { text: "{", pointer: "", detail: /not JSON/ },
  { text: "", pointer: "", detail: /not JSON/ },
  { text: '{"a":1,"a":2}', pointer: "/a", detail: /twice/ },
  { text: '{"a":1,"\\u0061":2}', pointer: "/a", detail: /twice/ },
  { text: '{"a":[{"b":1},{"b":1,"c":{"d":1,"d":1}}]}', pointer: "/a/1/c/d", detail: /twice/ },
  { text: '{"a":{"__proto__":1}}', pointer: "/a/__proto__", detail: /not taken/ },
  { text: '{"a/b":{"~":1,"~":2}}', pointer: "/a~1b/~0", detail: /twice/ },
  { text: `${"[".repeat(maxDepth + 1)}${"]".repeat(maxDepth + 1)}`, pointer: "/0".repeat(maxDepth), detail: /levels/ },
  { text: `[${"1,".repeat(200_000)}1]`, pointer: "", detail: /values/ },
  { text: `${"[".repeat(500_000)}${"]".repeat(500_000)}`, pointer: "/0".repeat(maxDepth), detail: /levels/ },
])("$text is refused at $pointer", ({ text, pointer, detail }) => {
  const fault = faultOf(text);

  expect(fault.pointer).toBe(pointer);
  expect(fault.detail).toMatch(detail);
});

test("the same name in different objects is no fault", () => {
  expect(parseJson('[{"a":{"a":1}},{"a":2}]')).toEqual([{ a: { a: 1 } }, { a: 2 }]);
});

test("whatever JSON.stringify writes is read as it was", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 8 }), (text) => {
      // A name may be __proto__ by chance.
      fc.pre(!text.includes("__proto__"));
      expect(JSON.stringify(parseJson(text))).toBe(JSON.stringify(JSON.parse(text)));
    }),
  );
});

test("no text makes it throw anything but a problem", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[],:"\\ab1 '), maxLength: 60 }), (text) => {
      try {
        parseJson(text);
      } catch (error) {
        expect(error).toBeInstanceOf(Problem);
      }
    }),
    { numRuns: 3_000 },
  );
});
