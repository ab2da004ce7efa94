/**
 * The application's writes and the job's: both or neither. For stores that have transactions.
 */
import assert from "node:assert/strict";
import type { FencedWrite, Settlement, StepWrite, StoreCapabilities, TransactResult } from "../../store.js";
import {
  anIdempotency,
  aNewJob,
  aStep,
  aUniqueClaim,
  cancelOf,
  completeOf,
  failOf,
  releaseOf,
  retryOf,
} from "../builders.js";
import { hour, minute } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

type Transactions = StoreCapabilities["transactions"];

/** What the application does in the transaction, one call after the other. */
type Work = readonly ((tx: unknown) => unknown)[];

export function transactionCases(test: TestCase, transactions: Transactions): void {
  const transact = (scene: Scene, work: Work, outcome: FencedWrite) => runWork(scene, transactions, work, outcome);

  committing(test, transact);
  rollingBack(test, transact);
  enqueueing(test, transact);
}

type Transact = (scene: Scene, work: Work, outcome: FencedWrite) => Promise<TransactResult<unknown>>;

function committing(test: TestCase, transact: Transact): void {
  test("the application's writes commit together with a settlement", async (scene) => {
    const { held, insert } = await withTable(scene);

    const answer = await transact(scene, [insert(1), insert(2)], settles(completeOf(held, { output: '"done"' })));

    assert.equal(answer.result, "applied");
    assert.equal(await scene.application.count(), 2);
    const { state, output } = await scene.job(held.id);
    assert.deepEqual([state, output], ["completed", '"done"']);
  });

  test("the application's writes commit together with a step", async (scene) => {
    const { held, insert } = await withTable(scene);

    const answer = await transact(scene, [insert(1)], remembers(aStep(held, { name: "charge", output: "42" })));

    assert.equal(answer.result, "applied");
    assert.equal(await scene.application.count(), 1);
    const steps = await scene.store.recall(held.id);
    assert.deepEqual(
      steps.find(({ name }) => name === "charge"),
      { name: "charge", output: "42" },
    );
    assert.equal(await scene.state(held.id), "processing");
  });

  for (const [name, settlement, state] of [
    ["retry", retryOf, "retrying"],
    ["fail", failOf, "failed"],
    ["cancel", cancelOf, "cancelled"],
  ] as const) {
    test(`the application's writes commit together with a ${name}`, async (scene) => {
      const { held, insert } = await withTable(scene);

      await transact(scene, [insert(1)], settles(settlement(held)));

      assert.equal(await scene.application.count(), 1);
      assert.equal(await scene.state(held.id), state);
    });
  }

  test("the outcome may depend on what the work returns, which is answered", async (scene) => {
    const { held } = await withTable(scene);
    assert.ok(scene.store.transact !== undefined);

    const answer = await scene.store.transact(
      () => 42,
      (value) => settles(completeOf(held, { output: `${value}` })),
    );

    assert.deepEqual(answer, { result: "applied", value: 42 });
    assert.equal((await scene.job(held.id)).output, "42");
  });

  test("a completion in a transaction wakes the job that waits for its key", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "rerun" });
    const { held } = await withTable(scene, { unique });
    const next = await scene.enqueue({ unique });

    await transact(scene, [], settles(completeOf(held)));

    assert.equal(await scene.state(next), "pending");
  });

  test("a completion in a transaction adds its children", async (scene) => {
    const { held } = await withTable(scene);
    const child = aNewJob();

    await transact(scene, [], settles(completeOf(held, { children: [child] })));

    assert.equal(await scene.state(child.id), "pending");
  });

  test("a completion in a transaction hints that a job has ended", async (scene) => {
    const { held } = await withTable(scene);
    const hint = scene.nextHint(({ ended }) => ended);

    await transact(scene, [], settles(completeOf(held)));

    assert.equal((await hint).ended, true);
  });

  test("transactions follow each other", async (scene) => {
    const { held, insert } = await withTable(scene);
    const steps = Array.from({ length: 10 }, (_, n) => aStep(held, { name: `step ${n}` }));

    await Promise.all(steps.map((step, n) => transact(scene, [insert(n)], remembers(step))));

    assert.equal(await scene.application.count(), 10);
  });
}

function rollingBack(test: TestCase, transact: Transact): void {
  test("what the work throws rejects, and nothing stays", async (scene) => {
    const { held, insert } = await withTable(scene);
    const before = await scene.job(held.id);
    const broken = new Error("Constraint failed.");
    const fails = () => {
      throw broken;
    };

    await assert.rejects(transact(scene, [insert(1), fails], settles(completeOf(held))), broken);

    assert.equal(await scene.application.count(), 0);
    assert.deepEqual(await scene.job(held.id), before);
  });

  test("what the outcome throws rejects, and nothing stays", async (scene) => {
    const { held, insert } = await withTable(scene);
    const broken = new Error("Not serializable.");
    assert.ok(scene.store.transact !== undefined);

    const transaction = scene.store.transact(insert(1), () => {
      throw broken;
    });

    await assert.rejects(transaction, broken);
    assert.equal(await scene.application.count(), 0);
    assert.equal(await scene.state(held.id), "processing");
  });

  test("a lost hold under a settlement answers lease_lost, and nothing stays", async (scene) => {
    const { held, insert } = await withTable(scene);
    await scene.apply(releaseOf(held));

    const answer = await transact(scene, [insert(1)], settles(completeOf(held)));

    assert.deepEqual(answer, { result: "lease_lost" });
    assert.equal(await scene.application.count(), 0);
    assert.equal(await scene.state(held.id), "pending");
  });

  test("a lost hold under a step answers lease_lost, and nothing stays", async (scene) => {
    const { held, insert } = await withTable(scene);
    await scene.apply(releaseOf(held));

    const answer = await transact(scene, [insert(1)], remembers(aStep(held, { name: "late" })));

    assert.deepEqual(answer, { result: "lease_lost" });
    assert.equal(await scene.application.count(), 0);
    assert.equal(
      (await scene.store.recall(held.id)).some(({ name }) => name === "late"),
      false,
    );
  });

  test("the store goes on after a transaction that was rolled back", async (scene) => {
    const { held, insert } = await withTable(scene);
    const fails = () => {
      throw new Error("Constraint failed.");
    };
    await assert.rejects(transact(scene, [insert(1), fails], settles(completeOf(held))));

    const answer = await transact(scene, [insert(1)], settles(completeOf(held)));

    assert.equal(answer.result, "applied");
    assert.equal(await scene.application.count(), 1);
  });
}

function enqueueing(test: TestCase, transact: Transact): void {
  test("a job enqueued in a transaction exists when that commits", async (scene) => {
    const { held, insert } = await withTable(scene);
    const job = aNewJob();

    await transact(scene, [insert(1), (tx) => scene.store.enqueue([job], tx)], settles(completeOf(held)));

    assert.equal(await scene.state(job.id), "pending");
    assert.deepEqual(await scene.claimIds(), [job.id]);
  });

  test("a job enqueued in a transaction that is rolled back never was", async (scene) => {
    const { held } = await withTable(scene);
    const job = aNewJob({ type: "never seen" });
    const fails = () => {
      throw new Error("Constraint failed.");
    };

    const work: Work = [(tx) => scene.store.enqueue([job], tx), fails];
    await assert.rejects(transact(scene, work, settles(completeOf(held))));

    assert.deepEqual(await scene.store.get([job.id]), [null]);
    const counts = await scene.store.counts({ types: ["never seen"] });
    assert.equal(
      counts.some((each) => each.counts.pending > 0),
      false,
    );
  });

  test("a job enqueued in a transaction whose hold is lost never was", async (scene) => {
    const { held } = await withTable(scene);
    await scene.apply(releaseOf(held));
    const job = aNewJob();

    await transact(scene, [(tx) => scene.store.enqueue([job], tx)], settles(completeOf(held)));

    assert.deepEqual(await scene.store.get([job.id]), [null]);
  });

  test("a unique key is respected inside a transaction", async (scene) => {
    const unique = aUniqueClaim();
    const { held } = await withTable(scene);
    await scene.enqueue({ unique });
    const job = aNewJob({ unique });

    await transact(scene, [(tx) => scene.store.enqueue([job], tx)], settles(completeOf(held)));

    assert.deepEqual(await scene.store.get([job.id]), [null]);
  });

  test("an idempotency key is respected inside a transaction, and taken by it", async (scene) => {
    const { held } = await withTable(scene);
    const idempotency = anIdempotency();
    const [first, second] = [aNewJob({ idempotency }), aNewJob({ idempotency })];
    const work: Work = [first, second].map((job) => (tx) => scene.store.enqueue([job], tx));

    await transact(scene, work, settles(completeOf(held)));

    assert.deepEqual(await scene.store.get([second.id]), [null]);
    const again = await scene.add({ idempotency });
    assert.equal(again.outcome === "repeated" && again.id, first.id);
  });

  test("the idempotency key of a transaction that is rolled back is free", async (scene) => {
    const { held } = await withTable(scene);
    const idempotency = anIdempotency();
    const fails = () => {
      throw new Error("Constraint failed.");
    };
    const work: Work = [(tx) => scene.store.enqueue([aNewJob({ idempotency })], tx), fails];
    await assert.rejects(transact(scene, work, settles(completeOf(held))), /Constraint failed/);

    const result = await scene.add({ idempotency: { ...idempotency, fingerprint: "something else" } });

    assert.equal(result.outcome, "created");
  });

  test("an idempotency key that stands for something else is an error inside a transaction", async (scene) => {
    const { held } = await withTable(scene);
    const idempotency = anIdempotency();
    await scene.enqueue({ idempotency });
    const job = aNewJob({ idempotency: { ...idempotency, fingerprint: "something else" } });

    const work: Work = [(tx) => scene.store.enqueue([job], tx)];
    await assert.rejects(transact(scene, work, settles(completeOf(held))), {
      code: "IDEMPOTENCY_KEY_REUSED",
      details: { type: job.type, key: idempotency.key },
    });

    assert.equal(await scene.state(held.id), "processing");
  });

  test("an idempotency key whose job is gone is an error inside a transaction", async (scene) => {
    const idempotency = anIdempotency({ periodMs: 10 * hour });
    const { id } = await scene.jobIn("completed", { idempotency });
    scene.clock.advance(hour);
    await scene.store.prune({ retentionMs: minute, limit: 10 });
    const { held } = await withTable(scene);
    const job = aNewJob({ idempotency });

    const work: Work = [(tx) => scene.store.enqueue([job], tx)];
    await assert.rejects(transact(scene, work, settles(completeOf(held))), {
      code: "JOB_GONE",
      details: { type: job.type, id },
    });
  });

  test("a job enqueued in a transaction hints at work", async (scene) => {
    const { held } = await withTable(scene);
    const hint = scene.nextHint(({ work }) => work);

    await transact(scene, [(tx) => scene.store.enqueue([aNewJob()], tx)], remembers(aStep(held, { name: "next" })));

    assert.equal((await hint).work, true);
  });
}

/** A job in flight, and the application's table, empty. */
async function withTable(scene: Scene, overrides: Parameters<Scene["processing"]>[0] = {}) {
  const held = await scene.processing(overrides);
  assert.ok(scene.store.transact !== undefined);
  const created = await scene.store.transact(
    (tx) => scene.application.create(tx),
    () => remembers(aStep(held, { name: "table created" })),
  );
  assert.equal(created.result, "applied");
  const insert = (n: number) => (tx: unknown) => scene.application.insert(tx, n);
  return { held, insert };
}

/** A synchronous transaction must not see a promise, an asynchronous one waits for each. */
async function runWork(
  scene: Scene,
  transactions: Transactions,
  work: Work,
  outcome: FencedWrite,
): Promise<TransactResult<unknown>> {
  assert.ok(scene.store.transact !== undefined);
  if (transactions === "asynchronous") {
    const inTurn = async (tx: unknown) => {
      for (const call of work) await call(tx);
    };
    return scene.store.transact(inTurn, () => outcome);
  }
  const atOnce = (tx: unknown) => {
    for (const call of work) void call(tx);
  };
  return scene.store.transact(atOnce, () => outcome);
}

function settles(settlement: Settlement): FencedWrite {
  return { write: "settle", settlement };
}

function remembers(step: StepWrite): FencedWrite {
  return { write: "remember", step };
}
