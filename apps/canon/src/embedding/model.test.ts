import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memory } from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { embeddingModel } from "./identity.js";
import { installedFiles, loadModel } from "./model.js";
import type { Model } from "./model.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel();
}, 30_000);
afterAll(() => model.dispose());

describe("vectors", () => {
  test("a vector has the declared dimensions and unit length", () => {
    const [vector] = model.embed(["The lich waits below the chapel."]);

    expect(vector).toHaveLength(embeddingModel.dimensions);
    expect(length(vector)).toBeCloseTo(1, 4);
  });

  test("similarity is the one measured for this model", () => {
    const [person, happier] = model.embed(["That is a happy person", "That is a very happy person"]);

    expect(cosine(person, happier)).toBeCloseTo(0.94, 2);
  });

  test("a paraphrase is nearer than an unrelated pair", () => {
    const [spell, cure, dragon, market] = model.embed([
      "A healing spell",
      "Magic that cures injuries",
      "A dragon",
      "The stock market",
    ]);

    expect(cosine(spell, cure)).toBeGreaterThan(0.5);
    expect(cosine(spell, cure)).toBeGreaterThan(cosine(dragon, market) + 0.3);
  });

  test("a text has the same vector alone and in a batch of texts of other lengths, in order", () => {
    const texts = ["A dragon.", "", "word ".repeat(40), "The queen of Vassen sleeps.", "x".repeat(300)];
    const nine = [...texts, ...texts.slice(0, 4)]; // more than one inner batch
    const batch = model.embed(nine);

    for (const [i, text] of nine.entries()) {
      expect(cosine(model.embed([text])[0], batch[i])).toBeCloseTo(1, 5);
    }
  });

  test("each vector has its own memory, so that sending one sends no other", () => {
    const [first, second] = model.embed(["one", "two"]);

    expect(first?.buffer.byteLength).toBe(embeddingModel.dimensions * 4);
    expect(first?.buffer).not.toBe(second?.buffer);
  });
});

describe("inputs", () => {
  test.each([
    ["empty", ""],
    ["blank", " \n\t"],
    ["of 900 words", "the dragon hoards gold ".repeat(225)],
    ["of a megabyte without a space", "a".repeat(1_000_000)],
    ["in another script", "昔々、あるところに"],
    ["of emoji", "🐉🔥👨‍👩‍👧"],
    ["with half a surrogate pair and a NUL", "\ud800 \0"],
  ])("a text %s has a vector of unit length", (_, text) => {
    expect(length(model.embed([text])[0])).toBeCloseTo(1, 4);
  });

  test("what follows the 256th token does not count", () => {
    const long = "the dragon hoards gold ".repeat(64);
    const [cut, longer] = model.embed([long, `${long} and the stock market fell`]);

    expect(cosine(cut, longer)).toBeCloseTo(1, 5);
  });

  test("no texts give no vectors", () => {
    expect(model.embed([])).toEqual([]);
  });
});

test("no tensor is left after a call", () => {
  const before = memory().numTensors;

  model.embed(["one", "two", "three"]);

  expect(memory().numTensors).toBe(before);
});

describe("verification", () => {
  test.each(["weights", "graph", "tokenizer"] as const)(
    "a changed %s file is refused, with the remedy",
    async (part) => {
      const folder = await mkdtemp(join(tmpdir(), "canon-model-"));
      const changed = join(folder, "changed");
      await writeFile(changed, "{}");

      const attempt = loadModel({ ...installedFiles(), [part]: changed });

      await expect(attempt).rejects.toMatchObject({
        code: "MODEL_UNUSABLE",
        message: expect.stringMatching(new RegExp(`${part} file is not the one tested.*npm ci`)) as string,
      });
      await rm(folder, { recursive: true });
    },
  );

  test("a missing file is refused, with its path and the remedy", async () => {
    const attempt = loadModel({ ...installedFiles(), weights: "/nowhere/weights.bin" });

    await expect(attempt).rejects.toMatchObject({
      code: "MODEL_UNUSABLE",
      message: expect.stringMatching(/\/nowhere\/weights\.bin.*npm ci/) as string,
    });
  });
});

function cosine(a: Float32Array | undefined, b: Float32Array | undefined): number {
  if (!a || !b) throw new Error("a vector is missing");
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? NaN), 0);
}

function length(vector: Float32Array | undefined): number {
  return Math.sqrt(cosine(vector, vector));
}
