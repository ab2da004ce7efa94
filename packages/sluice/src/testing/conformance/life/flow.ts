/**
 * Flow control with a real queue and workers: keys, rates, groups, refusals and rollouts as an application meets them. Serves R1, O2.
 */
import assert from "node:assert/strict";
import { Events } from "../../../events.js";
import type { FlagContext } from "../../../flags.js";
import { handle } from "../../../processor.js";
import { Queue } from "../../../queue.js";
import { aType, Gate } from "./stage.js";
import type { LifeCase, Task } from "./stage.js";

export function flowCases(test: LifeCase): void {
  test("jobs of one key run one at a time, in all workers together, and each key by itself", async (stage) => {
    const type = aType({ concurrencyKey: ({ n }) => `key-${n % 3}` });
    const running = new Map<number, number>();
    let most = 0;
    const processor = () =>
      handle(type, async ({ payload: { n } }) => {
        const key = n % 3;
        running.set(key, (running.get(key) ?? 0) + 1);
        most = Math.max(most, running.get(key)!);
        await new Promise((resolve) => setImmediate(resolve));
        running.set(key, running.get(key)! - 1);
      });
    await stage.work([processor()]);
    await stage.work([processor()]);
    await stage.enqueueMany(type, tasks(45));

    await stage.allCompleted();

    assert.equal(most, 1);
  });

  test("a job whose key is held waits as blocked, and starts when the key is free", async (stage) => {
    const type = aType({ concurrencyKey: () => "one" });
    const gate = new Gate();
    await stage.work([handle(type, ({ payload }) => (payload.n === 1 ? gate.opened : undefined))]);
    const [first, second] = await stage.enqueueMany(type, [{ n: 1 }, { n: 2 }]);
    await stage.pass(1_000);
    assert.equal((await stage.job(second!.job.id)).state, "blocked");
    gate.open();
    await stage.completed(first!.job);
    await stage.completed(second!.job);
  });

  test("jobs start no faster than the rate of their type, and as fast", async (stage) => {
    const type = aType({ rate: { limit: 10, perMs: 1_000, burst: 1 } });
    const starts: number[] = [];
    const processor = () => handle(type, () => void starts.push(stage.clock.now()));
    await stage.work([processor()]);
    await stage.work([processor()]);
    await stage.enqueueMany(type, tasks(30));
    await stage.pass(2_000);
    // On a slow machine the clock of the test runs ahead of the store: it may be less, and never more.
    assert.ok(starts.length >= 5 && starts.length <= 21, `${starts.length} in two seconds`);
    await stage.allCompleted();
  });

  test("each rate key has a rate of its own, and what waits for it is scheduled", async (stage) => {
    const type = aType({ rateKey: ({ n }) => `host-${n % 2}`, ratePerKey: { limit: 1, perMs: 60_000, burst: 1 } });
    const ran: number[] = [];
    await stage.work([handle(type, ({ payload }) => void ran.push(payload.n))]);
    const jobs = await stage.enqueueMany(type, tasks(4));
    await stage.pass(1_000);
    assert.deepEqual(ran, [0, 1]);
    assert.equal((await stage.job(jobs[2]!.job.id)).state, "scheduled");
    await stage.allCompleted();
    assert.deepEqual(ran, [0, 1, 2, 3]);
  });

  test("a small group does not wait for all of a large one", async (stage) => {
    const type = aType({ group: ({ n }) => (n < 100 ? "large" : "small") });
    await stage.enqueueMany(type, tasks(100));
    await stage.enqueueMany(type, [{ n: 100 }]);
    const ran: number[] = [];
    await stage.work([handle(type, ({ payload }) => void ran.push(payload.n))], { concurrency: 1 });
    await stage.allCompleted();
    assert.ok(ran.indexOf(100) <= 3, `at place ${ran.indexOf(100)}`);
  });

  test("an enqueue beyond the backlog says when to try again; many are answered one by one", async (stage) => {
    const type = aType({ enqueueLimit: { maxBacklog: 2 } });
    const results = await stage.queue.enqueueMany(type, tasks(3));
    assert.deepEqual(
      results.map(({ outcome, job }) => [outcome, job === null]),
      [
        ["created", false],
        ["created", false],
        ["refused", true],
      ],
    );
    await assert.rejects(stage.queue.enqueue(type, { n: 9 }), (error: { code: string; details: object }) => {
      assert.equal(error.code, "ENQUEUE_REFUSED");
      assert.deepEqual(error.details, { type: "example", reason: "backlog", retryAfterMs: 1_000 });
      return true;
    });
    await stage.work([handle(type, () => "done")]);
    await stage.allCompleted();
    assert.equal((await stage.queue.enqueue(type, { n: 4 })).outcome, "created");
  });

  test("a job that its type is not switched on for waits until it is", async (stage) => {
    const type = aType();
    await stage.queue.setType(type.type, { rollout: { percentage: 0 } });
    await stage.work([handle(type, () => "done")]);
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await stage.pass(10_000);
    assert.equal((await stage.job(job.id)).state, "blocked");

    await stage.queue.setType(type.type, { rollout: { percentage: 100 } });

    await stage.completed(job);
  });

  test("a feature flag decides for whom a type is switched on, and lets go who waits when it changes", async (stage) => {
    const type = aType({ correlation: ({ n }) => ({ game: `g${n}` }), unique: false });
    const on = new Set(["g1"]);
    const asked: FlagContext[] = [];
    const flags = (context: FlagContext) => {
      asked.push(context);
      return on.has(context.correlation!["game"]!);
    };
    const { store, clock, events } = stage;
    const queue = new Queue({ store, clock, events, flags });
    await stage.work([handle(type, () => "done")], { flags });
    const [first, second] = [await queue.enqueue(type, { n: 1 }), await queue.enqueue(type, { n: 2 })];
    await stage.completed(first.job);
    assert.equal((await stage.job(second.job.id)).state, "blocked");
    assert.deepEqual(asked[0], { type: "example", targetingKey: "g1", group: null, correlation: { game: "g1" } });
    on.add("g2");
    await stage.completed(second.job);
  });

  test("a flag that throws or hangs stops nothing: the stored rollout decides", async (stage) => {
    const type = aType();
    const { store, clock } = stage;
    const events = new Events();
    let troubles = 0;
    events.on("queue.troubled", () => troubles++);
    const throwing = new Queue({ store, clock, events, flags: () => Promise.reject(new Error("no provider")) });
    const hanging = new Queue({ store, clock, events, flags: () => new Promise<boolean>(() => {}) });
    await stage.work([handle(type, () => "done")], { flags: () => Promise.reject(new Error("no provider")) });

    const first = await throwing.enqueue(type, { n: 1 });
    const second = await stage.reach(hanging.enqueue(type, { n: 2 }), "an enqueue whose flag hangs");

    await stage.completed(first.job);
    await stage.completed(second.job);
    assert.equal(troubles, 2);
  });

  test("a percentage lets the same keys in each time, and more keys when it grows", async (stage) => {
    const type = aType({ group: ({ n }) => `game-${n}` });
    const isIn = async (percentage: number) => {
      await stage.queue.setType(type.type, { rollout: { percentage } });
      const results = await stage.enqueueMany(type, tasks(40));
      return results.map(({ job }) => job.state === "pending");
    };
    const [ten, again, fifty] = [await isIn(20), await isIn(20), await isIn(60)];
    assert.deepEqual(again, ten);
    assert.ok(ten.every((each, n) => !each || fifty[n]));
    assert.ok(fifty.filter(Boolean).length > ten.filter(Boolean).length);
  });
}

function tasks(n: number): readonly Task[] {
  return Array.from({ length: n }, (_, index) => ({ n: index }));
}
