/**
 * Flow control: how many jobs of a key are processing, how many start in a time, what comes in, and whose turn it is. What is
 * decided is admission.ts, intake.ts and fairness.ts; here is that every store asks them, and loses nothing over it. Serves R1, O2.
 */
import assert from "node:assert/strict";
import type { TypeControls } from "../../admission.js";
import type { Controls, JobId } from "../../job.js";
import type { SettingsPatch } from "../../settings.js";
import type { ClaimedJob, NewJob } from "../../store.js";
import {
  aBeat,
  aClaim,
  aCommand,
  aNewJob,
  aUniqueClaim,
  cancelOf,
  completeOf,
  defaultType,
  failOf,
  releaseOf,
  retryOf,
  snoozeOf,
} from "../builders.js";
import { hour, minute, only, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

export function flowCases(test: TestCase): void {
  concurrencyPerKey(test);
  rates(test);
  intake(test);
  groups(test);
}

function aControls(overrides: Partial<Controls> = {}): Controls {
  return { concurrencyKey: null, rateKey: null, weight: 1, group: null, cost: 1, ...overrides };
}

/** A job of this concurrency key. */
function keyed(key: string, overrides: Partial<NewJob> = {}): Partial<NewJob> {
  return { ...overrides, controls: aControls({ concurrencyKey: `${overrides.type ?? defaultType} ${key}` }) };
}

/** A claim as a worker sends it whose definition has these limits. */
function claimWith(
  controls: Partial<TypeControls>,
  more: { limit?: number; workerId?: string; maxVersion?: number } = {},
) {
  const { maxVersion = 1_000_000, ...request } = more;
  const type = {
    type: defaultType,
    maxVersion,
    controls: { concurrencyPerKey: null, rate: null, ratePerKey: null, ...controls },
  };
  return aClaim({ types: [type], ...request });
}

async function claimed(scene: Scene, ...how: Parameters<typeof claimWith>): Promise<readonly ClaimedJob[]> {
  return (await scene.store.claim(claimWith(...how))).jobs;
}

async function claimedIds(scene: Scene, ...how: Parameters<typeof claimWith>): Promise<readonly JobId[]> {
  return (await claimed(scene, ...how)).map(({ id }) => id);
}

async function set(scene: Scene, patch: SettingsPatch): Promise<void> {
  const change = { type: defaultType, patch, ifVersion: null, actor: "operator-1", reason: null, requestId: null };
  assert.equal((await scene.store.setType(change)).outcome, "applied");
}

async function countsOf(scene: Scene) {
  const { counts } = only(await scene.store.counts({ types: [defaultType] }));
  return Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0));
}

function concurrencyPerKey(test: TestCase): void {
  const onePerKey = { concurrencyPerKey: 1 };

  test("of each concurrency key no more than the limit are handed out, in turn; the others are blocked", async (scene) => {
    const a = [await scene.enqueue(keyed("a")), await scene.enqueue(keyed("a"))];
    const b = [await scene.enqueue(keyed("b")), await scene.enqueue(keyed("b"))];

    assert.deepEqual(await claimedIds(scene, onePerKey), [a[0], b[0]]);
    const waiting = await scene.job(a[1]!);
    assert.deepEqual([waiting.state, waiting.heldBy], ["blocked", "concurrency_key"]);
    assert.deepEqual(waiting.controls, aControls({ concurrencyKey: "example a" }));
    assert.deepEqual(await countsOf(scene), { processing: 2, blocked: 2 });
  });

  test("full keys do not keep the others of the type from being handed out", async (scene) => {
    await scene.enqueue(keyed("full"));
    await claimed(scene, onePerKey);
    for (let n = 0; n < 50; n++) await scene.enqueue(keyed("full"));
    const free = await scene.enqueue(keyed("free"));

    assert.deepEqual(await claimedIds(scene, onePerKey, { limit: 1 }), [free]);
  });

  test("a job without a key does not count and is not held", async (scene) => {
    const ids = [await scene.enqueue(), await scene.enqueue()];
    assert.deepEqual(await claimedIds(scene, onePerKey), ids);
  });

  const endings = {
    completed: (job: ClaimedJob) => completeOf(job),
    failed: (job: ClaimedJob) => failOf(job),
    cancelled: (job: ClaimedJob) => cancelOf(job),
    retried: (job: ClaimedJob) => retryOf(job),
    snoozed: (job: ClaimedJob) => snoozeOf(job),
  };
  for (const [name, ending] of Object.entries(endings)) {
    test(`the settle that frees the key lets the next job go on: ${name}`, async (scene) => {
      await scene.enqueue(keyed("a"));
      const next = await scene.enqueue(keyed("a"));
      const last = await scene.enqueue(keyed("a"));
      const holder = only(await claimed(scene, onePerKey));
      assert.equal(await scene.state(next), "blocked");

      const hint = scene.nextHint(({ work }) => work);
      await scene.apply(ending(holder));

      await hint;
      assert.deepEqual([await scene.state(next), await scene.state(last)], ["pending", "blocked"]);
      assert.deepEqual(await claimedIds(scene, onePerKey), [next]);
    });
  }

  test("a job that is given back keeps its key's place, and runs before those that wait", async (scene) => {
    const first = await scene.enqueue(keyed("a"));
    const next = await scene.enqueue(keyed("a"));
    const holder = only(await claimed(scene, onePerKey));

    await scene.apply(releaseOf(holder));

    assert.equal(await scene.state(next), "blocked");
    assert.deepEqual(await claimedIds(scene, onePerKey), [first]);
  });

  test("those that wait go on by priority, then by age", async (scene) => {
    await scene.enqueue(keyed("a"));
    let holder = only(await claimed(scene, onePerKey));
    const low = await scene.enqueue(keyed("a"));
    const high = await scene.enqueue(keyed("a", { priority: 5 }));
    const late = await scene.enqueue(keyed("a"));
    await claimed(scene, onePerKey);

    const order: JobId[] = [];
    for (let n = 0; n < 3; n++) {
      await scene.apply(completeOf(holder));
      holder = only(await claimed(scene, onePerKey));
      order.push(holder.id);
    }
    assert.deepEqual(order, [high, low, late]);
  });

  test("a job that got the place and is cancelled before it runs passes it on", async (scene) => {
    await scene.enqueue(keyed("a"));
    const next = await scene.enqueue(keyed("a"));
    const last = await scene.enqueue(keyed("a"));
    await scene.apply(completeOf(only(await claimed(scene, onePerKey))));

    await scene.store.amend(aCommand("cancel", [next]));

    assert.equal(await scene.state(last), "pending");
  });

  test("a blocked job can be cancelled, and is not brought back by the key", async (scene) => {
    await scene.enqueue(keyed("a"));
    const next = await scene.enqueue(keyed("a"));
    const holder = only(await claimed(scene, onePerKey));

    assert.equal(only((await scene.store.amend(aCommand("cancel", [next]))).results).outcome, "applied");
    await scene.apply(completeOf(holder));

    assert.equal(await scene.state(next), "cancelled");
    assert.deepEqual(await countsOf(scene), { completed: 1, cancelled: 1 });
  });

  test("the rescue of a lost worker's job frees the key as well", async (scene) => {
    await scene.store.heartbeat(aBeat({ workerId: "doomed", leaseMs: second }));
    await scene.enqueue(keyed("a"));
    const next = await scene.enqueue(keyed("a"));
    const holder = only(await claimed(scene, onePerKey, { workerId: "doomed" }));

    scene.clock.advance(minute);
    const { jobs } = await scene.store.findLost({ limit: 10 });
    assert.deepEqual(
      jobs.map(({ id }) => id),
      [holder.id],
    );
    await scene.apply(retryOf(holder, { hasCrashed: true }));

    assert.deepEqual(await claimedIds(scene, onePerKey), [next]);
  });

  test("a greater limit set by an operator lets more go on at once, a smaller one holds back", async (scene) => {
    const ids = [];
    for (let n = 0; n < 4; n++) ids.push(await scene.enqueue(keyed("a")));
    const [first] = await claimed(scene, onePerKey);

    await set(scene, { concurrencyPerKey: 3 });
    const more = await claimed(scene, onePerKey);
    assert.deepEqual(
      more.map(({ id }) => id),
      [ids[1], ids[2]],
    );

    await set(scene, { concurrencyPerKey: 1 });
    await scene.apply(completeOf(first!));
    assert.deepEqual(await claimedIds(scene, onePerKey), []);
    await scene.apply(completeOf(more[0]!));
    await scene.apply(completeOf(more[1]!));
    assert.deepEqual(await claimedIds(scene, onePerKey), [ids[3]]);
  });

  test("an operator may limit the keys of a type whose definition does not", async (scene) => {
    for (let n = 0; n < 3; n++) await scene.enqueue(keyed("a"));
    await set(scene, { concurrencyPerKey: 2 });

    const { jobs, limited } = await scene.store.claim(aClaim());
    assert.deepEqual([jobs.length, limited], [2, ["example"]]);
  });

  test("limits of the type and of the key hold together", async (scene) => {
    for (const key of ["a", "a", "b", "b", "c"]) await scene.enqueue(keyed(key));
    await set(scene, { concurrency: 2 });
    assert.equal((await claimed(scene, onePerKey)).length, 2);
    assert.equal((await claimed(scene, onePerKey)).length, 0);
  });

  test("of workers that claim at one moment, none goes beyond the limit of a key", async (scene) => {
    for (let n = 0; n < 12; n++) await scene.enqueue(keyed(`key-${n % 3}`));
    const workers = ["w1", "w2", "w3", "w4"];
    for (const worker of workers) await scene.register(worker);

    const claims = await Promise.all(workers.map((workerId) => claimed(scene, onePerKey, { workerId, limit: 4 })));

    assert.equal(claims.flat().length, 3);
    assert.deepEqual(await countsOf(scene), { processing: 3, blocked: 9 });
  });

  test("however claims and settles fall, every job of a key runs, one at a time", async (scene) => {
    const ids = new Set<JobId>();
    for (let n = 0; n < 12; n++) ids.add(await scene.enqueue(keyed(`key-${n % 2}`)));
    const workers = ["w1", "w2", "w3"];
    for (const worker of workers) await scene.register(worker);

    const running = new Map<JobId, ClaimedJob>();
    for (let round = 0; round < 40 && ids.size > 0; round++) {
      const [settled, ...claims] = await Promise.all([
        scene.store.settle([...running.values()].map((job) => completeOf(job))),
        ...workers.map((workerId) => claimed(scene, onePerKey, { workerId, limit: 2 })),
      ]);
      assert.ok(settled.every((result) => result === "applied"));
      for (const id of running.keys()) ids.delete(id);
      running.clear();
      for (const job of claims.flat()) running.set(job.id, job);
      assert.ok(running.size <= 2, `${running.size} of two keys`);
    }
    assert.equal(ids.size, 0);
  });

  test("a blocked job that takes another payload is asked for anew, with its new key", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "replace" });
    await scene.enqueue(keyed("a"));
    await claimed(scene, onePerKey);
    const moved = await scene.enqueue({ ...keyed("a"), unique });
    await claimed(scene, onePerKey);
    assert.equal(await scene.state(moved), "blocked");

    const answer = await scene.add({ ...keyed("b", { payload: '"other"' }), unique });

    assert.equal(answer.outcome, "replaced");
    assert.deepEqual(await claimedIds(scene, onePerKey), [moved]);
  });

  test("a place that nobody takes, for want of a newer worker, is found in the end", async (scene) => {
    await scene.enqueue(keyed("a"));
    const newer = await scene.enqueue({ ...keyed("a"), version: 2 });
    const last = await scene.enqueue(keyed("a"));
    const holder = only(await claimed(scene, onePerKey, { limit: 1 }));
    // Both wait for the key by now.
    await claimed(scene, onePerKey);
    await scene.apply(completeOf(holder));
    assert.deepEqual(await claimedIds(scene, onePerKey, { maxVersion: 1 }), []);

    await scene.store.tidy?.();
    await scene.store.prune({ retentionMs: hour, limit: 10 });

    assert.deepEqual(await claimedIds(scene, onePerKey, { maxVersion: 1 }), [last]);
    assert.equal(await scene.state(newer), "pending");
  });
}

function rates(test: TestCase): void {
  const tenPerSecond = { limit: 10, perMs: second, burst: 1 };

  test("no more start than the rate of the type allows, and the claim says when the next may", async (scene) => {
    const ids = [await scene.enqueue(), await scene.enqueue(), await scene.enqueue()];
    const rate = { rate: tenPerSecond };

    const first = await scene.store.claim(claimWith(rate));
    assert.deepEqual(
      first.jobs.map(({ id }) => id),
      [ids[0]],
    );
    assert.deepEqual([first.nextDueInMs, first.limited], [100, ["example"]]);

    scene.clock.advance(99);
    const early = await scene.store.claim(claimWith(rate));
    assert.deepEqual([early.jobs.length, early.nextDueInMs], [0, 1]);
    scene.clock.advance(1);
    assert.deepEqual(await claimedIds(scene, rate), [ids[1]]);
    assert.equal(await scene.state(ids[2]!), "pending");
  });

  test("after a quiet time a burst may start at once, and no more", async (scene) => {
    for (let n = 0; n < 10; n++) await scene.enqueue();
    const rate = { rate: { ...tenPerSecond, burst: 4 } };
    assert.equal((await claimed(scene, rate)).length, 4);
    scene.clock.advance(250);
    assert.equal((await claimed(scene, rate)).length, 2);
    scene.clock.advance(10 * second);
    assert.equal((await claimed(scene, rate)).length, 4);
  });

  test("whatever the order of claims, in no second more start than the rate and its burst", async (scene) => {
    for (let n = 0; n < 40; n++) await scene.enqueue();
    const starts: number[] = [];
    const workers = ["w1", "w2", "w3"];
    for (const worker of workers) await scene.register(worker);
    for (let at = 0; at < 3 * second; at += 70) {
      const claims = await Promise.all(
        workers.map((workerId) => claimed(scene, { rate: { ...tenPerSecond, burst: 2 } }, { workerId })),
      );
      for (const job of claims.flat()) starts.push(job.startedAt);
      scene.clock.advance(70);
    }
    for (const start of starts) {
      const inWindow = starts.filter((each) => each >= start && each < start + second).length;
      assert.ok(inWindow <= 10 + 2, `${inWindow} in one second`);
    }
    assert.ok(starts.length >= 28, `${starts.length} in three seconds`);
  });

  test("heavy jobs take more of the rate, and light ones do not pass them", async (scene) => {
    const heavy = await scene.enqueue({ controls: aControls({ weight: 30 }) });
    const second30 = await scene.enqueue({ controls: aControls({ weight: 30 }) });
    const light = await scene.enqueue({ controls: aControls({ weight: 1 }) });
    const rate = { rate: { limit: 60, perMs: minute, burst: 30 } };

    assert.deepEqual(await claimedIds(scene, rate), [heavy]);
    scene.clock.advance(29 * second);
    assert.deepEqual(await claimedIds(scene, rate), []);
    scene.clock.advance(second);
    assert.deepEqual(await claimedIds(scene, rate), [second30]);
    scene.clock.advance(second);
    assert.deepEqual(await claimedIds(scene, rate), [light]);
  });

  test("a job heavier than the burst starts when nothing is owed, and owes for it afterwards", async (scene) => {
    const giant = await scene.enqueue({ controls: aControls({ weight: 100 }) });
    const next = await scene.enqueue();
    const rate = { rate: { limit: 10, perMs: second, burst: 5 } };
    assert.deepEqual(await claimedIds(scene, rate), [giant]);
    scene.clock.advance(9 * second);
    assert.deepEqual(await claimedIds(scene, rate), []);
    scene.clock.advance(second);
    assert.deepEqual(await claimedIds(scene, rate), [next]);
  });

  const rateKey = (key: string) => ({ controls: aControls({ rateKey: `example ${key}` }) });
  const perKey = { ratePerKey: { limit: 1, perMs: minute, burst: 1 } };

  test("a job that finds its key's rate spent is given its start, once, and starts then", async (scene) => {
    const now = scene.clock.now();
    const a = [];
    for (let n = 0; n < 3; n++) a.push(await scene.enqueue(rateKey("a")));
    const b = await scene.enqueue(rateKey("b"));

    assert.deepEqual(await claimedIds(scene, perKey), [a[0], b]);
    const planned = [await scene.job(a[1]!), await scene.job(a[2]!)];
    assert.deepEqual(
      planned.map(({ state, heldBy, runAt }) => [state, heldBy, runAt - now]),
      [
        ["scheduled", "rate", minute],
        ["scheduled", "rate", 2 * minute],
      ],
    );
    assert.deepEqual(await countsOf(scene), { processing: 2, scheduled: 2 });

    scene.clock.advance(minute);
    // A job that comes now does not take the start that was given away.
    const late = await scene.enqueue(rateKey("a"));
    assert.deepEqual(await claimedIds(scene, perKey), [a[1]]);
    assert.equal((await scene.job(late)).runAt - now, 3 * minute);
    assert.deepEqual([await scene.state(a[2]!), (await scene.job(a[1]!)).heldBy], ["scheduled", null]);
  });

  test("a changed limit makes new plans for what waits", async (scene) => {
    const ids = [];
    for (let n = 0; n < 4; n++) ids.push(await scene.enqueue(rateKey("a")));
    await claimed(scene, perKey);
    assert.deepEqual(await countsOf(scene), { processing: 1, scheduled: 3 });

    await set(scene, { ratePerKey: { limit: 1, perMs: second, burst: 1 } });
    scene.clock.advance(second);

    assert.deepEqual(await claimedIds(scene, perKey), [ids[1]]);
    scene.clock.advance(second);
    assert.deepEqual(await claimedIds(scene, perKey), [ids[2]]);
  });

  test("an operator may give a rate to a type, change it, and take it back", async (scene) => {
    for (let n = 0; n < 5; n++) await scene.enqueue();
    await set(scene, { rate: tenPerSecond });
    const take = async () => (await scene.store.claim(aClaim({ limit: 2 }))).jobs.length;
    assert.equal(await take(), 1);
    assert.equal(await take(), 0);
    await set(scene, { rate: { ...tenPerSecond, limit: 1 } });
    scene.clock.advance(second);
    assert.equal(await take(), 1);
    assert.equal(await take(), 0);
    await set(scene, { rate: null });
    assert.equal(await take(), 2);
  });

  test("a rate of one type leaves others alone", async (scene) => {
    await scene.enqueue();
    await scene.enqueue();
    const other = [await scene.enqueue({ type: "other" }), await scene.enqueue({ type: "other" })];
    const limited = { type: "example", controls: { concurrencyPerKey: null, rate: tenPerSecond, ratePerKey: null } };
    const { jobs } = await scene.store.claim(aClaim({ types: [limited, "other"] }));
    assert.deepEqual(jobs.map(({ id }) => id).slice(1), other);
    assert.equal(jobs.length, 3);
  });

  test("a paused type spends nothing of its rate", async (scene) => {
    const id = await scene.enqueue();
    await set(scene, { pause: {} });
    assert.deepEqual(await claimedIds(scene, { rate: tenPerSecond }), []);
    await set(scene, { pause: null });
    assert.deepEqual(await claimedIds(scene, { rate: tenPerSecond }), [id]);
  });
}

function intake(test: TestCase): void {
  test("beyond the backlog a job is refused, is not there, and the next is taken in when one has gone", async (scene) => {
    await set(scene, { enqueueLimit: { maxBacklog: 2 } });
    await scene.enqueue();
    await scene.enqueue({ due: { afterMs: hour } });
    const job = aNewJob();

    assert.deepEqual(only(await scene.store.enqueue([job])), {
      outcome: "refused",
      reason: "backlog",
      retryAfterMs: second,
    });
    assert.deepEqual(await scene.store.get([job.id]), [null]);
    assert.deepEqual(await countsOf(scene), { pending: 1, scheduled: 1 });

    await scene.claimOne();
    assert.equal((await scene.add(job)).outcome, "created");
  });

  test("one call of many jobs is taken in as far as it fits, job by job", async (scene) => {
    await set(scene, { enqueueLimit: { maxBacklog: 3 } });
    const other = aNewJob({ type: "other" });
    const results = await scene.store.enqueue([aNewJob(), aNewJob(), aNewJob(), aNewJob(), other, aNewJob()]);
    assert.deepEqual(
      results.map(({ outcome }) => outcome),
      ["created", "created", "created", "refused", "created", "refused"],
    );
  });

  test("callers at one moment do not go beyond the backlog", async (scene) => {
    await set(scene, { enqueueLimit: { maxBacklog: 5 } });
    const results = await Promise.all(Array.from({ length: 12 }, () => scene.store.enqueue([aNewJob()])));
    assert.equal(results.flat().filter(({ outcome }) => outcome === "created").length, 5);
  });

  test("a rate of enqueues refuses with the time after which to try again", async (scene) => {
    await set(scene, { enqueueLimit: { rate: { limit: 2, perMs: second, burst: 2 } } });
    const outcomes = async () => only(await scene.store.enqueue([aNewJob()]));
    assert.deepEqual([(await outcomes()).outcome, (await outcomes()).outcome], ["created", "created"]);
    assert.deepEqual(await outcomes(), { outcome: "refused", reason: "rate", retryAfterMs: 500 });
    scene.clock.advance(500);
    assert.equal((await outcomes()).outcome, "created");
  });

  test("each caller has a rate of its own", async (scene) => {
    await set(scene, { enqueueLimit: { ratePerCaller: { limit: 1, perMs: minute, burst: 1 } } });
    const from = async (caller: string | null) => (await scene.add({ caller })).outcome;
    assert.deepEqual(
      [await from("key-1"), await from("key-1"), await from("key-2"), await from(null), await from(null)],
      ["created", "refused", "created", "created", "created"],
    );
  });

  test("the definition's limit holds where nobody has set another", async (scene) => {
    const limited = { intake: { limit: { maxBacklog: 1 }, whenOff: "hold", isOn: null } } as const;
    assert.equal((await scene.add(limited)).outcome, "created");
    assert.equal((await scene.add(limited)).outcome, "refused");
    await set(scene, { enqueueLimit: { maxBacklog: 2 } });
    assert.equal((await scene.add(limited)).outcome, "created");
    assert.equal((await scene.add(limited)).outcome, "refused");
  });

  test("what adds nothing is not refused: the same id, a duplicate, a replacement", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "replace" });
    const job = aNewJob({ unique, payload: '"old"' });
    await scene.add(job);
    await set(scene, { enqueueLimit: { maxBacklog: 1 } });
    assert.equal((await scene.add(job)).outcome, "created");
    assert.equal((await scene.add({ unique: { ...unique, onConflict: "keep" } })).outcome, "duplicate");
    assert.equal((await scene.add({ unique, payload: '"new"' })).outcome, "replaced");
  });

  test("a job that was refused has not taken its unique key", async (scene) => {
    await set(scene, { enqueueLimit: { maxBacklog: 1 } });
    await scene.enqueue();
    assert.equal((await scene.add({ unique: aUniqueClaim() })).outcome, "refused");
    await set(scene, { enqueueLimit: null });
    assert.equal((await scene.add({ unique: aUniqueClaim() })).outcome, "created");
  });

  test("children of a job are part of work that was taken in: never refused", async (scene) => {
    const parent = await scene.processing();
    const blocker = await scene.enqueue();
    await set(scene, { enqueueLimit: { maxBacklog: 1 }, rollout: { percentage: 100 } });
    const child = aNewJob({ intake: { limit: { maxBacklog: 1 }, whenOff: "reject", isOn: false } });
    await scene.apply(completeOf(parent, { children: [child, aNewJob()] }));
    const record = await scene.job(child.id);
    assert.deepEqual([record.state, record.heldBy], ["blocked", "rollout"]);
    assert.deepEqual(await countsOf(scene), { completed: 1, pending: 2, blocked: 1 });
    assert.ok(blocker);
  });

  // ── rollout ───────────────────────────────────────────────────────────────

  test("a job whose type is not switched on for it is taken in and waits", async (scene) => {
    await set(scene, { rollout: { percentage: 0 } });
    const result = await scene.add({ due: { afterMs: minute } });
    assert.deepEqual(result.outcome === "created" && result.state, "blocked");
    const { jobs } = await scene.store.list({ filter: { states: ["blocked"] }, page: { before: null, limit: 10 } });
    const { id, heldBy } = only(jobs);
    assert.equal(heldBy, "rollout");
    scene.clock.advance(hour);
    assert.deepEqual(await scene.claimIds(), []);

    const released = await scene.store.amend(aCommand("release", [id]));
    assert.deepEqual(only(released.results), { id, outcome: "applied", state: "pending" });
    assert.deepEqual(await scene.claimIds(), [id]);
  });

  test("a job that is let go before it is due waits for its time", async (scene) => {
    await set(scene, { rollout: { percentage: 0 } });
    const id = aNewJob().id;
    await scene.add({ id, due: { afterMs: minute } });
    await scene.store.amend(aCommand("release", [id]));
    assert.equal(await scene.state(id), "scheduled");
    scene.clock.advance(minute);
    assert.deepEqual(await scene.claimIds(), [id]);
  });

  test("it is refused where its definition says so", async (scene) => {
    await set(scene, { rollout: { percentage: 0 } });
    const rejecting = { intake: { limit: null, whenOff: "reject", isOn: null } } as const;
    assert.deepEqual(await scene.add(rejecting), { outcome: "refused", reason: "rollout", retryAfterMs: null });
  });

  test("an allow list is let in, whatever the percentage", async (scene) => {
    await set(scene, { rollout: { percentage: 0, allow: ["g1"] } });
    const of = async (group: string) => scene.add({ controls: aControls({ group }) });
    const [listed, other] = [await of("g1"), await of("g2")];
    assert.equal(listed.outcome === "created" && listed.state, "pending");
    assert.equal(other.outcome === "created" && other.state, "blocked");
  });

  test("a flag of the application's goes before the stored rollout", async (scene) => {
    await set(scene, { rollout: { percentage: 0 } });
    const on = await scene.add({ intake: { limit: null, whenOff: "hold", isOn: true } });
    await set(scene, { rollout: null });
    const off = await scene.add({ intake: { limit: null, whenOff: "hold", isOn: false } });
    assert.equal(on.outcome === "created" && on.state, "pending");
    assert.equal(off.outcome === "created" && off.state, "blocked");
  });
}

function groups(test: TestCase): void {
  const of = (group: string, overrides: Partial<NewJob> = {}, cost = 1) => ({
    ...overrides,
    controls: aControls({ group, cost }),
  });

  test("a group that comes late waits for a handful of others, not for all of them", async (scene) => {
    const many = Array.from({ length: 200 }, () => aNewJob(of("large")));
    await scene.store.enqueue(many);
    const few = [await scene.enqueue(of("small")), await scene.enqueue(of("small"))];

    const order = await scene.claimIds({ limit: 10 });
    assert.ok(order.indexOf(few[0]!) >= 0 && order.indexOf(few[0]!) <= 2, `at ${order.indexOf(few[0]!)}`);
    assert.ok(order.indexOf(few[1]!) >= 0 && order.indexOf(few[1]!) <= 4, `at ${order.indexOf(few[1]!)}`);
  });

  test("also when much of the large group has been claimed already", async (scene) => {
    await scene.store.enqueue(Array.from({ length: 100 }, () => aNewJob(of("large"))));
    await scene.claimIds({ limit: 60 });
    const late = await scene.enqueue(of("small"));
    assert.ok((await scene.claimIds({ limit: 3 })).includes(late));
  });

  test("within a group the order is that of enqueueing", async (scene) => {
    const jobs = Array.from({ length: 20 }, () => aNewJob(of("one")));
    await scene.store.enqueue(jobs.slice(0, 10));
    await scene.store.enqueue(jobs.slice(10));
    assert.deepEqual(
      await scene.claimIds(),
      jobs.map(({ id }) => id),
    );
  });

  test("groups that wait together take turns", async (scene) => {
    const groupOf = new Map<JobId, string>();
    for (const group of ["a", "b", "c"]) {
      const jobs = Array.from({ length: 5 }, () => aNewJob(of(group)));
      for (const { id } of jobs) groupOf.set(id, group);
      await scene.store.enqueue(jobs);
    }
    const order = (await scene.claimIds()).map((id) => groupOf.get(id)!);
    for (let n = 3; n < 12; n += 3) assert.equal(new Set(order.slice(n, n + 3)).size, 3, order.join(""));
  });

  test("a group whose jobs cost half gets twice as much", async (scene) => {
    const cheap = new Set<JobId>();
    for (let n = 0; n < 30; n++) cheap.add(await scene.enqueue(of("half", {}, 0.5)));
    await scene.store.enqueue(Array.from({ length: 30 }, () => aNewJob(of("whole"))));
    const first = (await scene.claimIds({ limit: 30 })).filter((id) => cheap.has(id)).length;
    assert.ok(first >= 18 && first <= 23, `${first} of 30`);
  });

  test("what a group has had while nobody else waited is not held against it", async (scene) => {
    await scene.store.enqueue(Array.from({ length: 50 }, () => aNewJob(of("old"))));
    await scene.claimIds();
    await scene.store.enqueue(Array.from({ length: 20 }, () => aNewJob(of("new"))));
    const old = await scene.enqueue(of("old"));
    assert.ok((await scene.claimIds({ limit: 3 })).includes(old));
  });

  test("a higher priority goes before any group's turn", async (scene) => {
    await scene.store.enqueue(Array.from({ length: 5 }, () => aNewJob(of("a"))));
    const urgent = await scene.enqueue(of("b", { priority: 1 }));
    assert.deepEqual((await scene.claimIds({ limit: 1 }))[0], urgent);
  });

  test("a job that is tried again has its place still", async (scene) => {
    const first = await scene.enqueue(of("a"));
    await scene.store.enqueue(Array.from({ length: 5 }, () => aNewJob(of("a"))));
    const held = await scene.claimOne();
    assert.equal(held.id, first);
    await scene.apply(retryOf(held, { delayMs: second }));
    scene.clock.advance(second);
    assert.deepEqual((await scene.claimIds({ limit: 1 }))[0], first);
  });
}
