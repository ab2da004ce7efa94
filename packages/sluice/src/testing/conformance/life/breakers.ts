/**
 * Circuit breakers with a real queue and workers: what a type needs does not work, the type stops, tries again, and nothing is lost.
 */
import assert from "node:assert/strict";
import { exponential } from "../../../backoff.js";
import type { BreakerOptions } from "../../../breaker.js";
import { NonRetryableError } from "../../../errors.js";
import { handle } from "../../../processor.js";
import { aType } from "./stage.js";
import type { LifeCase, Stage, Task } from "./stage.js";

const breaker: BreakerOptions = { failures: 3, of: 5, openMs: 1_000 };
const retry = exponential({ attempts: 4, baseMs: 100, maxMs: 1_000 });

export function breakerCases(test: LifeCase): void {
  test("after so many failures the type stops by itself, and says why", async (stage) => {
    const type = aType({ retry, breaker });
    let calls = 0;
    await stage.work([handle(type, () => down(() => calls++))], { concurrency: 2 });
    await stage.enqueueMany(type, tasks(50));

    await until(stage, async () => (await breakerOf(stage)) !== null);

    assert.match((await breakerOf(stage))?.error ?? "", /ECONNREFUSED/);
    const [record] = await stage.queue.settingsHistory({ type: type.type });
    assert.equal(record?.actor, "circuit breaker");
    // What was in hand when it opened has ended by now.
    await stage.pass(300);
    const soFar = calls;
    await stage.pass(400);
    assert.equal(calls, soFar);
    assert.ok(soFar <= 30, `${soFar} calls`);
  });

  test("it tries with one job at a time, which costs the jobs nothing, and opens up when all is well", async (stage) => {
    const type = aType({ retry, breaker });
    let isDown = true;
    await stage.work([handle(type, () => (isDown ? down() : undefined))], { concurrency: 4 });
    const jobs = await stage.enqueueMany(type, tasks(100));
    // Down for three openings: 1 s, 2 s, 4 s.
    await until(stage, async () => ((await breakerOf(stage))?.openMs ?? 0) >= 4_000);
    isDown = false;

    await stage.allCompleted();

    // With each try that succeeds it opens further; the last ones may find that another change was quicker.
    assert.ok(((await breakerOf(stage))?.level ?? 64) >= 8);
    for (const { job } of jobs) assert.ok((await stage.job(job.id)).attempt <= 3);
  });

  test("a job tried while it was down is not used up, even on its last attempt", async (stage) => {
    const type = aType({ retry: exponential({ attempts: 2, baseMs: 100, maxMs: 200 }), breaker });
    let isDown = true;
    await stage.work([handle(type, () => (isDown ? down() : undefined))], { concurrency: 1 });
    await stage.enqueueMany(type, tasks(4));
    await until(stage, async () => ((await breakerOf(stage))?.openMs ?? 0) >= 4_000);
    isDown = false;
    await until(
      stage,
      async () =>
        (await breakerOf(stage)) === null || (await stage.queue.list({ states: ["completed"] })).jobs.length >= 3,
    );
    const { jobs } = await stage.queue.list({ states: ["failed"] });
    // Only what ended before it opened: 3 failures of 2 attempts each cannot use up more than one.
    assert.ok(jobs.length <= 1, `${jobs.length} failed`);
  });

  test("a failure that says of itself that another try cannot help opens nothing", async (stage) => {
    const type = aType({ retry, breaker });
    const processor = handle(type, () => {
      throw new NonRetryableError("no such address");
    });
    await stage.work([processor]);
    const jobs = await stage.enqueueMany(type, tasks(10));
    for (const { job } of jobs) await stage.failed(job);
    assert.equal(await breakerOf(stage), null);
  });

  test("one dependency, one breaker: another type of another worker stops as well", async (stage) => {
    const shared = { ...breaker, dependency: "smtp" };
    const send = aType({ retry, breaker: shared });
    const digest = aType({ type: "digest", retry, breaker: shared });
    await stage.work([handle(send, () => down())]);
    await stage.work([handle(digest, () => undefined)]);
    await stage.enqueueMany(send, tasks(10));

    await until(stage, async () => {
      const all = await stage.queue.settings();
      return all.length === 2 && all.every((each) => each.breaker?.dependency === "smtp");
    });
  });

  test("an operator may close it", async (stage) => {
    const type = aType({ retry, breaker });
    let isDown = true;
    await stage.work([handle(type, () => (isDown ? down() : undefined))], { concurrency: 2 });
    await stage.enqueueMany(type, tasks(10));
    await until(stage, async () => (await breakerOf(stage)) !== null);
    isDown = false;
    await stage.queue.setType(type.type, { breaker: null }, { actor: "ada" });
    await stage.pass(4_000);
    assert.equal((await stage.queue.list({ states: ["completed"] })).jobs.length, 10);
  });
}

function down(before: () => void = () => {}): never {
  before();
  throw new Error("connect ECONNREFUSED");
}

function tasks(n: number): readonly Task[] {
  return Array.from({ length: n }, (_, index) => ({ n: index }));
}

async function breakerOf(stage: Stage) {
  const settings = await stage.queue.settings();
  return settings.find(({ type }) => type === "example")?.breaker ?? null;
}

async function until(stage: Stage, isSo: () => Promise<boolean>): Promise<void> {
  for (let waits = 0; !(await isSo()); waits++) {
    assert.ok(waits < 200, "waited in vain");
    await stage.pass(200);
  }
}
