/**
 * Random commands on a SQLite store; then it is copied, and both stores are asked the same from there on. Every answer must be the
 * same: whatever a command depends on has arrived.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { copyStore } from "../../copy.js";
import type { BeatAnswer, Store } from "../../store.js";
import { aCommand, inOrder, modelRuns, toAsk, visible, World, type Command } from "../../testing/model.test.suite.js";
import { aCopyScene, everythingIn } from "./copy.test.scene.js";

/** Making a schema takes most of the time: long sequences find more per second than many. */
const { runs, limitMs } = modelRuns(8);
const seed = process.env["SLUICE_MODEL_SEED"];
const workers = ["worker-1", "worker-2"];
/** Longer than any lease. */
const silenceMs = 10_000;

test("a copied store goes on like the one that it was copied from", { timeout: limitMs + 30_000 }, async () => {
  const commands = fc.array(aCommand(), { minLength: 1, maxLength: 40, size: "max" });
  await fc.assert(fc.asyncProperty(commands, commands, copyAndGoOn), {
    numRuns: runs,
    interruptAfterTimeLimit: limitMs,
    ...(seed !== undefined && { seed: Number(seed) }),
  });
});

async function copyAndGoOn(before: readonly Command[], after: readonly Command[]): Promise<void> {
  const world = new World();
  const scene = await aCopyScene(world.clock);
  const { clock, from, to } = scene;
  try {
    for (const command of before) await run(command, world, [from]);
    // Everybody dies. Later ones have other ids.
    clock.advance(silenceMs);
    await from.findLost({ limit: 0 });
    for (const worker of workers) world.startsAnew(worker);

    const report = await copyStore({ from, to, clock });

    expect(report).toMatchObject({ known: 0, foreign: 0, isEqual: true });
    expect(await everythingIn(to)).toEqual(await everythingIn(from));
    for (const command of after) await run(command, world, [from, to]);
    expect(await everythingIn(to)).toEqual(await everythingIn(from));
  } finally {
    await scene.dispose();
  }
}

async function run(command: Command, world: World, stores: readonly [Store<unknown>, Store<unknown>?]): Promise<void> {
  const [source, target] = stores;
  const ask = toAsk(command, world);
  const answer = comparable(command, await ask(source));
  const seen = await visible(source);
  if (target !== undefined) {
    expect(comparable(command, await ask(target)), `the answer to ${JSON.stringify(command)}`).toEqual(answer);
    // Workers stayed where they were.
    expect(await seenJobs(target), `what can be seen after ${JSON.stringify(command)}`).toEqual(await seenJobs(source));
  }
  const isLost = command.does === "heartbeat" && (answer as BeatAnswer).lease === "lost";
  if (isLost || command.does === "retire") world.startsAnew(command.worker);
  world.see(seen);
}

/** Of types that have had jobs once and have none now, a store may or may not speak. */
async function seenJobs(store: Store<unknown>) {
  const { jobs, audit, counts, settings } = await visible(store);
  return {
    jobs,
    audit,
    settings,
    counts: counts.filter(({ counts }) => Object.values(counts).some((n) => n > 0)),
  };
}

function comparable(command: Command, answer: unknown): unknown {
  return command.does === "findLost" ? { ...(answer as object), workers: [] } : inOrder(answer);
}
