/**
 * What processes have counted: added up in the store's present, read in steps, kept for as long as `keptSteps` says. Serves K3, K4,
 * K5, O1.
 */
import assert from "node:assert/strict";
import { emptyHistogram, keptSteps, mergeCounts, stepOf } from "../../rollup.js";
import type { NewRollup, Rollup } from "../../rollup.js";
import { aRollup } from "../builders.js";
import { hour, minute, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

const day = 24 * hour;

export function rollupCases(test: TestCase): void {
  test("what is counted is added to the minute of the store's present", async (scene) => {
    const at = await startOfDay(scene);
    const [one, other] = [full({ enqueued: 3 }), full({ enqueued: 4 })];

    await scene.store.addRollups([one]);
    scene.clock.advance(59 * second);
    await scene.store.addRollups([other]);
    scene.clock.advance(second);
    await scene.store.addRollups([one]);

    assert.deepEqual(await minutes(scene, at), [
      { ...mergeCounts(one, other), type: "example", at, stepMs: minute },
      { ...one, at: at + minute, stepMs: minute },
    ]);
  });

  test("types are counted apart, and those that are not asked for are left out", async (scene) => {
    const at = await startOfDay(scene);
    await scene.store.addRollups([aRollup({ type: "b", completed: 2 }), aRollup({ type: "a", completed: 1 })]);
    await scene.store.addRollups([aRollup({ type: "b", completed: 2 }), aRollup({ type: "c", completed: 5 })]);
    const completed = (rollups: readonly Rollup[]) => rollups.map((each) => [each.type, each.completed]);

    const all = completed(await minutes(scene, at));
    const some = completed(await minutes(scene, at, ["c", "b", "unheard"]));

    // prettier-ignore
    assert.deepEqual(all, [["a", 1], ["b", 4], ["c", 5]]);
    // prettier-ignore
    assert.deepEqual(some, [["b", 4], ["c", 5]]);
    assert.deepEqual(await minutes(scene, at, []), []);
  });

  test("nothing counted is nothing told", async (scene) => {
    await scene.store.addRollups([]);

    assert.deepEqual(await minutes(scene, await startOfDay(scene)), []);
  });

  test("a range ends before its end", async (scene) => {
    const at = await startOfDay(scene);
    for (const completed of [1, 2, 3, 4]) {
      await scene.store.addRollups([aRollup({ completed })]);
      scene.clock.advance(minute);
    }

    const range = { from: at + minute, to: at + 3 * minute, stepMs: minute };

    assert.deepEqual((await scene.store.rollups(range)).map(({ completed }) => completed), [2, 3]); // prettier-ignore
  });

  test("every step that is a number of minutes tells the same sums", async (scene) => {
    const at = await startOfDay(scene);
    for (let n = 0; n < 20; n++) {
      await scene.store.addRollups([full({ completed: n }), full({ type: "other" })]);
      scene.clock.advance(13 * minute);
    }

    for (const stepMs of [minute, 5 * minute, 10 * minute, 20 * minute, hour, 2 * hour, day]) {
      const rollups = await scene.store.rollups({ from: at, to: at + day, stepMs });

      assert.equal(sum(rollups, "completed"), 190 + 60, `by ${stepMs}`);
      assert.equal(sum(rollups, "waitSumMs"), 40 * 17, `by ${stepMs}`);
      assert.equal(rollups.reduce((all, { run }) => all + run[25]!, 0), 40 * 26, `by ${stepMs}`); // prettier-ignore
      const steps = new Set(Array.from({ length: 20 }, (_, n) => stepOf(at + n * 13 * minute, stepMs)));
      assert.deepEqual(rollups.map((each) => each.at), [...steps, ...steps], `by ${stepMs}`); // prettier-ignore
      assert.ok(rollups.every((each) => each.stepMs === stepMs));
    }
  });

  test("numbers may grow beyond 32 bits", async (scene) => {
    const at = await startOfDay(scene);
    const many = 2 ** 40;
    const run = emptyHistogram();
    run[3] = many;
    const counted = aRollup({ completed: many, runSumMs: many, run });

    await scene.store.addRollups([counted]);
    await scene.store.addRollups([counted]);

    const [told] = await minutes(scene, at);
    assert.deepEqual([told?.completed, told?.runSumMs, told?.run[3]], [2 * many, 2 * many, 2 * many]);
  });

  test("many processes that add at one moment lose nothing", async (scene) => {
    const at = await startOfDay(scene);
    const types = ["a", "b", "c"];

    await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        scene.store.addRollups(
          [...types.slice(n % 3), ...types.slice(0, n % 3)].map((type) => full({ type, completed: 1 })),
        ),
      ),
    );

    const rollups = await minutes(scene, at);
    // prettier-ignore
    assert.deepEqual(rollups.map(({ type, completed }) => [type, completed]), types.map((type) => [type, 30]));
  });

  test("each step is kept for its time and no longer, whoever prunes how often", async (scene) => {
    const at = await startOfDay(scene);
    await scene.store.addRollups([aRollup({ completed: 1 })]);
    const prune = () => scene.store.prune({ retentionMs: day, limit: 100 });
    const isKept = async (stepMs: number) =>
      (await scene.store.rollups({ from: at, to: at + day, stepMs })).length === 1;

    for (const keptMs of new Set(keptSteps.map((kept) => kept.keptMs))) {
      const steps = keptSteps.filter((kept) => kept.keptMs === keptMs).map(({ stepMs }) => stepMs);
      scene.clock.set(at + keptMs);
      await prune();
      for (const stepMs of steps) assert.ok(await isKept(stepMs), `${stepMs} is gone too soon`);

      scene.clock.advance(1);
      await Promise.all([prune(), prune()]);
      for (const stepMs of steps) assert.ok(!(await isKept(stepMs)), `${stepMs} is kept for too long`);
    }
  });
}

/** Goes to the beginning of a day, by the store's clock. */
async function startOfDay({ clock }: Scene): Promise<number> {
  const at = stepOf(clock.now(), day) + day;
  clock.set(at);
  return at;
}

function minutes(scene: Scene, at: number, types?: readonly string[]): Promise<readonly Rollup[]> {
  return scene.store.rollups({ from: at, to: at + hour, stepMs: minute, ...(types && { types }) });
}

/** Every number is another one. */
function full(overrides: Partial<NewRollup> = {}): NewRollup {
  const counts = { enqueued: 1, refused: 2, completed: 3, retried: 4, failed: 5, crashed: 6, snoozed: 7, cancelled: 8 };
  const wait = emptyHistogram().map((_, bucket) => bucket);
  const run = wait.map((bucket) => bucket + 1);
  return aRollup({ ...counts, wait, waitSumMs: 17, run, runSumMs: 19, ...overrides });
}

function sum(rollups: readonly Rollup[], name: "completed" | "waitSumMs"): number {
  return rollups.reduce((all, rollup) => all + rollup[name], 0);
}
