/**
 * What is in the index, and what has left it.
 */
import { expect } from "vitest";
import type { TestCase } from "./index.js";
import { aVector, thenFail } from "./scene.js";

export function indexCases(test: TestCase): void {
  test("new chunks leave no trace of the former ones, and other objects and games as they are", async (scene) => {
    const elsewhere = scene.elsewhere();
    await elsewhere.add({ id: "castle", chunks: ["castle: a moat"] });
    await scene.add({ id: "castle", chunks: [{ text: "castle: a moat", vector: aVector(1) }, "castle: a tower"] });
    await scene.found({ vector: aVector(1) });

    await scene.makeSearchable({ id: "castle", chunks: [{ text: "castle: a garden", vector: aVector(2) }] });

    expect(await scene.found({ query: "moat" })).toEqual([]);
    expect(await scene.found({ query: "tower" })).toEqual([]);
    expect(await scene.found({ query: "garden" })).toEqual(["castle"]);
    expect((await scene.search({ query: "🏰", vector: aVector(1) }))[0]?.snippet).toBe("a garden");
    expect(await elsewhere.found({ query: "moat" })).toEqual(["castle"]);
  });

  test("no chunks means out of the index", async (scene) => {
    await scene.add({ id: "castle" });

    await scene.makeSearchable({ id: "castle", chunks: [] });

    expect(await scene.found({ vector: aVector(0) })).toEqual([]);
  });

  test("an object that has become restricted is out of the index at once, and comes back with its new text", async (scene) => {
    await scene.add({ id: "mole", name: "Mole", hash: "open", chunks: ["Mole: a spy", "Mole: has a cat"] });
    await scene.add({ id: "cat", name: "Cat" });

    await scene.imported(scene.anObject({ id: "mole", name: "Mole", hash: "secret", hasRestricted: true }));
    const hidden = await scene.found({ query: "mole spy", vector: aVector(0) });
    await scene.makeSearchable({ id: "mole", name: "Mole", hash: "secret", chunks: ["Mole: has a cat"] });

    expect(hidden).toEqual(["cat"]);
    expect(await scene.found({ query: "spy" })).toEqual([]);
    expect(await scene.found({ query: "mole", vector: aVector(0) })).toEqual(["mole", "cat"]);
  });

  test("an object that was taken out is embedded again, even with the text it had", async (scene) => {
    await scene.add({ id: "mole", hash: "open" });
    await scene.imported(scene.anObject({ id: "mole", hash: "secret", hasRestricted: true }));

    const importId = await scene.addImport();
    const saved = await scene.saveBatch(importId, [scene.anObject({ id: "mole", hash: "open" })]);

    expect(saved.toEmbed).toEqual(["mole"]);
  });

  test("a transaction that fails takes words and vectors back with it", async (scene) => {
    await scene.add({ id: "castle", chunks: ["castle: a moat"] });
    const other = { id: "castle", chunks: [{ text: "castle: a garden", vector: aVector(3) }] };

    await expect(scene.write((tx) => thenFail(scene.searchable(tx, other)))).rejects.toThrow("fails");

    expect(await scene.found({ query: "garden" })).toEqual([]);
    expect(await scene.found({ query: "moat" })).toEqual(["castle"]);
    expect((await scene.search({ query: "🏰", vector: aVector(3) }))[0]?.snippet).toBe("a moat");
  });

  test("a vector of another length is refused, and nothing is changed", async (scene) => {
    await scene.imported(scene.anObject({ id: "castle" }));
    const vector = new Float32Array(512).fill(0.1);

    await expect(scene.makeSearchable({ id: "castle", chunks: [{ text: "castle", vector }] })).rejects.toThrow();

    expect(await scene.found({ query: "castle" })).toEqual([]);
  });

  test("what was committed before a search is found by it, change after change", async (scene) => {
    await scene.add({ id: "moving" });
    for (let round = 1; round <= 5; round++) {
      await scene.add({ id: `o${round}`, chunks: [{ text: "x", vector: aVector(round) }] });
      await scene.makeSearchable({ id: "moving", chunks: [{ text: "x", vector: aVector(round + 50) }] });

      expect((await scene.found({ query: "🏰", vector: aVector(round) }))[0]).toBe(`o${round}`);
      expect((await scene.found({ query: "🏰", vector: aVector(round + 50) }))[0]).toBe("moving");
    }
  });

  test("what many put into the index at once is all found", async (scene) => {
    const ids = Array.from({ length: 40 }, (_, n) => `o${String(n).padStart(2, "0")}`);
    await scene.imported(...ids.map((id) => scene.anObject({ id })));
    const searching = ids.slice(0, 10).map(() => scene.found({ query: "🏰", vector: aVector(0), limit: 50 }));

    await Promise.all([...ids.map((id) => scene.makeSearchable({ id })), ...searching]);

    expect(await scene.found({ query: "🏰", vector: aVector(0), limit: 50 })).toEqual(ids);
  });
}
