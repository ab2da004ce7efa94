import { expect, test } from "vitest";
import { addObject, aLibrary, aVector } from "./fixtures.js";
import type { Library } from "./fixtures.js";
import { migrateSearch, removeObject, replaceChunks } from "./index-tables.js";
import { search } from "./search.js";

test("migrating again keeps what is indexed", () => {
  const db = aLibrary();
  addObject(db, { id: "keep" });

  migrateSearch(db);

  expect(counts(db)).toEqual({ chunks: 1, words: 1, vectors: 1 });
});

test("replacing an object's chunks leaves no trace of the former ones, and none of other objects", () => {
  const db = aLibrary();
  addObject(db, { id: "castle", chunks: ["castle: a moat", "castle: a tower"] });
  addObject(db, { id: "castle", game: "g2", chunks: ["castle: a moat"] });
  addObject(db, { id: "castle", chunks: ["castle: a garden"] });

  expect(counts(db)).toEqual({ chunks: 2, words: 2, vectors: 2 });
  expect(found(db, "moat")).toEqual([]);
  expect(found(db, "garden")).toEqual(["castle"]);
  expect(() => db.exec("insert into canon_chunks_fts (canon_chunks_fts) values ('integrity-check')")).not.toThrow();
});

test("a removed object is not found, and removing it again does nothing", () => {
  const db = aLibrary();
  addObject(db, { id: "castle" });

  removeObject(db, { game: "g1", objectId: "castle" });
  removeObject(db, { game: "g1", objectId: "castle" });

  expect(counts(db)).toEqual({ chunks: 0, words: 0, vectors: 0 });
});

test("no chunks means out of the index", () => {
  const db = aLibrary();
  addObject(db, { id: "castle" });
  addObject(db, { id: "castle", chunks: [] });

  expect(counts(db)).toEqual({ chunks: 0, words: 0, vectors: 0 });
});

test("a rolled back transaction takes words and vectors back with it", () => {
  const db = aLibrary();
  addObject(db, { id: "castle", chunks: ["castle: a moat"] });

  db.exec("begin");
  const chunks = [{ text: "castle: a garden", vector: aVector(3) }];
  replaceChunks(db, { game: "g1", objectId: "castle", name: "castle", chunks, model: "m", at: new Date(0) });
  db.exec("rollback");

  expect(counts(db)).toEqual({ chunks: 1, words: 1, vectors: 1 });
  expect(found(db, "moat")).toEqual(["castle"]);
  expect(found(db, "garden")).toEqual([]);
});

test("a vector of another length is refused", () => {
  const db = aLibrary();

  const add = () => addObject(db, { id: "castle", chunks: [{ text: "castle", vector: new Float32Array(512) }] });

  expect(add).toThrow(/dimension/i);
});

test("a game's index does not grow when the same objects are embedded again and again", () => {
  const db = aLibrary();
  const embedAll = () => {
    for (let i = 0; i < 300; i += 1) addObject(db, { id: `o${i}` });
  };
  embedAll();
  embedAll();
  const pages = pageCount(db);

  for (let round = 0; round < 5; round += 1) embedAll();

  expect(pageCount(db)).toBeLessThan(pages * 1.5);
});

function counts(db: Library): { chunks: unknown; words: unknown; vectors: unknown } {
  const count = (table: string) => (db.prepare(`select count(*) as n from ${table}`).get() as { n: number }).n;
  return { chunks: count("canon_chunks"), words: count("canon_chunks_fts_docsize"), vectors: count("canon_vectors") };
}

function found(db: Library, query: string): string[] {
  return search(db, { game: "g1", query, vector: null, limit: 5, as: "gm" }).map((hit) => hit.id);
}

function pageCount(db: Library): number {
  return (db.prepare("pragma page_count").get() as { page_count: number }).page_count;
}
