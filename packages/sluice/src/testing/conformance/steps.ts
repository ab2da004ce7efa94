/**
 * What an attempt leaves behind while it runs: step results that later attempts find again, progress and log lines.
 */
import assert from "node:assert/strict";
import type { LogLine } from "../../store.js";
import { aNewJob, aStep, completeOf, holdOf, releaseOf, retryOf } from "../builders.js";
import type { TestCase } from "./scene.js";

export function stepCases(test: TestCase): void {
  steps(test);
  notes(test);
}

function steps(test: TestCase): void {
  test("a step is remembered with its output", async (scene) => {
    const held = await scene.processing();
    const output = JSON.stringify({ text: "東京 🐉", blank: null });

    const results = await scene.store.remember([aStep(held, { name: "Schritt 1: größer", output })]);

    assert.deepEqual(results, [{ result: "remembered" }]);
    assert.deepEqual(await scene.store.recall(held.id), [{ name: "Schritt 1: größer", output }]);
  });

  test("a step without output is remembered as such", async (scene) => {
    const held = await scene.processing();

    await scene.store.remember([aStep(held, { output: null })]);
    const again = await scene.store.remember([aStep(held, { output: '"late"' })]);

    assert.deepEqual(again, [{ result: "known", output: null }]);
  });

  test("the first result for a name wins and is answered", async (scene) => {
    const held = await scene.processing();
    await scene.store.remember([aStep(held, { output: "1" })]);

    const again = await scene.store.remember([aStep(held, { output: "2" })]);

    assert.deepEqual(again, [{ result: "known", output: "1" }]);
    assert.deepEqual(await scene.store.recall(held.id), [{ name: "step-1", output: "1" }]);
  });

  test("of two results for one name in one call the first wins", async (scene) => {
    const held = await scene.processing();

    const results = await scene.store.remember([aStep(held, { output: "1" }), aStep(held, { output: "2" })]);

    assert.deepEqual(results, [{ result: "remembered" }, { result: "known", output: "1" }]);
  });

  test("a later attempt finds the steps of earlier ones", async (scene) => {
    const first = await scene.processing();
    await scene.store.remember([aStep(first, { name: "a", output: "1" })]);
    await scene.apply(retryOf(first, { delayMs: 0 }));
    const second = await scene.claimOne();

    const results = await scene.store.remember([
      aStep(second, { name: "a", output: "2" }),
      aStep(second, { name: "b", output: "3" }),
    ]);

    assert.deepEqual(results, [{ result: "known", output: "1" }, { result: "remembered" }]);
    assert.deepEqual(
      new Set(await scene.store.recall(second.id)),
      new Set([
        { name: "a", output: "1" },
        { name: "b", output: "3" },
      ]),
    );
  });

  test("a step under a hold that is no longer good is refused, also when its name is known", async (scene) => {
    const held = await scene.processing();
    await scene.store.remember([aStep(held, { name: "a" })]);
    await scene.apply(releaseOf(held));

    const results = await scene.store.remember([aStep(held, { name: "a" }), aStep(held, { name: "b" })]);

    assert.deepEqual(results, [{ result: "lease_lost" }, { result: "lease_lost" }]);
    assert.equal((await scene.store.recall(held.id)).length, 1);
  });

  test("a step after the end of its attempt is refused", async (scene) => {
    const held = await scene.processing();
    await scene.apply(completeOf(held));

    assert.deepEqual(await scene.store.remember([aStep(held)]), [{ result: "lease_lost" }]);
  });

  test("each job has steps of its own", async (scene) => {
    const [a, b] = [await scene.processing(), await scene.processing()];
    await scene.store.remember([aStep(a, { output: "1" }), aStep(b, { output: "2" })]);

    assert.deepEqual(await scene.store.recall(b.id), [{ name: "step-1", output: "2" }]);
  });

  test("a step of one megabyte comes back whole", async (scene) => {
    const held = await scene.processing();
    const output = JSON.stringify("ä".repeat(500_000));

    await scene.store.remember([aStep(held, { output })]);

    assert.deepEqual(await scene.store.recall(held.id), [{ name: "step-1", output }]);
  });

  test("a step whose output has a NUL in it comes back whole", async (scene) => {
    const held = await scene.processing();
    const output = JSON.stringify("before\0after");

    await scene.store.remember([aStep(held, { output })]);

    assert.deepEqual(await scene.store.recall(held.id), [{ name: "step-1", output }]);
  });

  test("a job without steps, and one that does not exist, recall none", async (scene) => {
    const held = await scene.processing();

    assert.deepEqual(await scene.store.recall(held.id), []);
    assert.deepEqual(await scene.store.recall(aNewJob().id), []);
  });

  test("no steps are no work", async (scene) => {
    assert.deepEqual(await scene.store.remember([]), []);
  });
}

function notes(test: TestCase): void {
  const line = (message: string): LogLine => ({ at: 1, level: "info", message });

  test("progress is kept and overwritten", async (scene) => {
    const held = await scene.processing();
    const hold = holdOf(held);

    const results = await scene.store.annotate([
      { hold, progress: { done: 1, total: null }, lines: [] },
      { hold, progress: { done: 2, total: 10 }, lines: [] },
    ]);

    assert.deepEqual(results, ["applied", "applied"]);
    assert.deepEqual((await scene.job(held.id)).progress, { done: 2, total: 10 });
  });

  test("a note without progress leaves the last one", async (scene) => {
    const held = await scene.processing();
    await scene.store.annotate([{ hold: holdOf(held), progress: { done: 1, total: 2 }, lines: [] }]);

    await scene.store.annotate([{ hold: holdOf(held), progress: null, lines: [line("still here")] }]);

    assert.deepEqual((await scene.job(held.id)).progress, { done: 1, total: 2 });
  });

  test("log lines are kept in the order in which they came", async (scene) => {
    const held = await scene.processing();
    const lines: readonly LogLine[] = [
      { at: 5, level: "warn", message: "größer 🐉" },
      { at: 5, level: "debug", message: "" },
      { at: 4, level: "error", message: "a\nb" },
    ];

    await scene.store.annotate([{ hold: holdOf(held), progress: null, lines: lines.slice(0, 2) }]);
    await scene.store.annotate([{ hold: holdOf(held), progress: null, lines: lines.slice(2) }]);

    assert.deepEqual((await scene.store.history(held.id)).lines, lines);
  });

  test("a log line with a NUL in it is not cut there", async (scene) => {
    const held = await scene.processing();

    await scene.store.annotate([{ hold: holdOf(held), progress: null, lines: [line("before\0after")] }]);

    assert.match((await scene.store.history(held.id)).lines[0]?.message ?? "", /^before.after$/s);
  });

  test("the newest thousand lines of a job are kept", async (scene) => {
    const held = await scene.processing();
    const lines = Array.from({ length: 1_010 }, (_, n) => line(`${n}`));

    await scene.store.annotate([{ hold: holdOf(held), progress: null, lines: lines.slice(0, 600) }]);
    await scene.store.annotate([{ hold: holdOf(held), progress: null, lines: lines.slice(600) }]);

    assert.deepEqual((await scene.store.history(held.id)).lines, lines.slice(10));
  });

  test("log lines outlive the attempt and the job's end", async (scene) => {
    const held = await scene.processing();
    await scene.store.annotate([{ hold: holdOf(held), progress: null, lines: [line("kept")] }]);

    await scene.apply(completeOf(held));

    assert.deepEqual((await scene.store.history(held.id)).lines, [line("kept")]);
  });

  test("a note under a hold that is no longer good is refused whole", async (scene) => {
    const held = await scene.processing();
    await scene.apply(releaseOf(held));

    const results = await scene.store.annotate([
      { hold: holdOf(held), progress: { done: 1, total: 1 }, lines: [line("late")] },
    ]);

    assert.deepEqual(results, ["lease_lost"]);
    assert.equal((await scene.job(held.id)).progress, null);
    assert.deepEqual((await scene.store.history(held.id)).lines, []);
  });

  test("no notes are no work", async (scene) => {
    assert.deepEqual(await scene.store.annotate([]), []);
  });

  test("a job that does not exist has no history", async (scene) => {
    assert.deepEqual(await scene.store.history(aNewJob().id), { attempts: [], lines: [] });
  });
}
