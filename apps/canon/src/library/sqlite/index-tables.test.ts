/**
 * What the suite of the library cannot see: that the three tables of the index stay in step, and small.
 */
import { expect, test } from "vitest";
import { addObject, aDatabase, type Database } from "./fixtures.js";
import { removeObject } from "./index-tables.js";
import { rankByWords } from "./ranking.js";
import { migrateLibrary } from "./tables.js";

test("migrating again keeps what is indexed", () => {
  const db = aDatabase();
  addObject(db, { id: "keep" });

  migrateLibrary(db);

  expect(counts(db)).toEqual({ chunks: 1, words: 1, vectors: 1 });
});

test("replacing an object's chunks leaves no row of the former ones, and those of other objects", () => {
  const db = aDatabase();
  addObject(db, { id: "castle", chunks: ["castle: a moat", "castle: a tower"] });
  addObject(db, { id: "castle", game: "g2", chunks: ["castle: a moat"] });
  addObject(db, { id: "castle", chunks: ["castle: a garden"] });

  expect(counts(db)).toEqual({ chunks: 2, words: 2, vectors: 2 });
  expect(() => db.exec("insert into canon_chunks_fts (canon_chunks_fts) values ('integrity-check')")).not.toThrow();
});

test("a removed object leaves no row, and removing it again does nothing", () => {
  const db = aDatabase();
  addObject(db, { id: "castle" });

  removeObject(db, { game: "g1", objectId: "castle" });
  removeObject(db, { game: "g1", objectId: "castle" });

  expect(counts(db)).toEqual({ chunks: 0, words: 0, vectors: 0 });
});

test("a vector of another length is refused by name", () => {
  const db = aDatabase();

  const add = () => addObject(db, { id: "castle", chunks: [{ text: "castle", vector: new Float32Array(512) }] });

  expect(add).toThrow(/dimension/i);
});

test("an object that is gone from the canon is not found", () => {
  const db = aDatabase();
  addObject(db, { id: "castle" });
  db.prepare("delete from canon_objects").run();

  expect(rankByWords(db, { game: "g1", words: ["castle"], as: "gm", depth: 5 })).toEqual([]);
});

test("a game's index does not grow when the same objects are embedded again and again", () => {
  const db = aDatabase();
  const embedAll = () => {
    for (let i = 0; i < 300; i += 1) addObject(db, { id: `o${i}` });
  };
  embedAll();
  embedAll();
  const pages = pageCount(db);

  for (let round = 0; round < 5; round += 1) embedAll();

  expect(pageCount(db)).toBeLessThan(pages * 1.5);
});

function counts(db: Database): { chunks: unknown; words: unknown; vectors: unknown } {
  const count = (table: string) => (db.prepare(`select count(*) as n from ${table}`).get() as { n: number }).n;
  return { chunks: count("canon_chunks"), words: count("canon_chunks_fts_docsize"), vectors: count("canon_vectors") };
}

function pageCount(db: Database): number {
  return (db.prepare("pragma page_count").get() as { page_count: number }).page_count;
}
