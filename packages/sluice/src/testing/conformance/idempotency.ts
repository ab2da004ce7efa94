/**
 * Idempotency keys (I7): one key, one job, for as long as the key is remembered.
 */
import assert from "node:assert/strict";
import type { JobId } from "../../job.js";
import type { EnqueueResult, NewJob } from "../../store.js";
import { aCommand, aJobId, anIdempotency, aNewJob, aUniqueClaim, completeOf } from "../builders.js";
import { hour, minute, only } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

const idempotency = anIdempotency({ periodMs: 100 * hour });
const otherFingerprint = { ...idempotency, fingerprint: "something else" };

export function idempotencyCases(test: TestCase): void {
  repeating(test);
  reusing(test);
  expiring(test);
  standingFor(test);
  sendingAgain(test);
  inOneCall(test);
  atOnce(test);
}

function repeating(test: TestCase): void {
  test("the first enqueue under a key creates its job", async (scene) => {
    const now = scene.clock.now();

    const result = await scene.add({ idempotency });

    assert.deepEqual(result, { outcome: "created", state: "pending", createdAt: now, runAt: now });
  });

  test("the second enqueue under a key adds nothing and answers the first job", async (scene) => {
    const id = await scene.enqueue({ idempotency, payload: '{"text":"ä 🗝️"}' });

    const result = await scene.add({ idempotency });

    assert.deepEqual(result, { outcome: "repeated", id, job: await scene.job(id) });
    assert.deepEqual(await idsOf(scene), [id]);
  });

  for (const state of ["scheduled", "blocked", "processing", "retrying", "completed", "failed", "cancelled"] as const) {
    test(`a repeat answers a job that is ${state} as it is now`, async (scene) => {
      const job = await scene.jobIn(state, { idempotency: state === "blocked" ? null : idempotency });
      if (state === "blocked") await keepFor(scene, job.id);

      const result = await scene.add({ idempotency });

      assert.deepEqual(result, { outcome: "repeated", id: job.id, job });
    });
  }

  test("a repeat of a job that was deleted says which it was, and does not run it again", async (scene) => {
    const id = await scene.enqueue({ idempotency });
    await scene.apply(completeOf(await scene.claimOne()));
    scene.clock.advance(hour);
    await scene.store.prune({ retentionMs: minute, limit: 10 });

    const result = await scene.add({ idempotency });

    assert.deepEqual(result, { outcome: "repeated", id, job: null });
    assert.deepEqual(await idsOf(scene), []);
  });

  test("jobs with keys of their own know nothing of each other", async (scene) => {
    const keys = ["1", "2", "1 ", "", "ключ"].map((key) => ({ ...idempotency, key }));

    const results = await scene.store.enqueue(keys.map((each) => aNewJob({ idempotency: each })));

    assert.deepEqual(outcomesOf(results), ["created", "created", "created", "created", "created"]);
  });

  test("a repeat is no arrival: it is answered where the type takes in no more", async (scene) => {
    const limited = { intake: { limit: { maxBacklog: 1 }, whenOff: "hold", isOn: null }, idempotency } as const;
    await scene.enqueue(limited);

    const results = [await scene.add(limited), await scene.add({ ...limited, idempotency: otherFingerprint })];

    assert.deepEqual(outcomesOf(results), ["repeated", "key_reused"]);
  });

  test("a repeat does not replace the payload of the job that holds its unique key", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "replace" });
    const id = await scene.enqueue({ unique, idempotency, payload: '"old"' });

    const result = await scene.add({ unique, idempotency, payload: '"new"' });

    assert.equal(result.outcome, "repeated");
    assert.equal((await scene.job(id)).payload, '"old"');
  });

  test("a repeat asks nobody to work", async (scene) => {
    const id = await scene.enqueue({ idempotency });
    await scene.add({ idempotency });

    assert.deepEqual(await scene.claimIds(), [id]);
    const [counts] = await scene.store.counts();
    assert.equal(counts?.counts.processing, 1);
    assert.equal(counts?.counts.pending, 0);
  });

  test("the key of a child is not looked at: its parent adds it once", async (scene) => {
    const parent = await scene.processing({ idempotency });
    const child = aNewJob({ idempotency });

    await scene.apply(completeOf(parent, { children: [child] }));

    assert.equal(await scene.state(child.id), "pending");
    const again = await scene.add({ idempotency });
    assert.equal(again.outcome === "repeated" && again.id, parent.id);
  });
}

function reusing(test: TestCase): void {
  test("a key with another fingerprint is refused and adds nothing", async (scene) => {
    const id = await scene.enqueue({ idempotency });

    const result = await scene.add({ idempotency: otherFingerprint });

    assert.deepEqual(result, { outcome: "key_reused" });
    assert.deepEqual(await idsOf(scene), [id]);
  });

  test("a key counts for all types", async (scene) => {
    await scene.enqueue({ idempotency });

    const results = [
      await scene.add({ type: "another", idempotency }),
      await scene.add({ type: "another", idempotency: otherFingerprint }),
    ];

    assert.deepEqual(outcomesOf(results), ["repeated", "key_reused"]);
  });

  test("a key that was refused still stands for its first job", async (scene) => {
    const id = await scene.enqueue({ idempotency });
    await scene.add({ idempotency: otherFingerprint });

    const result = await scene.add({ idempotency });

    assert.equal(result.outcome === "repeated" && result.id, id);
  });

  test("a key is remembered for something else when its job is deleted", async (scene) => {
    await scene.enqueue({ idempotency });
    await scene.apply(completeOf(await scene.claimOne()));
    scene.clock.advance(hour);
    await scene.store.prune({ retentionMs: minute, limit: 10 });

    assert.deepEqual(await scene.add({ idempotency: otherFingerprint }), { outcome: "key_reused" });
  });
}

function expiring(test: TestCase): void {
  test("a key is remembered until its period is over, counted from its first use", async (scene) => {
    const first = await scene.enqueue({ idempotency: { ...idempotency, periodMs: minute } });

    scene.clock.advance(minute - 1);
    const before = await scene.add({ idempotency });
    scene.clock.advance(1);
    const after = await scene.add({ idempotency });

    assert.equal(before.outcome === "repeated" && before.id, first);
    assert.equal(after.outcome, "created");
  });

  test("a key whose period is over may be used for something else, which it then stands for", async (scene) => {
    await scene.enqueue({ idempotency: { ...idempotency, periodMs: minute } });
    scene.clock.advance(minute);

    const second = await scene.enqueue({ idempotency: otherFingerprint });

    const again = await scene.add({ idempotency: otherFingerprint });
    assert.equal(again.outcome === "repeated" && again.id, second);
    assert.deepEqual(await scene.add({ idempotency }), { outcome: "key_reused" });
  });

  test("prune forgets keys whose period is over, and no others", async (scene) => {
    await scene.enqueue({ idempotency: { ...idempotency, key: "short", periodMs: minute } });
    const kept = await scene.enqueue({ idempotency });
    scene.clock.advance(hour);

    await scene.store.prune({ retentionMs: 0, limit: 10 });

    const results = [
      await scene.add({ idempotency: { ...idempotency, key: "short" } }),
      await scene.add({ idempotency }),
    ];
    assert.deepEqual(outcomesOf(results), ["created", "repeated"]);
    assert.equal(results[1]?.outcome === "repeated" && results[1].id, kept);
  });
}

function standingFor(test: TestCase): void {
  test("the key of a duplicate stands for the job that holds the unique key, also when that has ended", async (scene) => {
    const unique = aUniqueClaim();
    const holder = await scene.enqueue({ unique });
    const first = await scene.add({ unique, idempotency });
    await scene.apply(completeOf(await scene.claimOne()));

    const again = await scene.add({ unique, idempotency });

    assert.equal(first.outcome, "duplicate");
    assert.deepEqual(again, { outcome: "repeated", id: holder, job: await scene.job(holder) });
  });

  test("the key of a replacement stands for the job that took the payload", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "replace" });
    const holder = await scene.enqueue({ unique, payload: '"old"' });
    const first = await scene.add({ unique, idempotency, payload: '"new"' });

    const again = await scene.add({ unique, idempotency, payload: '"new"' });

    assert.equal(first.outcome, "replaced");
    assert.deepEqual(again, { outcome: "repeated", id: holder, job: await scene.job(holder) });
    assert.equal((await scene.job(holder)).payload, '"new"');
  });

  test("a job that is refused leaves its key free", async (scene) => {
    const intake = { limit: { maxBacklog: 1 }, whenOff: "hold", isOn: null } as const;
    const blocker = await scene.enqueue();
    const refused = await scene.add({ idempotency, intake });
    await scene.store.amend(aCommand("cancel", [blocker]));

    const second = await scene.add({ idempotency: otherFingerprint, intake });

    assert.deepEqual(outcomesOf([refused, second]), ["refused", "created"]);
  });
}

function sendingAgain(test: TestCase): void {
  test("the same job sent again with its key is answered as before", async (scene) => {
    const job = aNewJob({ idempotency });
    const first = await scene.add(job);
    scene.clock.advance(1);

    assert.deepEqual(await scene.add(job), first);
  });

  test("the same job sent again with its key after it has ended still counts as created", async (scene) => {
    const job = aNewJob({ idempotency });
    await scene.enqueue(job);
    await scene.apply(completeOf(await scene.claimOne()));

    assert.equal((await scene.add(job)).outcome, "created");
    assert.equal(await scene.state(job.id), "completed");
  });

  test("a call sent again with repeats and keys in wrong use is answered as before", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "rerun" });
    const jobs = [
      aNewJob({ idempotency }),
      aNewJob({ idempotency }),
      aNewJob(),
      aNewJob({ idempotency: otherFingerprint }),
      aNewJob({ unique, idempotency: { ...idempotency, key: "request-2" } }),
    ];
    const first = await scene.store.enqueue(jobs);

    const second = await scene.store.enqueue(jobs);

    assert.deepEqual(outcomesOf(first), ["created", "repeated", "created", "key_reused", "created"]);
    assert.deepEqual(second, first);
  });

  test("two jobs with one key sent again are answered as before, payload and all", async (scene) => {
    const jobs = [aNewJob({ idempotency, payload: '"first"' }), aNewJob({ idempotency, payload: '"second"' })];
    const first = await scene.store.enqueue(jobs);

    const second = await scene.store.enqueue(jobs);

    assert.deepEqual(second, first);
    assert.equal(second[1]?.outcome === "repeated" && second[1].job?.payload, '"first"');
  });

  test("a job sent again when its key stands for another by now still counts as created, and the key stays", async (scene) => {
    const job = aNewJob({ idempotency: { ...idempotency, periodMs: minute } });
    const first = await scene.add(job);
    scene.clock.advance(minute);
    const next = await scene.enqueue({ idempotency: otherFingerprint });

    assert.deepEqual(await scene.add(job), first);
    const again = await scene.add({ idempotency: otherFingerprint });
    assert.equal(again.outcome === "repeated" && again.id, next);
  });

  test("a duplicate sent again names the job that it was answered with", async (scene) => {
    const unique = aUniqueClaim();
    const holder = await scene.enqueue({ unique });
    const job = aNewJob({ unique, idempotency });
    await scene.add(job);

    const again = await scene.add(job);

    assert.equal(again.outcome === "repeated" && again.id, holder);
  });
}

function inOneCall(test: TestCase): void {
  test("of two jobs with one key in one call, the second repeats the first", async (scene) => {
    const [first, second] = [aNewJob({ idempotency }), aNewJob({ idempotency })];

    const results = await scene.store.enqueue([first, second]);

    assert.deepEqual(outcomesOf(results), ["created", "repeated"]);
    assert.deepEqual(results[1], { outcome: "repeated", id: first.id, job: await scene.job(first.id) });
    assert.deepEqual(await idsOf(scene), [first.id]);
  });

  test("of two jobs with one key for different things in one call, the second is refused", async (scene) => {
    const results = await scene.store.enqueue([aNewJob({ idempotency }), aNewJob({ idempotency: otherFingerprint })]);

    assert.deepEqual(outcomesOf(results), ["created", "key_reused"]);
  });

  test("a refused job leaves its key to the next in the call", async (scene) => {
    const off = { limit: null, whenOff: "reject", isOn: false } as const;
    const second = aNewJob({ idempotency: otherFingerprint });

    const results = await scene.store.enqueue([aNewJob({ idempotency, intake: off }), second]);

    assert.deepEqual(outcomesOf(results), ["refused", "created"]);
    const again = await scene.add({ idempotency: otherFingerprint });
    assert.equal(again.outcome === "repeated" && again.id, second.id);
  });

  test("a repeat shows what the jobs before it in the call have made of its job", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "replace" });
    const id = await scene.enqueue({ unique, idempotency, payload: '"old"' });

    const results = await scene.store.enqueue([aNewJob({ unique, payload: '"new"' }), aNewJob({ idempotency })]);

    assert.deepEqual(outcomesOf(results), ["replaced", "repeated"]);
    assert.equal(results[1]?.outcome === "repeated" && results[1].job?.payload, '"new"');
    assert.deepEqual(await idsOf(scene), [id]);
  });

  test("jobs with keys, repeats and jobs without are answered in order", async (scene) => {
    const jobs: NewJob[] = [];
    for (let n = 0; n < 300; n += 1) {
      const key = { ...idempotency, key: `request-${n - (n % 3 === 1 ? 1 : 0)}` };
      jobs.push(aNewJob({ idempotency: n % 3 === 2 ? null : key, payload: `{"n":${n}}` }));
    }

    const results = await scene.store.enqueue(jobs);

    results.forEach((result, n) => {
      if (n % 3 !== 1) assert.equal(result.outcome, "created");
      else assert.equal(result.outcome === "repeated" && result.job?.payload, `{"n":${n - 1}}`);
    });
    assert.equal((await idsOf(scene)).length, 200);
  });
}

function atOnce(test: TestCase): void {
  test("of fifty calls with one key at the same moment one creates a job, and all others name it", async (scene) => {
    const calls = Array.from({ length: 50 }, (_, n) =>
      scene.add({ idempotency, ...(n % 2 === 0 && { unique: aUniqueClaim({ key: `unique-${n}` }) }) }),
    );

    const results = await Promise.all(calls);

    const [id] = await idsOf(scene);
    assert.equal(results.filter(({ outcome }) => outcome === "created").length, 1);
    assert.equal(results.filter((result) => result.outcome === "repeated" && result.id === id).length, 49);
    assert.equal((await idsOf(scene)).length, 1);
  });

  test("of fifty calls for different things under one key at the same moment one creates a job", async (scene) => {
    const calls = Array.from({ length: 50 }, (_, n) =>
      scene.add({ idempotency: { ...idempotency, fingerprint: `thing ${n}` } }),
    );

    const outcomes = outcomesOf(await Promise.all(calls)).sort();

    assert.deepEqual(outcomes, ["created", ...Array<string>(49).fill("key_reused")]);
  });
}

/** Has the key stand for a job that is there: as the duplicate of it. */
async function keepFor(scene: Scene, id: JobId): Promise<void> {
  const { uniqueKey } = await scene.job(id);
  const unique = aUniqueClaim({ key: uniqueKey!, onConflict: "rerun" });
  const result = only(await scene.store.enqueue([aNewJob({ id: aJobId(), unique, idempotency, payload: "{}" })]));
  assert.equal(result.outcome === "replaced" && result.job.id, id);
}

function outcomesOf(results: readonly EnqueueResult[]): string[] {
  return results.map(({ outcome }) => outcome);
}

async function idsOf(scene: Scene): Promise<readonly JobId[]> {
  const { jobs } = await scene.store.list({ filter: {}, page: { before: null, limit: 1_000 } });
  return jobs.map(({ id }) => id);
}
