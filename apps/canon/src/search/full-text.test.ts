import { describe, expect, test } from "vitest";
import { matchAnyWord, withinScope } from "./full-text.js";

describe("matchAnyWord", () => {
  test("words are quoted and joined by OR, each once, without fillers", () => {
    expect(matchAnyWord("Bring a dead person back to the DEAD")).toBe('"bring" OR "dead" OR "person" OR "back"');
  });

  test.each([
    [`"quoted`, '"quoted"'],
    ["fire*", '"fire"'],
    ["name:vassen", '"name" OR "vassen"'],
    ["NEAR(a b, 2)", '"near" OR "b" OR "2"'],
    ["x') ; drop table canon_chunks --", '"x" OR "drop" OR "table" OR "canon" OR "chunks"'],
  ])("the syntax in %j is only words", (typed, expected) => {
    expect(matchAnyWord(typed)).toBe(expected);
  });

  test("fillers are kept when there is nothing else", () => {
    expect(matchAnyWord("to be or not")).toBe('"to" OR "be" OR "or" OR "not"');
  });

  test.each(["", "  ", "🔥", '"*()', "\ud800\0"])("%j has no words", (typed) => {
    expect(matchAnyWord(typed)).toBeNull();
  });

  test("a pasted page becomes a bounded query", () => {
    const page = Array.from({ length: 5_000 }, (_, i) => `w${i}`).join(" ");

    expect(matchAnyWord(page)?.split(" OR ")).toHaveLength(48);
  });
});

test("withinScope asks for the scope and any of the words", () => {
  expect(withinScope("g6731", '"a" OR "b"')).toBe('{scope} : "g6731" AND {name text} : ("a" OR "b")');
});
