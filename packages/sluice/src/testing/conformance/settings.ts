/**
 * What an operator sets about a type: kept with its history, refused when it was made for another version, and in force at the
 * next claim, whoever claims. Serves OQ2, R1, O1.
 */
import assert from "node:assert/strict";
import { defaultSettings, toSettingsRecord } from "../../settings.js";
import type { SettingsChange, SettingsRecord, TypeSettings } from "../../settings.js";
import { completeOf, releaseOf, retryOf } from "../builders.js";
import { minute, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

function aChange(overrides: Partial<SettingsChange> = {}): SettingsChange {
  return {
    type: "example",
    patch: {},
    ifVersion: null,
    actor: "operator-1",
    reason: null,
    requestId: null,
    ...overrides,
  };
}

async function change(scene: Scene, overrides: Partial<SettingsChange>): Promise<TypeSettings> {
  const { outcome, settings } = await scene.store.setType(aChange(overrides));
  assert.equal(outcome, "applied");
  return settings;
}

/** The changes as the audit tells them, newest first. */
async function changes({ store }: Scene, type?: string): Promise<readonly SettingsRecord[]> {
  const target = type === undefined ? {} : { target: { kind: "type", id: type } as const };
  return (await store.audit({ ...target, actions: ["set"], limit: 10 })).records.map(toSettingsRecord);
}

export function settingsCases(test: TestCase): void {
  test("nobody has changed anything at first", async (scene) => {
    assert.deepEqual(await scene.store.settings(), []);
    assert.deepEqual(await changes(scene), []);
  });

  test("a change is kept, with who made it and when", async (scene) => {
    const { store, clock } = scene;
    const now = clock.now();
    const patch = { pause: { reason: "the mail server is down", until: now + minute }, concurrency: 3 };

    const answer = await store.setType(aChange({ patch, reason: "ticket 12", requestId: "r-1" }));

    const before = defaultSettings("example");
    const pause = { actor: "operator-1", reason: "the mail server is down", since: now, until: now + minute };
    const after = { ...before, version: 1, pause, concurrency: 3 };
    assert.deepEqual(answer, { outcome: "applied", settings: after });
    assert.deepEqual(await store.settings(), [after]);
    assert.deepEqual(await changes(scene), [
      { at: now, actor: "operator-1", reason: "ticket 12", requestId: "r-1", before, after },
    ]);
    const [record] = (await store.audit({ limit: 10 })).records;
    assert.deepEqual([record?.target, record?.type], [{ kind: "type", id: "example" }, "example"]);
  });

  test("what a change leaves out stays, null goes back to the default", async (scene) => {
    await change(scene, { patch: { pause: {}, concurrency: 3 } });

    const resumed = await change(scene, { patch: { pause: null } });
    const reset = await change(scene, { patch: { concurrency: null } });

    assert.deepEqual([resumed.pause, resumed.concurrency, resumed.version], [null, 3, 2]);
    assert.deepEqual([reset.pause, reset.concurrency, reset.version], [null, null, 3]);
  });

  test("a change made for another version changes nothing", async (scene) => {
    const { store } = scene;
    const seen = await change(scene, { patch: { concurrency: 1 }, ifVersion: 0 });

    const late = await store.setType(aChange({ patch: { concurrency: 9 }, ifVersion: 0 }));

    assert.deepEqual(late, { outcome: "stale", settings: seen });
    assert.deepEqual(await store.settings(), [seen]);
    assert.equal((await changes(scene)).length, 1);
  });

  test("of changes made for one version at one moment, one applies", async ({ store }) => {
    const patches = [1, 2, 3, 4, 5].map((concurrency) => ({ concurrency }));

    const answers = await Promise.all(patches.map((patch) => store.setType(aChange({ patch, ifVersion: 0 }))));

    assert.equal(answers.filter(({ outcome }) => outcome === "applied").length, 1);
    const [settings] = await store.settings();
    assert.equal(settings?.version, 1);
  });

  test("settings are listed by type, their history newest first and by type", async (scene) => {
    const { store } = scene;
    await change(scene, { type: "zebra", patch: { concurrency: 1 } });
    await change(scene, { type: "Ant", patch: { concurrency: 2 } });
    await change(scene, { type: "zebra", patch: { concurrency: 3 } });

    const all = await changes(scene);
    const some = await changes(scene, "zebra");

    assert.deepEqual(
      (await store.settings()).map(({ type }) => type),
      ["Ant", "zebra"],
    );
    assert.deepEqual(
      all.map(({ after }) => [after.type, after.concurrency]),
      [
        ["zebra", 3],
        ["Ant", 2],
        ["zebra", 1],
      ],
    );
    assert.deepEqual(
      some.map(({ after }) => after.concurrency),
      [3, 1],
    );
  });

  test("any text may be a reason", async (scene) => {
    const reason = `a\u0000b 🐉 ' " \n`;
    await change(scene, { patch: { pause: { reason } }, reason });

    const [settings] = await scene.store.settings();
    const [record] = await changes(scene);
    assert.deepEqual([settings?.pause?.reason, record?.after.pause?.reason], [reason, reason]);
    assert.match(record?.reason ?? "", /^a.b 🐉 ' " \n$/su);
  });

  test("a change wakes the workers", async (scene) => {
    const hint = scene.nextHint(({ work }) => work);
    await change(scene, { patch: { pause: null } });
    assert.equal((await hint).work, true);
  });

  // ── pause ─────────────────────────────────────────────────────────────────

  test("nothing of a paused type is claimed, others are", async (scene) => {
    await scene.enqueue();
    const other = await scene.enqueue({ type: "other" });
    await change(scene, { patch: { pause: {} } });

    assert.deepEqual(await scene.claimIds({ types: ["example", "other"] }), [other]);
  });

  test("a pause ends when it is resumed", async (scene) => {
    const id = await scene.enqueue();
    await change(scene, { patch: { pause: {} } });
    assert.deepEqual(await scene.claimIds(), []);

    await change(scene, { patch: { pause: null } });

    assert.deepEqual(await scene.claimIds(), [id]);
  });

  test("a pause ends at its time", async (scene) => {
    const id = await scene.enqueue();
    await change(scene, { patch: { pause: { until: scene.clock.now() + minute } } });

    scene.clock.advance(minute - 1);
    assert.deepEqual(await scene.claimIds(), []);
    scene.clock.advance(1);
    assert.deepEqual(await scene.claimIds(), [id]);
  });

  test("what runs when its type is paused may end as it likes", async (scene) => {
    const first = await scene.processing();
    const second = await scene.processing();
    await change(scene, { patch: { pause: {} } });

    await scene.apply(completeOf(first));
    await scene.apply(retryOf(second, { delayMs: 0 }));

    assert.deepEqual(await scene.claimIds(), []);
    assert.equal(await scene.state(first.id), "completed");
  });

  test("jobs of a paused type can be enqueued and become due", async (scene) => {
    await change(scene, { patch: { pause: {} } });
    const id = await scene.enqueue({ due: { afterMs: second } });
    scene.clock.advance(second);
    await scene.claimIds();

    await change(scene, { patch: { pause: null } });

    assert.deepEqual(await scene.claimIds(), [id]);
  });

  // ── concurrency ───────────────────────────────────────────────────────────

  test("no more of a type are processing than its concurrency says, whoever claims", async (scene) => {
    const [first, second_, third] = [await scene.enqueue(), await scene.enqueue(), await scene.enqueue()];
    await scene.register("worker-2");
    await change(scene, { patch: { concurrency: 2 } });

    assert.deepEqual(await scene.claimIds({ limit: 1 }), [first]);
    assert.deepEqual(await scene.claimIds({ workerId: "worker-2" }), [second_]);
    assert.deepEqual(await scene.claimIds(), []);

    await change(scene, { patch: { concurrency: 3 } });
    assert.deepEqual(await scene.claimIds({ workerId: "worker-2" }), [third]);
  });

  test("a job that ends makes room, however it ends", async (scene) => {
    await change(scene, { patch: { concurrency: 1 } });
    const held = await scene.processing();
    const next = await scene.enqueue({ priority: 1 });
    assert.deepEqual(await scene.claimIds(), []);

    await scene.apply(releaseOf(held));

    assert.deepEqual(await scene.claimIds(), [next]);
  });

  test("with a lower concurrency what runs goes on, and nothing is added until there is room", async (scene) => {
    const held = [await scene.processing(), await scene.processing(), await scene.processing()];
    await scene.enqueue();
    await change(scene, { patch: { concurrency: 2 } });

    await scene.apply(completeOf(held[0]!));
    assert.deepEqual(await scene.claimIds(), []);
    await scene.apply(completeOf(held[1]!));
    assert.equal((await scene.claimIds()).length, 1);
  });

  test("the definition's concurrency holds until an operator says otherwise, and again after a reset", async (scene) => {
    for (let n = 0; n < 4; n++) await scene.enqueue();
    const types = [{ type: "example", concurrency: 1 }];

    assert.equal((await scene.claimIds({ types })).length, 1);
    assert.equal((await scene.claimIds({ types })).length, 0);
    await change(scene, { patch: { concurrency: 3 } });
    assert.equal((await scene.claimIds({ types })).length, 2);
    await change(scene, { patch: { concurrency: null } });
    assert.equal((await scene.claimIds({ types })).length, 0);
  });

  test("a lost worker's job counts until it is rescued", async (scene) => {
    await scene.register("worker-2", second);
    await change(scene, { patch: { concurrency: 1 } });
    await scene.enqueue();
    const lost = await scene.claimOne({ workerId: "worker-2" });
    const next = await scene.enqueue();
    scene.clock.advance(2 * second);
    await scene.store.findLost({ limit: 10 });
    assert.deepEqual(await scene.claimIds(), []);

    await scene.apply(retryOf(lost, { delayMs: minute, hasCrashed: true }));

    assert.deepEqual(await scene.claimIds(), [next]);
  });

  test("a full type is no obstacle for the next one", async (scene) => {
    await change(scene, { patch: { concurrency: 1 } });
    await scene.processing();
    await scene.enqueue();
    const other = await scene.enqueue({ type: "other" });

    assert.deepEqual(await scene.claimIds({ types: ["example", "other"], limit: 1 }), [other]);
  });

  test("claims at one moment share what room there is", async (scene) => {
    for (let n = 0; n < 20; n++) await scene.enqueue();
    const workers = ["worker-2", "worker-3", "worker-4"];
    for (const workerId of workers) await scene.register(workerId);
    await change(scene, { patch: { concurrency: 5 } });

    const claims = await Promise.all(workers.flatMap((workerId) => [1, 2, 3].map(() => scene.claimIds({ workerId }))));

    assert.equal(claims.flat().length, 5);
    assert.equal(new Set(claims.flat()).size, 5);
  });

  test("a claim says which of its types have a concurrency, in its order", async (scene) => {
    await change(scene, { type: "a", patch: { concurrency: 5 } });
    await change(scene, { type: "b", patch: { pause: {} } });
    const types = ["z", { type: "c", concurrency: 1 }, "b", "a"];
    const claim = async (limit: number) => {
      const wanted = types.map((type) => (typeof type === "string" ? { type, concurrency: null } : type));
      const request = wanted.map((each) => ({
        limit: 5,
        maxVersion: 1,
        controls: null,
        company: null,
        aged: 0,
        ...each,
      }));
      return (await scene.store.claim({ workerId: "worker-1", limit, types: request })).limited;
    };

    assert.deepEqual(await claim(10), ["c", "a"]);
    assert.deepEqual(await claim(0), ["c", "a"]);
  });
}
