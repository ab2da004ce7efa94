/**
 * Questions about jobs: by id, by filter, page by page, and how many there are.
 */
import assert from "node:assert/strict";
import { jobStates } from "../../job.js";
import type { JobId, JobState } from "../../job.js";
import type { JobFilter } from "../../store.js";
import {
  aClaim,
  aCommand,
  aNewJob,
  aUniqueClaim,
  completeOf,
  failOf,
  releaseOf,
  retryOf,
  snoozeOf,
} from "../builders.js";
import { hour, minute, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

export function readingCases(test: TestCase): void {
  getting(test);
  filtering(test);
  paging(test);
  counting(test);
}

function getting(test: TestCase): void {
  test("jobs are read in the order of the ids, null for those that do not exist", async (scene) => {
    const [a, b, unknown] = [await scene.enqueue(), await scene.enqueue(), aNewJob().id];

    const records = await scene.store.get([b, unknown, a, b]);

    assert.deepEqual(
      records.map((record) => record?.id ?? null),
      [b, null, a, b],
    );
  });

  test("no ids are no work", async (scene) => {
    assert.deepEqual(await scene.store.get([]), []);
  });

  test("a thousand jobs are read in one call", async (scene) => {
    const jobs = Array.from({ length: 1_000 }, () => aNewJob());
    await scene.store.enqueue(jobs);

    const records = await scene.store.get(jobs.map(({ id }) => id));

    assert.deepEqual(
      records.map((record) => record?.id),
      jobs.map(({ id }) => id),
    );
  });

  test("what was read does not change with the job", async (scene) => {
    const before = await scene.jobIn("pending");
    const copy = structuredClone(before);

    await scene.claimOne();

    assert.deepEqual(before, copy);
  });
}

function filtering(test: TestCase): void {
  test("without conditions every job is listed, newest id first", async (scene) => {
    const ids = [await scene.enqueue(), await scene.enqueue({ type: "other" }), await scene.enqueue()];

    assert.deepEqual(await matching(scene, {}), ids.reverse());
  });

  test("a listed job is the same as when read by id", async (scene) => {
    const record = await scene.jobIn("failed", { correlation: { a: "b" } });

    const { jobs } = await scene.store.list({ filter: {}, page: { before: null, limit: 10 } });

    assert.deepEqual(jobs, [record]);
  });

  test("types narrow the list", async (scene) => {
    const a = await scene.enqueue({ type: "a" });
    await scene.enqueue({ type: "b" });
    const c = await scene.enqueue({ type: "c" });

    assert.deepEqual(await matching(scene, { types: ["a", "c", "never seen"] }), [c, a]);
  });

  for (const state of jobStates) {
    test(`the state ${state} narrows the list`, async (scene) => {
      const ids = new Map<JobState, JobId>();
      for (const each of jobStates) ids.set(each, (await scene.jobIn(each, { type: each })).id);

      const found = await matching(scene, { states: [state], types: [state] });

      assert.deepEqual(found, [ids.get(state)]);
    });
  }

  test("several states are alternatives", async (scene) => {
    const scheduled = await scene.enqueue({ due: { afterMs: minute } });
    const { id: failed } = await scene.jobIn("failed");
    await scene.jobIn("completed");

    assert.deepEqual(await matching(scene, { states: ["failed", "scheduled"] }), [failed, scheduled]);
  });

  test("reasons of failure narrow the list", async (scene) => {
    const crashed = await scene.processing();
    await scene.apply(failOf(crashed, { reason: "crashed" }));
    const exhausted = await scene.processing();
    await scene.apply(failOf(exhausted, { reason: "exhausted" }));
    await scene.enqueue();

    assert.deepEqual(await matching(scene, { failReasons: ["crashed", "expired"] }), [crashed.id]);
  });

  test("a correlation matches jobs that have all its pairs", async (scene) => {
    const both = await scene.enqueue({ correlation: { entityId: "e1", campaignId: "c1" } });
    const one = await scene.enqueue({ correlation: { entityId: "e1" } });
    await scene.enqueue({ correlation: { entityId: "e2", campaignId: "c1" } });
    await scene.enqueue({ correlation: { campaignId: "e1" } });
    await scene.enqueue();

    assert.deepEqual(await matching(scene, { correlation: { entityId: "e1" } }), [one, both]);
    assert.deepEqual(await matching(scene, { correlation: { campaignId: "c1", entityId: "e1" } }), [both]);
  });

  test("a correlation is compared exactly, whatever its characters", async (scene) => {
    const odd = { 'a.b"[0]%_': "50%_'\"\\ größer" };
    const id = await scene.enqueue({ correlation: odd });
    await scene.enqueue({ correlation: { 'a.b"[0]%_': "50ab'\"\\ größer" } });
    await scene.enqueue({ correlation: { 'a.b"[0]%_': "50%_'\"\\ GRÖSSER" } });

    assert.deepEqual(await matching(scene, { correlation: odd }), [id]);
  });

  test("instants of creation narrow the list", async (scene) => {
    const start = scene.clock.now();
    await scene.enqueue();
    scene.clock.advance(second);
    const middle = await scene.enqueue();
    scene.clock.advance(second);
    await scene.enqueue();

    const filter = { createdAfter: start + second / 2, createdBefore: start + second + second / 2 };

    assert.deepEqual(await matching(scene, filter), [middle]);
  });

  test("jobs are found by when they were created, whatever time their ids tell", async (scene) => {
    const ids = ["00000000-0000-7000-8000-000000000001", "ffffffff-ffff-7fff-bfff-ffffffffffff"];
    const start = scene.clock.now();
    for (const id of ids) await scene.enqueue({ id });

    for (const filter of [{ createdAfter: start - 1 }, { createdBefore: start + 1 }]) {
      assert.deepEqual(new Set(await matching(scene, filter)), new Set(ids));
    }
    for (const filter of [{ createdAfter: start }, { createdBefore: start }, { createdAfter: Infinity }]) {
      assert.deepEqual(await matching(scene, filter), []);
    }
  });

  test("types and states that no job has match nothing", async (scene) => {
    const correlation = { entityId: "e1" };
    await scene.enqueue({ correlation });

    for (const filter of [{ types: ["none"] }, { states: ["completed"] }, { types: [] }, { states: [] }] as const) {
      assert.deepEqual(await matching(scene, { ...filter }), []);
      assert.deepEqual(await matching(scene, { ...filter, correlation }), []);
    }
  });

  test("all conditions must hold", async (scene) => {
    const correlation = { entityId: "e1" };
    const wanted = await scene.enqueue({ type: "a", correlation });
    await scene.enqueue({ type: "b", correlation });
    await scene.enqueue({ type: "a" });
    await scene.enqueue({ type: "a", correlation, due: { afterMs: minute } });

    assert.deepEqual(await matching(scene, { types: ["a"], states: ["pending"], correlation }), [wanted]);
  });
}

function paging(test: TestCase): void {
  test("pages follow each other without gap or overlap, also while jobs are added", async (scene) => {
    const ids: JobId[] = [];
    for (let n = 0; n < 7; n += 1) ids.push(await scene.enqueue({ type: n % 2 === 0 ? "even" : "odd" }));

    const seen: JobId[] = [];
    for (let before: JobId | null = null, pages = 0; ; pages += 1) {
      assert.ok(pages < 3, "The pages do not end.");
      const page = await scene.store.list({ filter: {}, page: { before, limit: 3 } });
      seen.push(...page.jobs.map(({ id }) => id));
      await scene.enqueue();
      if (page.next === null) break;
      before = page.next;
    }

    assert.deepEqual(seen, ids.reverse());
  });

  test("a page that reaches the end names no next one", async (scene) => {
    await scene.store.enqueue([aNewJob(), aNewJob(), aNewJob()]);

    const { jobs, next } = await scene.store.list({ filter: {}, page: { before: null, limit: 3 } });

    assert.deepEqual([jobs.length, next], [3, null]);
  });

  test("pages of a filter count only the jobs that match", async (scene) => {
    const wanted = [];
    for (let n = 0; n < 4; n += 1) {
      wanted.push(await scene.enqueue({ type: "wanted" }));
      await scene.enqueue({ type: "other" });
    }

    const filter = { types: ["wanted"] };
    const first = await scene.store.list({ filter, page: { before: null, limit: 2 } });
    const second = await scene.store.list({ filter, page: { before: first.next, limit: 2 } });

    const ids = [...first.jobs, ...second.jobs].map(({ id }) => id);
    assert.deepEqual([ids, second.next], [wanted.reverse(), null]);
  });

  test("a list in an empty store is empty", async (scene) => {
    const page = await scene.store.list({ filter: { states: ["failed"] }, page: { before: null, limit: 10 } });

    assert.deepEqual(page, { jobs: [], next: null });
  });
}

function counting(test: TestCase): void {
  test("an empty store has seen no type", async (scene) => {
    assert.deepEqual(await scene.store.counts(), []);
  });

  for (const state of jobStates) {
    test(`a ${state} job counts as ${state} and as nothing else`, async (scene) => {
      const type = "counted";
      await scene.jobIn(state, { type });
      // Behind a blocked job stands the holder of its key.
      const expected = state === "blocked" ? { ...none, blocked: 1, processing: 1 } : { ...none, [state]: 1 };

      assert.deepEqual(await scene.store.counts(), [{ type, counts: expected }]);
    });
  }

  test("counts can be asked for some types", async (scene) => {
    await scene.enqueue({ type: "a" });
    await scene.enqueue({ type: "b" });

    const counts = await scene.store.counts({ types: ["b"] });

    assert.deepEqual(counts, [{ type: "b", counts: { ...none, pending: 1 } }]);
  });

  test("a type whose jobs are all gone is still counted, with zeros", async (scene) => {
    await scene.jobIn("completed", { type: "a" });
    scene.clock.advance(hour);
    await scene.store.prune({ retentionMs: minute, limit: 10 });

    assert.deepEqual(await scene.store.counts(), [{ type: "a", counts: none }]);
  });

  test("counts equal a recount after every kind of change", async (scene) => {
    const unique = aUniqueClaim({ onConflict: "rerun" });
    const steps: readonly (() => Promise<unknown>)[] = [
      () => scene.store.enqueue(Array.from({ length: 12 }, (_, n) => aNewJob({ type: n % 3 === 0 ? "b" : "a" }))),
      () => scene.store.enqueue([aNewJob({ type: "a", due: { afterMs: second } }), aNewJob({ type: "b", unique })]),
      () => settleEach(scene, [completeOf, failOf, retryOf, snoozeOf, releaseOf]),
      () => scene.store.claim(aClaim({ types: ["b"] })),
      () => scene.store.enqueue([aNewJob({ type: "b", unique }), aNewJob({ type: "b", unique })]),
      () => scene.store.amend(aCommand("retry", { filter: { states: ["failed"] }, page: { before: null, limit: 1 } })),
      () =>
        scene.store.amend(aCommand("discard", { filter: { states: ["failed"] }, page: { before: null, limit: 9 } })),
      () => scene.store.amend(aCommand("cancel", { filter: { types: ["b"] }, page: { before: null, limit: 4 } })),
      async () => scene.clock.advance(minute),
      () => settleEach(scene, [completeOf, retryOf]),
      async () => scene.clock.advance(hour),
      () => scene.store.prune({ retentionMs: minute, limit: 3 }),
    ];

    for (const step of steps) {
      await step();
      assert.deepEqual(await counted(scene), await recounted(scene));
    }
  });
}

const none = Object.fromEntries(jobStates.map((state) => [state, 0])) as Record<JobState, number>;

async function matching(scene: Scene, filter: JobFilter): Promise<readonly JobId[]> {
  const { jobs } = await scene.store.list({ filter, page: { before: null, limit: 100 } });
  return jobs.map(({ id }) => id);
}

/** Claims what there is and ends it in turn in the given ways. */
async function settleEach(
  scene: Scene,
  ways: readonly ((held: { id: JobId; epoch: number }) => ReturnType<typeof completeOf>)[],
) {
  const { jobs } = await scene.store.claim(aClaim({ types: ["a", "b"], limit: 8 }));
  await scene.store.settle(jobs.map((job, n) => (ways[n % ways.length] ?? completeOf)(job)));
}

async function counted(scene: Scene): Promise<Record<string, Record<JobState, number>>> {
  const counts = await scene.store.counts();
  return Object.fromEntries(counts.map((each) => [each.type, { ...each.counts }]));
}

async function recounted(scene: Scene): Promise<Record<string, Record<JobState, number>>> {
  const { jobs } = await scene.store.list({ filter: {}, page: { before: null, limit: 1_000 } });
  const byType: Record<string, Record<JobState, number>> = { a: { ...none }, b: { ...none } };
  for (const { type, state } of jobs) (byType[type] ??= { ...none })[state] += 1;
  return byType;
}
