/**
 * What a search finds, in which order, and what it never shows.
 */
import fc from "fast-check";
import { expect } from "vitest";
import type { TestCase } from "./index.js";
import { aVector, vectorBetween } from "./scene.js";

export function searchCases(test: TestCase): void {
  anyQuery(test);
  words(test);
  hits(test);
  boundaries(test);
}

function anyQuery(test: TestCase): void {
  test("whatever is typed, the search answers", async (scene) => {
    await scene.add({ id: "castle", chunks: ["castle: NEAR the river"] });
    const syntax = "\" * NEAR( AND OR NOT name: ^ - + { } ) castle 🔥 \0 ' ; \u0301 & | ! <-> :* \\ the".split(" ");
    const typed = fc.oneof(
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.array(fc.constantFrom(...syntax)).map((parts) => parts.join(" ")),
      fc.constantFrom("x".repeat(1_000), "漢".repeat(1_000), "é".repeat(1_000), "castle ".repeat(140)),
    );

    const audience = fc.constantFrom<"gm" | "player">("gm", "player");
    await fc.assert(
      fc.asyncProperty(typed, audience, async (query, as) => {
        expect((await scene.search({ query, as })).length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 150 },
    );
  });

  test("a blank query finds nothing, even with a vector", async (scene) => {
    await scene.add({ id: "castle" });

    expect(await scene.found({ query: "", vector: aVector(0) })).toEqual([]);
    expect(await scene.found({ query: " \n ", vector: aVector(0) })).toEqual([]);
  });

  test("an emoji is searched by its vector alone", async (scene) => {
    await scene.add({ id: "castle" });

    expect(await scene.found({ query: "🏰", vector: aVector(0) })).toEqual(["castle"]);
  });

  test("fillers alone find nothing that does not have them", async (scene) => {
    await scene.add({ id: "castle" });

    expect(await scene.found({ query: "to be or not to be" })).toEqual([]);
  });
}

function words(test: TestCase): void {
  test("words match by their stem and without accents", async (scene) => {
    await scene.add({ id: "spell", chunks: ["spell: it heals the wounded of Élan"] });

    expect(await scene.found({ query: "healing" })).toEqual(["spell"]);
    expect(await scene.found({ query: "elan" })).toEqual(["spell"]);
    expect(await scene.found({ query: "e\u0301lan" })).toEqual(["spell"]);
  });

  test("punctuation is between words, never in them", async (scene) => {
    const text = "x: and/or fire/ice, mail@vassen.example, 3d6+2 half-elf vassen's http://guild.example/path";
    await scene.add({ id: "x", chunks: [text] });

    for (const query of ["ice", "vassen", "3d6", "elf", "guild", "path", "fire/ice", "half-elf"]) {
      expect(await scene.found({ query })).toEqual(["x"]);
    }
  });

  test("words of other scripts match", async (scene) => {
    await scene.add({ id: "a", chunks: ["Дракон: спит под горой"] });
    await scene.add({ id: "b", chunks: ["Ω: ἀρχή τοῦ λόγου"] });

    expect(await scene.found({ query: "ГОРОЙ" })).toEqual(["a"]);
    expect(await scene.found({ query: "ΛΌΓΟΥ" })).toEqual(["b"]);
  });

  test("the object of exactly that name comes first, whatever its text", async (scene) => {
    const near = { text: "Delayed Blast Fireball: fireball, fireball", vector: aVector(0) };
    await scene.add({ id: "a", name: "Delayed Blast Fireball", chunks: [near] });
    const streak = { text: "Fireball: a streak", vector: vectorBetween(0, 1) };
    await scene.add({ id: "b", name: "Fireball", chunks: [streak] });

    expect(await scene.found({ query: " fireball", vector: aVector(0) })).toEqual(["b", "a"]);
  });

  test("the object of that name comes before objects that mention it", async (scene) => {
    await scene.add({ id: "b", name: "River", chunks: ["River: Vassen, Vassen and again Vassen lies there"] });
    await scene.add({
      id: "a",
      name: "Vassen",
      chunks: ["Vassen: a town of many words, none of them telling where"],
    });

    expect(await scene.found({ query: "vassen" })).toEqual(["a", "b"]);
  });

  test("a rare word tells more than a common one", async (scene) => {
    for (let n = 0; n < 12; n++) await scene.add({ id: `common${n}`, chunks: ["x: the king walks to the gate"] });
    await scene.add({ id: "rare", chunks: ["x: the dragon sleeps under the hill"] });

    expect((await scene.found({ query: "king dragon" }))[0]).toBe("rare");
  });
}

function hits(test: TestCase): void {
  test("a hit has the object's kind and present name, and the chunk without the name in front", async (scene) => {
    const town = { id: "o1", kind: "town", hash: "same", chunks: ["Vassen: a town by the sea"] };
    await scene.add({ ...town, name: "Vassen" });
    await scene.imported(scene.anObject({ ...town, name: "Old Vassen" }));

    const found = await scene.search({ query: "sea", vector: aVector(0) });

    expect(found).toEqual([
      { id: "o1", kind: "town", name: "Old Vassen", score: 2 / 61, snippet: "a town by the sea" },
    ]);
  });

  test("an object is found once, by its best chunk", async (scene) => {
    const chunks = ["Vassen: the market square", "Vassen: the dragon below the dragon gate", "Vassen: a dragon"];
    await scene.add({ id: "o1", name: "Vassen", chunks });

    const found = await scene.search({ query: "dragon gate" });

    expect(found.map((hit) => hit.snippet)).toEqual(["the dragon below the dragon gate"]);
  });

  test("an object is found by its nearest chunk, the first of equals", async (scene) => {
    const chunks = [1, 0, 0].map((axis, n) => ({ text: `x: chunk ${n}`, vector: aVector(axis) }));
    await scene.add({ id: "x", chunks });

    expect((await scene.search({ query: "🏰", vector: aVector(0) }))[0]?.snippet).toBe("chunk 1");
  });

  test("an object of very many chunks does not crowd the others out", async (scene) => {
    await scene.add({ id: "long", chunks: new Array<string>(500).fill("castle, castle") });
    await scene.add({ id: "short", chunks: [{ text: "castle", vector: vectorBetween(0, 1) }] });

    expect(await scene.found({ query: "castle" })).toContain("short");
    expect(await scene.found({ query: "🏰", vector: aVector(0) })).toEqual(["long", "short"]);
  });

  test("a long snippet ends between words", async (scene) => {
    await scene.add({ id: "castle", chunks: [`castle: ${"tower ".repeat(100)}`] });

    const [hit] = await scene.search({ query: "tower" });

    expect(hit?.snippet).toMatch(/^(tower )*tower…$/);
    expect(hit?.snippet.length).toBeLessThanOrEqual(241);
  });

  test("equals are ordered by id, the limit is kept, and nonsense limits are corrected", async (scene) => {
    for (const id of ["b", "B", "a", "ä", "c"]) await scene.add({ id, name: "castle" });

    expect(await scene.found({ limit: 3 })).toEqual(["B", "a", "b"]);
    expect(await scene.found({ limit: 0 })).toHaveLength(1);
    expect(await scene.found({ limit: 1e9 })).toHaveLength(5);
    expect(await scene.found({ query: "🏰", vector: aVector(0) })).toEqual(["B", "a", "b", "c", "ä"]);
  });
}

function boundaries(test: TestCase): void {
  test("another game's objects are not found, by words or by vector", async (scene) => {
    await scene.elsewhere().add({ id: "castle" });

    expect(await scene.found({ vector: aVector(0) })).toEqual([]);
  });

  test("vectors of another model are not compared; their words still count", async (scene) => {
    await scene.add({ id: "castle", model: "older@1" });

    expect(await scene.found({ query: "🏰", vector: aVector(0) })).toEqual([]);
    expect(await scene.found({ query: "🏰", vector: aVector(0), model: "older@1" })).toEqual(["castle"]);
    expect(await scene.found({ query: "castle" })).toEqual(["castle"]);
  });

  test("an object that is embedded by another model leaves the former one's vectors", async (scene) => {
    await scene.add({ id: "castle", model: "older@1" });
    await scene.found({ query: "🏰", vector: aVector(0), model: "older@1" });

    await scene.makeSearchable({ id: "castle" });

    expect(await scene.found({ query: "🏰", vector: aVector(0), model: "older@1" })).toEqual([]);
    expect(await scene.found({ query: "🏰", vector: aVector(0) })).toEqual(["castle"]);
  });

  test("a player finds nothing by a restricted chunk, and sees none in a snippet", async (scene) => {
    const open = { text: "Mayor: runs the town", vector: aVector(1) };
    const secret = { text: "Mayor: is the vampire", vector: aVector(0), isRestricted: true };
    await scene.add({ id: "mayor", name: "Mayor", chunks: [secret, open] });
    const lair = { ...secret, text: "Vampire lair: below the mill" };
    await scene.add({ id: "hidden", name: "Vampire lair", chunks: [lair] });

    const asGm = await scene.search({ query: "vampire", vector: aVector(0) });
    const asPlayer = await scene.search({ query: "vampire", vector: aVector(0), as: "player" });

    expect(asGm.map((hit) => hit.id).sort()).toEqual(["hidden", "mayor"]);
    expect(asGm.find((hit) => hit.id === "mayor")?.snippet).toBe("is the vampire");
    expect(asPlayer.map((hit) => [hit.id, hit.snippet])).toEqual([["mayor", "runs the town"]]);
  });

  test("restricted chunks take no places from the open ones", async (scene) => {
    const secrets = Array.from({ length: 400 }, () => ({ text: "secret", vector: aVector(0), isRestricted: true }));
    for (let n = 0; n < 60; n++) await scene.add({ id: `secret${n}`, chunks: secrets.slice(0, 7) });
    await scene.add({ id: "open", chunks: [{ text: "open", vector: vectorBetween(0, 1) }] });

    expect(await scene.found({ query: "🏰", vector: aVector(0), as: "player" })).toEqual(["open"]);
  });
}
