import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunkText, eachChunk, estimateTokens } from "./chunks.js";

const anyText = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 3_000 }),
  fc.string({ unit: "binary", maxLength: 3_000 }),
  fc.array(fc.lorem({ mode: "sentences" }), { maxLength: 30 }).map((sentences) => sentences.join("\n")),
  fc
    .array(fc.constantFrom("昔々、", "あるところ", "。", "dragon ", "\n", "🐉", "\0", "x".repeat(400)), {
      maxLength: 200,
    })
    .map((parts) => parts.join("")),
);
const visible = (text: string) => text.replace(/[\s\p{Cc}]+/gu, "");

describe("any text", () => {
  test("every chunk begins with the name, is not blank and keeps the budget", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 20, max: 200 }), (text, maxTokens) => {
        for (const chunk of chunkText(text, { title: "Vassen", maxTokens })) {
          expect(chunk.startsWith("Vassen")).toBe(true);
          expect(estimateTokens(chunk)).toBeLessThanOrEqual(maxTokens);
        }
      }),
    );
  });

  test("no text is lost, doubled or reordered", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 200 }), (text, maxTokens) => {
        const chunks = chunkText(text, { title: "", maxTokens });

        expect(visible(chunks.join(""))).toBe(visible(text));
        expect(chunks.every((chunk) => chunk.trim() !== "")).toBe(true);
      }),
    );
  });

  test("the same text gives the same chunks, in one go or one by one", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect([...eachChunk(text, { title: "Vassen" })]).toEqual(chunkText(text, { title: "Vassen" }));
      }),
    );
  });
});

describe("boundaries", () => {
  test("whole sentences share a chunk while they fit", () => {
    const chunks = chunkText("One two three. Four five six. Seven eight nine.", { title: "N", maxTokens: 12 });

    expect(chunks).toEqual(["N: One two three. Four five six.", "N: Seven eight nine."]);
  });

  test("a sentence longer than a chunk is cut between words", () => {
    const words = Array.from({ length: 50 }, (_, i) => `word${i}`);
    const chunks = chunkText(words.join(" "), { title: "N", maxTokens: 20 });

    expect(chunks.length).toBeGreaterThan(2);
    expect(chunks.flatMap((chunk) => chunk.replace("N: ", "").split(" "))).toEqual(words);
  });

  test("a script without spaces is cut between words, where the segmenter knows them", () => {
    const chunks = chunkText("むかしむかしあるところに".repeat(20), { title: "N", maxTokens: 24 });

    expect(chunks.length).toBeGreaterThan(5);
    expect(Math.max(...chunks.map((chunk) => chunk.length))).toBeLessThanOrEqual(24 + 3);
  });

  test("no character is cut in half", () => {
    const chunks = chunkText("🐉".repeat(500), { title: "N", maxTokens: 21 });

    expect(chunks.join("")).not.toMatch(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/);
  });
});

describe("names", () => {
  test("a blank text gives the name alone", () => {
    expect(chunkText(" \n", { title: " Vassen  the\nOld " })).toEqual(["Vassen the Old"]);
  });

  test("a blank text without a name gives no chunk", () => {
    expect(chunkText("", { title: " " })).toEqual([]);
  });

  test("an endless name is cut and leaves half of the chunk to the text", () => {
    const [chunk] = chunkText("The text. ".repeat(100), { title: "name ".repeat(1_000) });

    expect(chunk).toMatch(/^(name ){19}name: The text/);
    expect(chunk?.match(/The text/g)?.length).toBeGreaterThan(10);
  });
});

test("the caller's own token count is used", () => {
  const chunks = chunkText("a b c d e f", {
    title: "N",
    maxTokens: 4,
    countTokens: (text) => text.split(/\S+/).length - 1,
  });

  expect(chunks).toEqual(["N: a b c", "N: d e f"]);
});

test("a megabyte is cut step by step, no step reading it all again", () => {
  const text = "The old king of Vassen walked into the hall. ".repeat(23_000);
  let charactersCounted = 0;
  const countTokens = (part: string) => {
    charactersCounted += part.length;
    return estimateTokens(part);
  };

  const chunks = chunkText(text, { title: "Vassen", countTokens });

  expect(chunks.length).toBeGreaterThan(3_000);
  expect(charactersCounted).toBeLessThan(text.length * 3);
});
