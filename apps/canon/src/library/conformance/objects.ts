/**
 * What becomes of the objects of a batch, alone and against other imports.
 */
import { expect } from "vitest";
import { firstLateFailure } from "../library.js";
import type { TestCase } from "./index.js";
import type { Scene } from "./scene.js";

export function objectCases(test: TestCase): void {
  test("a new object is saved as it was sent, and is to be embedded", async (scene) => {
    const importId = await scene.addImport();
    const body = JSON.stringify({
      id: "npc/vex",
      text: "a\0b \ud800 🐉 \\u0000",
      number: 1.5e300,
      nested: { "": [null] },
    });
    const object = {
      ...objectIn(scene.anObject({ id: "npc/vex", kind: "npc", name: "Vex", hash: "h1" })),
      body,
      line: 7,
    };

    const saved = await scene.saveBatch(importId, [{ kind: "object", object }]);

    expect(saved).toEqual({ toEmbed: ["npc/vex"], failed: 0 });
    expect(await scene.library.findObject(scene.game, "npc/vex")).toEqual({
      game: scene.game,
      id: "npc/vex",
      kind: "npc",
      name: "Vex",
      body,
      hash: "h1",
      importId,
      line: 7,
      awaiting: importId,
      embeddedHash: null,
    });
  });

  test("no object is found under another id or in another game", async (scene) => {
    await scene.imported(scene.anObject({ id: "a" }));

    expect(await scene.library.findObject("another", "a")).toBeUndefined();
    for (const odd of ["A", "", "a\0", "\ud800", "%", "'"]) {
      expect(await scene.library.findObject(scene.game, odd)).toBeUndefined();
    }
  });

  test("two ids that differ in any character are two objects", async (scene) => {
    const ids = ["Straße", "Strasse", "straße", "strasse ", "é", "e\u0301"];

    const importId = await scene.imported(...ids.map((id) => scene.anObject({ id })));

    expect(await scene.import(importId)).toMatchObject({ total: 6, failed: 0 });
    for (const id of ids) expect(await scene.library.findObject(scene.game, id)).toMatchObject({ id });
  });

  test("the second of an id is refused, in the same batch and in a later one; the first stays", async (scene) => {
    const importId = await scene.addImport();

    const same = await scene.saveBatch(importId, [
      scene.anObject({ id: "a", name: "First" }),
      scene.anObject({ id: "a", name: "Second" }),
    ]);
    const later = await scene.saveBatch(importId, [scene.anObject({ id: "a", name: "Third" })]);

    expect([same, later]).toEqual([
      { toEmbed: ["a"], failed: 1 },
      { toEmbed: [], failed: 1 },
    ]);
    expect(await scene.import(importId)).toMatchObject({ total: 3, failed: 2 });
    expect(await scene.library.findObject(scene.game, "a")).toMatchObject({ name: "First" });
    expect(await scene.failures(importId)).toMatchObject([
      { index: 1, line: 2, name: "Second", pointer: "/id", reason: expect.stringContaining("on line 1") as string },
      { index: 2, line: 3, name: "Third", pointer: "/id" },
    ]);
  });

  test("an object that is searchable with this text is skipped; what is not embedded is taken over", async (scene) => {
    await scene.add({ id: "a", kind: "town", hash: "same" });

    const importId = await scene.imported(scene.anObject({ id: "a", kind: "city", hash: "same" }));

    expect(await scene.import(importId)).toMatchObject({ phase: "done", skipped: 1, succeeded: 0 });
    expect(await scene.library.findObject(scene.game, "a")).toMatchObject({ kind: "city", importId, awaiting: null });
  });

  test("an object with another text is embedded again, and stays searchable until then", async (scene) => {
    await scene.add({ id: "a", name: "castle", hash: "old" });

    const importId = await scene.addImport();
    const saved = await scene.saveBatch(importId, [scene.anObject({ id: "a", name: "castle", hash: "new" })]);

    expect(saved).toEqual({ toEmbed: ["a"], failed: 0 });
    expect(await scene.found({ query: "castle" })).toEqual(["a"]);
  });

  test("an import whose objects a later one has taken over counts them as skipped, and is done", async (scene) => {
    const first = await scene.imported(scene.anObject({ id: "a" }), scene.anObject({ id: "b" }));
    await scene.makeSearchable({ id: "b" });

    const second = await scene.imported(scene.anObject({ id: "a", name: "other" }), scene.anObject({ id: "b" }));

    expect(await scene.import(first)).toMatchObject({ phase: "done", succeeded: 1, skipped: 1 });
    expect(await scene.import(second)).toMatchObject({ phase: "indexing", succeeded: 0, skipped: 1 });
  });

  test("what was computed for a text that has changed, or for an object that is gone, is not taken", async (scene) => {
    const importId = await scene.imported(scene.anObject({ id: "a", hash: "new" }));

    expect(await scene.makeSearchable({ id: "a", hash: "old" })).toBe("outdated");
    expect(await scene.makeSearchable({ id: "gone" })).toBe("outdated");
    expect(await scene.import(importId)).toMatchObject({ succeeded: 0 });
    expect(await scene.found({ query: "a" })).toEqual([]);
  });

  test("an object is counted once, however often it is embedded", async (scene) => {
    const importId = await scene.imported(scene.anObject({ id: "a" }), scene.anObject({ id: "b" }));

    await scene.makeSearchable({ id: "a" });
    await scene.makeSearchable({ id: "a" });

    expect(await scene.import(importId)).toMatchObject({ phase: "indexing", succeeded: 1 });
  });

  test("an object whose embedding was given up is listed after the records, once", async (scene) => {
    const importId = await scene.addImport();
    await scene.saveBatch(importId, [scene.aFailure(), scene.anObject({ id: "a", name: "Anna" })]);
    await scene.finishReading(importId);

    await scene.giveUp("a", importId, "no model");
    await scene.giveUp("a", importId, "no model");

    expect(await scene.import(importId)).toMatchObject({ phase: "done", failed: 2 });
    expect((await scene.failures(importId)).slice(1)).toEqual([
      { index: firstLateFailure + 1, line: 2, name: "Anna", pointer: "", reason: "no model" },
    ]);
  });

  test("a later import that has taken the object over does not hear that an older one gave up", async (scene) => {
    const first = await scene.imported(scene.anObject({ id: "a" }));
    const second = await scene.imported(scene.anObject({ id: "a" }));

    await scene.giveUp("a", first);

    expect(await scene.import(second)).toMatchObject({ phase: "indexing", failed: 0 });
  });

  test("imports of the same objects at once share them out: each is counted once by each", async (scene) => {
    const ids = Array.from({ length: 30 }, (_, n) => `o${n}`);
    const imports = await Promise.all([1, 2, 3, 4].map(() => scene.addImport()));

    await Promise.all(
      imports.map((importId, n) =>
        scene.saveBatch(
          importId,
          shuffled(ids, n).map((id) => scene.anObject({ id })),
        ),
      ),
    );
    await Promise.all(imports.map((importId) => scene.finishReading(importId)));
    await Promise.all(ids.map((id) => scene.makeSearchable({ id })));

    const ended = await Promise.all(imports.map((id) => scene.import(id)));
    expect(ended.map(({ phase, succeeded, skipped }) => [phase, succeeded + skipped])).toEqual(
      imports.map(() => ["done", 30]),
    );
    expect(ended.reduce((sum, { succeeded }) => sum + succeeded, 0)).toBe(30);
  });

  test("embedding and importing the same objects at once neither loses nor repeats a count", async (scene) => {
    const ids = Array.from({ length: 20 }, (_, n) => `o${n}`);
    const first = await scene.imported(...ids.map((id) => scene.anObject({ id })));
    const second = await scene.addImport();

    await Promise.all([
      ...ids.map((id) => scene.makeSearchable({ id })),
      scene.saveBatch(
        second,
        ids.map((id) => scene.anObject({ id })),
      ),
    ]);
    await scene.finishReading(second);
    await embedWhatIsAwaited(scene, ids);

    for (const id of [first, second]) {
      const { phase, succeeded, skipped } = await scene.import(id);
      expect([phase, succeeded + skipped]).toEqual(["done", 20]);
    }
  });
}

async function embedWhatIsAwaited(scene: Scene, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    if ((await scene.library.findObject(scene.game, id))?.awaiting) await scene.makeSearchable({ id });
  }
}

function objectIn(record: ReturnType<Scene["anObject"]>) {
  if (record.kind !== "object") throw new TypeError("Not an object.");
  return record.object;
}

/** Another order for each n, the same one each time. */
function shuffled(ids: readonly string[], n: number): string[] {
  const turned = [...ids.slice(n * 7), ...ids.slice(0, n * 7)];
  return n % 2 === 0 ? turned : turned.reverse();
}
