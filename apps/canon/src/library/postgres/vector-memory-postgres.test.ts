/**
 * What the suite of the library cannot see of the vectors in memory: that they are bounded, and read once.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { PostgresStore } from "sluice/postgres";
import { openPostgres } from "../../database/postgres.js";
import { aPostgresDatabase, type PostgresDatabase } from "../../database/postgres.test.target.js";
import { embeddingModelId } from "../../embedding/identity.js";
import { aVector, Scene } from "../conformance/scene.js";
import type { PostgresTx } from "./connection.js";
import { VectorMemory } from "./vector-memory.js";

let database: PostgresDatabase;
let store: PostgresStore;
let newScene: () => Scene;

beforeAll(async () => {
  database = await aPostgresDatabase();
  const opened = await openPostgres(database.url);
  store = opened.store as PostgresStore;
  newScene = () => new Scene(opened.library);
});

afterAll(async () => {
  await store.close();
  await database.drop();
});

/** The store, with a count of the objects that were read. */
function counting() {
  const seen = { rows: 0 };
  const db: PostgresTx = {
    async query(text, values) {
      const answer = await store.query(text, values);
      seen.rows += answer.rows.length;
      return answer;
    },
  };
  return { db, seen };
}

const ask = async (memory: VectorMemory, { game }: Scene, axis = 0) => {
  const query = { game, vector: aVector(axis), model: embeddingModelId, as: "gm", depth: 50 } as const;
  return (await memory.nearest(query)).map(({ objectId }) => objectId);
};

test("a game is read once, then only what has changed", async () => {
  const scene = newScene();
  for (let n = 0; n < 5; n++) await scene.add({ id: `o${n}` });
  const { db, seen } = counting();
  const memory = new VectorMemory(db);

  await ask(memory, scene);
  const first = seen.rows;
  await ask(memory, scene);
  const second = seen.rows - first;
  await scene.makeSearchable({ id: "o2", chunks: [{ text: "x", vector: aVector(7) }] });
  const found = await ask(memory, scene, 7);

  expect([first, second, seen.rows - first]).toEqual([5, 0, 1]);
  expect(found[0]).toBe("o2");
});

test("a game of more objects than a page is read whole", async () => {
  const scene = newScene();
  const ids = Array.from({ length: 520 }, (_, n) => `o${String(n).padStart(3, "0")}`);
  await scene.imported(...ids.map((id) => scene.anObject({ id })));
  for (let n = 0; n < ids.length; n += 20) {
    await Promise.all(ids.slice(n, n + 20).map((id) => scene.makeSearchable({ id })));
  }
  const last = { id: ids.at(-1)!, chunks: [{ text: "x", vector: aVector(9) }] };
  await scene.makeSearchable(last);

  const memory = new VectorMemory(store);

  expect((await ask(memory, scene, 9))[0]).toBe(last.id);
  expect(await ask(memory, scene)).toEqual(ids.slice(0, 50));
});

test("past the bound, the game that was asked about longest ago is let go and read again", async () => {
  const [old, recent] = [newScene(), newScene()];
  for (const scene of [old, recent]) await scene.add({ id: "a" });
  const { db, seen } = counting();
  const memory = new VectorMemory(db, { maxBytes: 3_000 });

  await ask(memory, old);
  await ask(memory, recent);
  const before = seen.rows;
  const kept = await ask(memory, recent);
  const rereadOfRecent = seen.rows - before;
  const again = await ask(memory, old);

  expect([kept, again]).toEqual([["a"], ["a"]]);
  expect([rereadOfRecent, seen.rows - before]).toEqual([0, 1]);
});

test("a game that alone is larger than the bound is answered just the same", async () => {
  const scene = newScene();
  for (let n = 0; n < 4; n++) await scene.add({ id: `o${n}`, chunks: [{ text: "x", vector: aVector(n) }] });
  const memory = new VectorMemory(store, { maxBytes: 3_000 });

  expect(await ask(memory, scene, 3)).toEqual(["o3", "o0", "o1", "o2"]);
  expect((await ask(memory, scene, 2))[0]).toBe("o2");
});

test("a game that has become small enough is kept again", async () => {
  const scene = newScene();
  for (let n = 0; n < 4; n++) await scene.add({ id: `o${n}` });
  const { db, seen } = counting();
  const memory = new VectorMemory(db, { maxBytes: 3_000 });
  await ask(memory, scene);
  for (let n = 0; n < 3; n++) await scene.makeSearchable({ id: `o${n}`, chunks: [] });

  await ask(memory, scene); // reads all of it, and sees how small it is
  await ask(memory, scene); // keeps it
  const before = seen.rows;

  expect(await ask(memory, scene)).toEqual(["o3"]);
  expect(seen.rows - before).toBe(0);
});

test("when a read fails, the next question is answered", async () => {
  const scene = newScene();
  await scene.add({ id: "a" });
  let fails = true;
  const db: PostgresTx = {
    query: (text, values) => (fails ? Promise.reject(new Error("gone")) : store.query(text, values)),
  };
  const memory = new VectorMemory(db);

  await expect(ask(memory, scene)).rejects.toThrow("gone");
  fails = false;

  expect(await ask(memory, scene)).toEqual(["a"]);
});
