/**
 * The life of an import, its counters and its failures.
 */
import { expect } from "vitest";
import type { TestCase } from "./index.js";
import { thenFail } from "./scene.js";

export function importCases(test: TestCase): void {
  test("begins reading, with nothing counted", async (scene) => {
    const id = await scene.addImport({ bytes: 3 * 1024 ** 3 });

    expect(await scene.import(id)).toEqual({
      id,
      game: scene.game,
      blob: `blob of ${id}`,
      bytes: 3 * 1024 ** 3,
      readBytes: 0,
      phase: "reading",
      total: 0,
      succeeded: 0,
      failed: 0,
      skipped: 0,
      problem: null,
      createdAt: 1_000,
      finishedAt: null,
    });
  });

  test("is found in its own game only, and under any text nothing else is", async (scene) => {
    const id = await scene.addImport();

    expect(await scene.library.findImport("another", id)).toBeUndefined();
    for (const odd of ["", "\0", "x".repeat(200), "\ud800", "'"]) {
      expect(await scene.library.findImport(scene.game, odd)).toBeUndefined();
    }
  });

  test("is listed newest first", async (scene) => {
    const first = await scene.addImport();
    scene.now = 2_000;
    const second = await scene.addImport();

    const listed = await scene.library.listImports(scene.game);

    expect(listed.map(({ id }) => id)).toEqual([second, first]);
  });

  test("of a transaction that fails was never there", async (scene) => {
    const row = { id: `import in ${scene.game}`, game: scene.game, blob: "b", bytes: 1, now: 1 };

    await expect(scene.write((tx) => thenFail(scene.library.addImport(tx, row)))).rejects.toThrow("fails");

    expect(await scene.library.listImports(scene.game)).toEqual([]);
  });

  test("counts batch by batch, and bytes never go back", async (scene) => {
    const id = await scene.addImport();

    await scene.saveBatch(id, [scene.anObject({ id: "a" }), scene.aFailure()], { readBytes: 60 });
    await scene.saveBatch(id, [scene.anObject({ id: "b" })], { readBytes: 40 });

    expect(await scene.import(id)).toMatchObject({ total: 3, failed: 1, skipped: 0, readBytes: 60, phase: "reading" });
  });

  test("that has been read is done when all of it has been counted", async (scene) => {
    const id = await scene.addImport({ bytes: 100 });
    await scene.saveBatch(id, [scene.anObject({ id: "a" }), scene.anObject({ id: "b" }), scene.aFailure()]);
    await scene.finishReading(id);
    const read = await scene.import(id);
    await scene.makeSearchable({ id: "a" });
    const half = await scene.import(id);
    scene.now = 7_000;
    await scene.makeSearchable({ id: "b" });

    expect(read).toMatchObject({ phase: "indexing", readBytes: 100, succeeded: 0, finishedAt: null });
    expect(half).toMatchObject({ phase: "indexing", succeeded: 1 });
    expect(await scene.import(id)).toMatchObject({ phase: "done", succeeded: 2, failed: 1, finishedAt: 7_000 });
  });

  test("is not done before it has been read, however much has been counted", async (scene) => {
    const id = await scene.addImport();
    await scene.saveBatch(id, [scene.anObject({ id: "a" })]);
    await scene.makeSearchable({ id: "a" });
    const reading = await scene.import(id);
    await scene.finishReading(id);

    expect(reading).toMatchObject({ phase: "reading", succeeded: 1 });
    expect(await scene.import(id)).toMatchObject({ phase: "done", finishedAt: 1_000 });
  });

  test("ends once, with the first problem", async (scene) => {
    const id = await scene.addImport();
    const end = (phase: "failed" | "cancelled", problem: string) =>
      scene.write((tx) => scene.library.endImport(tx, id, { phase, problem, now: 5_000 }));

    await end("cancelled", "first");
    await end("failed", "second");
    await scene.finishReading(id);

    expect(await scene.import(id)).toMatchObject({ phase: "cancelled", problem: "first", finishedAt: 5_000 });
  });

  test("that failed reads on when resumed, as long as its body is there; others stay as they are", async (scene) => {
    const resume = (id: string) => scene.write((tx) => scene.library.resumeReading(tx, id));
    const fail = (id: string) =>
      scene.write((tx) => scene.library.endImport(tx, id, { phase: "failed", problem: "p", now: 5_000 }));
    const [failed, withoutBody, done] = [await scene.addImport(), await scene.addImport(), await scene.imported()];
    await fail(failed);
    await fail(withoutBody);
    await scene.write((tx) => scene.library.forgetBlob(tx, withoutBody));

    for (const id of [failed, withoutBody, done]) await resume(id);

    expect(await scene.import(failed)).toMatchObject({ phase: "reading", problem: null, finishedAt: null });
    expect(await scene.import(withoutBody)).toMatchObject({ phase: "failed" });
    expect(await scene.import(done)).toMatchObject({ phase: "done" });
  });

  test("has spent its body when it has been read or was cancelled; a failed one may still need it", async (scene) => {
    const end = (id: string, phase: "failed" | "cancelled") =>
      scene.write((tx) => scene.library.endImport(tx, id, { phase, problem: "p", now: 5_000 }));
    const reading = await scene.addImport();
    const failed = await scene.addImport();
    const cancelled = await scene.addImport();
    const read = await scene.imported(scene.anObject({ id: "a" }));
    await end(failed, "failed");
    await end(cancelled, "cancelled");
    const own = new Set([reading, failed, cancelled, read]);
    const spent = async () => (await scene.library.listSpentBlobs()).filter(({ id }) => own.has(id));

    const before = await spent();
    await scene.write((tx) => scene.library.forgetBlob(tx, read));

    expect(new Set(before)).toEqual(new Set([cancelled, read].map((id) => ({ id, blob: `blob of ${id}` }))));
    expect((await spent()).map(({ id }) => id)).toEqual([cancelled]);
  });

  test("lists its failures by index, in pages", async (scene) => {
    const id = await scene.addImport();
    await scene.saveBatch(id, [
      scene.aFailure({ index: 2, line: 30, name: "Vex", pointer: "/kind", reason: "is missing" }),
      scene.aFailure({ index: 0 }),
      scene.aFailure({ index: 11 }),
    ]);

    const page = await scene.failures(id, { limit: 2 });
    const rest = await scene.failures(id, { after: 2 });

    expect(page.map(({ index }) => index)).toEqual([0, 2]);
    expect(page[1]).toEqual({ index: 2, line: 30, name: "Vex", pointer: "/kind", reason: "is missing" });
    expect(rest.map(({ index }) => index)).toEqual([11]);
  });

  test("lists a failure whatever its texts are", async (scene) => {
    const id = await scene.addImport();
    const odd = "a\0b \ud83d 🐉 \\ \u0001 '\" {}";

    await scene.saveBatch(id, [scene.aFailure({ name: odd, pointer: odd, reason: odd })]);
    await scene.write((tx) => scene.library.endImport(tx, id, { phase: "failed", problem: odd, now: 1 }));

    const [failure] = await scene.failures(id);
    expect(failure?.name).toContain("🐉 \\ \u0001 '\" {}");
    expect((await scene.import(id)).problem).toContain("🐉");
  });

  test("counts failures without end and lists the first ten thousand", async (scene) => {
    const id = await scene.addImport();

    await scene.saveBatch(id, [scene.aFailure(), scene.aFailure(), scene.aFailure()], { failedBefore: 9_999 });

    expect(await scene.import(id)).toMatchObject({ failed: 3 });
    expect(await scene.failures(id)).toHaveLength(1);
  });

  test("counts everything that many finish at once", async (scene) => {
    const ids = Array.from({ length: 40 }, (_, n) => `o${n}`);
    const importId = await scene.imported(...ids.map((id) => scene.anObject({ id })));

    await Promise.all(
      ids.map((id, n) => (n % 2 === 0 ? scene.makeSearchable({ id }) : scene.giveUp(id, importId, `reason ${id}`))),
    );

    expect(await scene.import(importId)).toMatchObject({ phase: "done", succeeded: 20, failed: 20 });
    expect(new Set((await scene.failures(importId)).map(({ name }) => name)).size).toBe(20);
  });
}
