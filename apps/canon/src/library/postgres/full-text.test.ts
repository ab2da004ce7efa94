import { expect, test } from "vitest";
import { textOfWords, wordQueries } from "./full-text.js";

test("a text is its words, in lower case and without accents", () => {
  expect(textOfWords("Élan: and/or mail@vassen.example, 3d6+2 — Ἀρχή!")).toBe(
    "elan and or mail vassen example 3d6 2 αρχη",
  );
});

test("each word is a quoted query of its own, equals once", () => {
  expect(wordQueries(["elan", "élan", "3d6"])).toEqual(["'elan'", "'3d6'"]);
});

test.each([
  ["a lone accent", "\u0301"],
  ["a word too long for any index", "漢".repeat(700)],
])("%s is no query", (_, word) => {
  expect(wordQueries([word])).toEqual([]);
});
