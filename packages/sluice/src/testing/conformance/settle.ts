/**
 * How attempts end: what each settlement does, that only a good hold may do it, and what a requested cancellation changes.
 */
import assert from "node:assert/strict";
import { hasEnded, jobStates } from "../../job.js";
import type { Hold, JobState } from "../../job.js";
import type { Settlement } from "../../store.js";
import {
  aClaim,
  aCommand,
  aNewJob,
  anError,
  cancelOf,
  completeOf,
  defaultWorkerId,
  failOf,
  releaseOf,
  retryOf,
  snoozeOf,
} from "../builders.js";
import { minute, second } from "./scene.js";
import type { TestCase } from "./scene.js";

const settlements: Readonly<Record<Settlement["kind"], (held: Hold) => Settlement>> = {
  complete: (held) => completeOf(held),
  retry: (held) => retryOf(held),
  fail: (held) => failOf(held),
  snooze: (held) => snoozeOf(held),
  cancel: (held) => cancelOf(held),
  release: (held) => releaseOf(held),
};
const kinds = Object.keys(settlements) as Settlement["kind"][];
const everyKind = Object.values(settlements);

export function settleCases(test: TestCase): void {
  whereEachLeads(test);
  whatEachChanges(test);
  fencing(test);
  cancelRequests(test);
  children(test);
  hints(test);
}

function whereEachLeads(test: TestCase): void {
  const leadsTo: Readonly<Record<Settlement["kind"], JobState>> = {
    complete: "completed",
    retry: "retrying",
    fail: "failed",
    snooze: "scheduled",
    cancel: "cancelled",
    release: "pending",
  };
  for (const kind of kinds) {
    test(`${kind} leads to ${leadsTo[kind]}`, async (scene) => {
      const held = await scene.processing();

      const result = await scene.settle(settlements[kind](held));

      assert.equal(result, "applied");
      assert.equal(await scene.state(held.id), leadsTo[kind]);
    });
  }
}

function whatEachChanges(test: TestCase): void {
  test("complete keeps the output and when it ran", async (scene) => {
    const held = await scene.processing();
    scene.clock.advance(second);

    await scene.apply(completeOf(held, { output: '{"text":"東京 🐉"}' }));

    const { output, startedAt, finishedAt, attempt } = await scene.job(held.id);
    const now = scene.clock.now();
    assert.deepEqual(
      { output, startedAt, finishedAt, attempt },
      { output: '{"text":"東京 🐉"}', startedAt: now - second, finishedAt: now, attempt: 1 },
    );
  });

  test("an output of one megabyte comes back whole", async (scene) => {
    const output = JSON.stringify("ä".repeat(500_000));
    const held = await scene.processing();

    await scene.apply(completeOf(held, { output }));

    assert.equal((await scene.job(held.id)).output, output);
  });

  test("nothing is cut at a NUL: payload, output, error and reason", async (scene) => {
    const text = "before\0after";
    const [payload, output] = [JSON.stringify({ text }), JSON.stringify(text)];
    const held = await scene.processing({ payload });
    await scene.apply(retryOf(held, { error: anError({ message: text }), delayMs: 0 }));
    const again = await scene.claimOne();
    await scene.apply(completeOf(again, { output }));
    const other = await scene.processing();
    await scene.apply(cancelOf(other, { reason: text }));

    const record = await scene.job(held.id);
    assert.deepEqual([held.payload, again.payload, record.payload, record.output], [payload, payload, payload, output]);
    assert.deepEqual(
      [record.error?.message, (await scene.store.history(held.id)).attempts[0]?.error.message],
      [text, text],
    );
    assert.match((await scene.job(other.id)).cancelReason ?? "", /^before.after$/s);
  });

  test("retry is due after its delay and keeps the error", async (scene) => {
    const error = anError({ name: "TimeoutError", message: "Too slow.", stack: "at handler" });
    const held = await scene.processing();
    scene.clock.advance(second);

    await scene.apply(retryOf(held, { delayMs: minute, error }));

    const record = await scene.job(held.id);
    assert.deepEqual(
      [record.runAt, record.error, record.attempt, record.finishedAt],
      [scene.clock.now() + minute, error, 1, null],
    );
  });

  test("fail keeps the reason, the error and the time", async (scene) => {
    const error = anError({ issues: [{ path: "/name", message: "Required" }] });
    const held = await scene.processing();
    scene.clock.advance(second);

    await scene.apply(failOf(held, { reason: "invalid_payload", error }));

    const record = await scene.job(held.id);
    assert.deepEqual(
      [record.failReason, record.error, record.finishedAt, record.attempt],
      ["invalid_payload", error, scene.clock.now(), 1],
    );
  });

  test("fail gives an attempt back that is not charged", async (scene) => {
    const held = await scene.processing();

    await scene.apply(failOf(held, { isCharged: false }));

    assert.equal((await scene.job(held.id)).attempt, 0);
  });

  test("snooze is due after its delay and gives the attempt back", async (scene) => {
    const held = await scene.processing();
    scene.clock.advance(second);

    await scene.apply(snoozeOf(held, { delayMs: minute }));

    const { runAt, attempt, epoch } = await scene.job(held.id);
    assert.deepEqual({ runAt, attempt, epoch }, { runAt: scene.clock.now() + minute, attempt: 0, epoch: 1 });
  });

  test("cancel keeps the reason and the time", async (scene) => {
    const held = await scene.processing();

    await scene.apply(cancelOf(held, { reason: "The campaign is gone." }));

    const { cancelReason, finishedAt } = await scene.job(held.id);
    assert.deepEqual([cancelReason, finishedAt], ["The campaign is gone.", scene.clock.now()]);
  });

  test("release gives the attempt back and keeps the epoch", async (scene) => {
    await scene.apply(releaseOf(await scene.processing()));

    const again = await scene.claimOne();

    assert.deepEqual([again.attempt, again.epoch], [1, 2]);
  });

  for (const kind of ["retry", "fail"] as const) {
    test(`${kind} counts a crash apart from the attempt`, async (scene) => {
      const held = await scene.processing();

      await scene.apply({ ...settlements[kind](held), hasCrashed: true } as Settlement);

      const { crashes, attempt } = await scene.job(held.id);
      assert.deepEqual({ crashes, attempt }, { crashes: 1, attempt: 1 });
    });

    test(`${kind} adds its error to the attempts`, async (scene) => {
      const held = await scene.processing();
      scene.clock.advance(second);

      await scene.apply({ ...settlements[kind](held), error: anError({ message: kind }) } as Settlement);

      const { attempts } = await scene.store.history(held.id);
      const endedAt = scene.clock.now();
      assert.deepEqual(attempts, [
        {
          attempt: 1,
          epoch: 1,
          workerId: defaultWorkerId,
          startedAt: endedAt - second,
          endedAt,
          crashed: false,
          error: anError({ message: kind }),
        },
      ]);
    });
  }

  for (const kind of ["complete", "snooze", "cancel", "release"] as const) {
    test(`${kind} adds nothing to the attempts`, async (scene) => {
      const held = await scene.processing();

      await scene.apply(settlements[kind](held));

      assert.deepEqual((await scene.store.history(held.id)).attempts, []);
    });
  }

  test("attempts are listed oldest first", async (scene) => {
    const first = await scene.processing();
    await scene.apply(retryOf(first, { delayMs: 0, error: anError({ message: "first" }), hasCrashed: true }));
    await scene.apply(retryOf(await scene.claimOne(), { delayMs: 0, error: anError({ message: "second" }) }));
    await scene.apply(failOf(await scene.claimOne(), { error: anError({ message: "third" }) }));

    const { attempts } = await scene.store.history(first.id);

    assert.deepEqual(
      attempts.map(({ attempt, epoch, crashed, error }) => [attempt, epoch, crashed, error.message]),
      [
        [1, 1, true, "first"],
        [2, 2, false, "second"],
        [3, 3, false, "third"],
      ],
    );
  });

  for (const kind of kinds) {
    test(`${kind} takes the job from its worker`, async (scene) => {
      const held = await scene.processing();

      await scene.apply(settlements[kind](held));

      const [worker] = await scene.store.workers();
      assert.equal(worker?.processing, 0);
    });
  }

  for (const kind of kinds) {
    const isDone = kind === "complete";
    test(`${kind} ${isDone ? "keeps" : "does not keep"} the name of the worker in the job`, async (scene) => {
      const held = await scene.processing();

      await scene.apply(settlements[kind](held));

      assert.equal((await scene.job(held.id)).workerId, isDone ? defaultWorkerId : null);
    });
  }

  test("a thousand settlements in one call are answered in order", async (scene) => {
    const jobs = Array.from({ length: 1_000 }, () => aNewJob());
    await scene.store.enqueue(jobs);
    const { jobs: held } = await scene.store.claim(aClaim({ limit: 1_000 }));

    const stale = (n: number) => n % 3 === 0;
    const results = await scene.store.settle(
      held.map((job, n) => completeOf({ id: job.id, epoch: stale(n) ? 0 : job.epoch })),
    );

    assert.deepEqual(
      results,
      held.map((_, n) => (stale(n) ? "lease_lost" : "applied")),
    );
  });

  test("no settlements are no work", async (scene) => {
    assert.deepEqual(await scene.store.settle([]), []);
  });
}

function fencing(test: TestCase): void {
  for (const state of jobStates.filter((state) => state !== "processing")) {
    test(`no settlement moves a ${state} job`, async (scene) => {
      const before = await scene.jobIn(state);

      const results = await scene.store.settle(everyKind.map((settlement) => settlement(before)));

      assert.deepEqual(
        results,
        everyKind.map(() => "lease_lost"),
      );
      assert.deepEqual(await scene.job(before.id), before);
    });
  }

  for (const [name, shift] of [
    ["an older", -1],
    ["a future", 1],
  ] as const) {
    test(`no settlement with ${name} epoch moves a job in flight`, async (scene) => {
      await scene.apply(releaseOf(await scene.processing()));
      const held = await scene.claimOne();
      const before = await scene.job(held.id);

      const wrong = { id: held.id, epoch: held.epoch + shift };
      const results = await scene.store.settle(everyKind.map((settlement) => settlement(wrong)));

      assert.deepEqual(
        results,
        everyKind.map(() => "lease_lost"),
      );
      assert.deepEqual(await scene.job(held.id), before);
    });
  }

  test("a settlement of a job that does not exist answers lease_lost", async (scene) => {
    const unknown = { id: aNewJob().id, epoch: 1 };

    assert.equal(await scene.settle(completeOf(unknown)), "lease_lost");
  });

  test("a settlement sent twice is applied once", async (scene) => {
    const held = await scene.processing();
    await scene.apply(completeOf(held, { output: '"first"' }));

    const second = await scene.settle(completeOf(held, { output: '"second"' }));

    assert.equal(second, "lease_lost");
    assert.equal((await scene.job(held.id)).output, '"first"');
  });

  test("of two settlements of one hold in one call the first wins", async (scene) => {
    const held = await scene.processing();

    const results = await scene.store.settle([failOf(held), completeOf(held)]);

    assert.deepEqual(results, ["applied", "lease_lost"]);
    assert.equal(await scene.state(held.id), "failed");
  });

  test("a settlement with a lost hold adds no attempt, no crash and no children", async (scene) => {
    const held = await scene.processing();
    await scene.apply(releaseOf(held));
    const child = aNewJob();

    await scene.store.settle([retryOf(held, { hasCrashed: true }), completeOf(held, { children: [child] })]);

    assert.equal((await scene.job(held.id)).crashes, 0);
    assert.deepEqual((await scene.store.history(held.id)).attempts, []);
    assert.deepEqual(await scene.store.get([child.id]), [null]);
  });
}

function cancelRequests(test: TestCase): void {
  for (const kind of ["retry", "snooze", "release"] as const) {
    test(`${kind} of a job that is asked to stop cancels it, with the operator's reason`, async (scene) => {
      const held = await scene.processing();
      await scene.requestCancel(held.id, "Wrong file.");

      const result = await scene.settle(settlements[kind](held));

      const { state, cancelReason, finishedAt } = await scene.job(held.id);
      assert.equal(result, "cancelled");
      assert.deepEqual(
        { state, cancelReason, finishedAt },
        { state: "cancelled", cancelReason: "Wrong file.", finishedAt: scene.clock.now() },
      );
    });
  }

  for (const [kind, state] of [
    ["complete", "completed"],
    ["fail", "failed"],
    ["cancel", "cancelled"],
  ] as const) {
    test(`${kind} of a job that is asked to stop is applied as it is`, async (scene) => {
      const held = await scene.processing();
      await scene.requestCancel(held.id);

      const result = await scene.settle(settlements[kind](held));

      assert.equal(result, "applied");
      assert.equal(await scene.state(held.id), state);
    });
  }

  test("a job that completes although it was asked to stop keeps no trace of that", async (scene) => {
    const held = await scene.processing();
    await scene.requestCancel(held.id, "Too late.");

    await scene.apply(completeOf(held));

    const { cancelReason, isCancelRequested } = await scene.job(held.id);
    assert.deepEqual({ cancelReason, isCancelRequested }, { cancelReason: null, isCancelRequested: false });
  });

  test("a request to stop ends with the attempt it was meant for", async (scene) => {
    const held = await scene.processing();
    await scene.requestCancel(held.id);
    await scene.apply(failOf(held));
    await scene.store.amend(aCommand("retry", [held.id]));

    const again = await scene.claimOne();

    assert.equal((await scene.job(held.id)).isCancelRequested, false);
    assert.equal(await scene.settle(retryOf(again)), "applied");
  });
}

function children(test: TestCase): void {
  test("complete adds its children with it", async (scene) => {
    const held = await scene.processing();
    const [now, later] = [aNewJob({ type: "child" }), aNewJob({ type: "child", due: { afterMs: minute } })];

    await scene.apply(completeOf(held, { children: [now, later] }));

    assert.equal(await scene.state(now.id), "pending");
    assert.equal(await scene.state(later.id), "scheduled");
  });

  test("a child takes over the key that its parent gives back", async (scene) => {
    const unique = { key: "nightly", holdWhile: "active", periodMs: null, onConflict: "keep" } as const;
    const held = await scene.processing({ unique });
    const next = aNewJob({ unique, due: { afterMs: minute } });

    await scene.apply(completeOf(held, { children: [next] }));

    assert.equal(await scene.state(next.id), "scheduled");
  });

  test("a child with a key that another job holds is left out, and the parent completes", async (scene) => {
    const unique = { key: "shared", holdWhile: "active", periodMs: null, onConflict: "keep" } as const;
    const held = await scene.processing();
    await scene.enqueue({ type: "child", unique });
    const child = aNewJob({ type: "child", unique });

    await scene.apply(completeOf(held, { children: [child] }));

    assert.equal(await scene.state(held.id), "completed");
    assert.deepEqual(await scene.store.get([child.id]), [null]);
  });
}

function hints(test: TestCase): void {
  for (const kind of kinds.filter((kind) => kind !== "release" && kind !== "snooze" && kind !== "retry")) {
    test(`${kind} hints that a job has ended`, async (scene) => {
      const held = await scene.processing();
      const hint = scene.nextHint(({ ended }) => ended);

      await scene.apply(settlements[kind](held));

      assert.equal((await hint).ended, true);
      assert.equal(hasEnded(await scene.state(held.id)), true);
    });
  }

  for (const kind of ["retry", "snooze", "release"] as const) {
    test(`${kind} hints at work`, async (scene) => {
      const held = await scene.processing();
      const hint = scene.nextHint(({ work }) => work);

      await scene.apply(settlements[kind](held));

      assert.equal((await hint).work, true);
    });
  }

  test("a listener that unsubscribed hears nothing more", async (scene) => {
    const heard: unknown[] = [];
    const unsubscribe = scene.store.subscribe((hint) => heard.push(hint));
    unsubscribe();
    const hint = scene.nextHint(({ work }) => work);

    await scene.enqueue();

    await hint;
    assert.deepEqual(heard, []);
  });
}
