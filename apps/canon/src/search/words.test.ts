import { describe, expect, test } from "vitest";
import { tellingWords } from "./words.js";

describe("tellingWords", () => {
  test("each word once, in lower case, without fillers", () => {
    expect(tellingWords("Bring a dead person back to the DEAD")).toEqual(["bring", "dead", "person", "back"]);
  });

  test.each([
    [`"quoted`, ["quoted"]],
    ["fire*", ["fire"]],
    ["name:vassen", ["name", "vassen"]],
    ["NEAR(a b, 2)", ["near", "b", "2"]],
    ["x') ; drop table canon_chunks --", ["x", "drop", "table", "canon", "chunks"]],
    ["fire & !ice <-> 'x':*", ["fire", "ice", "x"]],
  ])("the syntax in %j is only words", (typed, expected) => {
    expect(tellingWords(typed)).toEqual(expected);
  });

  test("fillers are kept when there is nothing else", () => {
    expect(tellingWords("to be or not")).toEqual(["to", "be", "or", "not"]);
  });

  test.each(["", "  ", "🔥", '"*()', "\ud800\0"])("%j has no words", (typed) => {
    expect(tellingWords(typed)).toEqual([]);
  });

  test("a pasted page becomes a bounded query", () => {
    const page = Array.from({ length: 5_000 }, (_, i) => `w${i}`).join(" ");

    expect(tellingWords(page)).toHaveLength(48);
  });
});
