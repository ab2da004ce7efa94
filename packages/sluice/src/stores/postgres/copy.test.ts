/**
 * A SQLite store moved to PostgreSQL: everything arrives as it was, and goes on from there.
 */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { copyStore } from "../../copy.js";
import { jobStates } from "../../job.js";
import type { JobSnapshot } from "../../snapshot.js";
import {
  aBeat,
  anAccessKey,
  aClaim,
  aCommand,
  aNewJob,
  anEdit,
  aStep,
  aUniqueClaim,
  cancelOf,
  completeOf,
  failOf,
  releaseOf,
  retryOf,
} from "../../testing/index.js";
import { hour, minute } from "../../testing/conformance/scene.js";
import { aCopyScene, digestOf, everythingIn, type CopyScene } from "./copy.test.scene.js";

let world: CopyScene;

beforeEach(async () => {
  world = await aCopyScene();
});

afterEach(() => world.dispose());

const copy = (options: Partial<Parameters<typeof copyStore>[0]> = {}) =>
  copyStore({ from: world.from, to: world.to, clock: world.clock, ...options });

async function* bytes(content: Uint8Array) {
  for (let at = 0; at < content.length; at += 100_000) yield content.subarray(at, at + 100_000);
}

/** A job of each kind, under a type of its own, so that no claim takes another's. */
async function furnish({ scene, from, clock }: CopyScene): Promise<void> {
  for (const state of jobStates) await scene.jobIn(state, { type: `in.${state}`, correlation: { entityId: state } });
  clock.advance(1);
  await scene.jobIn("pending", { type: "in.pending", priority: 7, version: 3, maxAttempts: 9 });

  const worked = await scene.processing({ type: "worked", payload: JSON.stringify({ text: "é\u0000😀\ud800" }) });
  await from.remember([aStep(worked), aStep(worked, { name: "step-2", output: null })]);
  await from.annotate([
    {
      hold: worked,
      progress: { done: 1.5, total: null },
      lines: [
        { at: clock.now(), level: "info", message: "begun\0" },
        { at: clock.now(), level: "warn", message: "zweite Zeile" },
      ],
    },
  ]);
  await scene.apply(retryOf(worked, { delayMs: 0, hasCrashed: true }));
  const again = await scene.claimOne({ types: ["worked"] });
  expect(again.id).toBe(worked.id);
  await scene.requestCancel(worked.id, "no\0more");

  const done = await scene.processing({ type: "done", trace: { traceparent: "00-1-2-01", tracestate: "a=b" } });
  await scene.apply(completeOf(done, { output: '{"answer":42}' }));
  const failed = await scene.processing({ type: "failed" });
  await scene.apply(failOf(failed, { reason: "crashed", hasCrashed: true }));
  await from.amend(anEdit([failed.id], { payload: '{"edited":2}', version: 4, reason: "it was wrong" }));
  await from.amend(aCommand("cancel", [failed.id]));
  const released = await scene.processing({ type: "released" });
  clock.advance(minute);
  await scene.enqueue({ type: "released" });
  await scene.apply(releaseOf(released));
  await scene.enqueue({ type: "large", payload: JSON.stringify("x".repeat(1_000_000)) });
  const by = { ifVersion: null, actor: "operator-1", reason: "no\0more", requestId: "request\0-1" };
  await from.setType({ type: "large", patch: { pause: { reason: "too large" } }, ...by });
  await from.setType({ type: "done", patch: { concurrency: 2 }, ...by });
  await from.setType({ type: "large", patch: { concurrency: 1 }, ...by });
  const parent = anAccessKey({ name: "größer\0", types: ["mail.*"], expiresAt: clock.now() + 10 * hour });
  await from.addAccessKey(parent, aCommand("cancel", []));
  await from.addAccessKey(anAccessKey({ parent: parent.id }), aCommand("cancel", []));
  const revoked = anAccessKey();
  await from.addAccessKey(revoked, aCommand("cancel", []));
  await from.revokeAccessKey(revoked.id, aCommand("cancel", []));
}

test("everything arrives as it was, and a second copy finds nothing to do", async () => {
  await furnish(world);
  const before = await everythingIn(world.from);

  const report = await copy();

  expect(await everythingIn(world.to)).toEqual(before);
  expect(report).toMatchObject({ copied: before.jobs.length, known: 0, foreign: 0, isEqual: true });
  expect(report.audit).toBe(before.audit.length);
  expect([report.settings, report.accessKeys]).toEqual([2, 2]);
  expect((await world.to.accessKeys()).map(({ parent }) => parent)).toEqual([null, null]);
  expect(await world.after.claimIds({ types: ["large"] })).toEqual([]);
  const second = await copy();
  expect(second).toMatchObject({
    copied: 0,
    known: before.jobs.length,
    audit: 0,
    settings: 0,
    accessKeys: 0,
    foreign: 0,
    isEqual: true,
  });
  expect(await everythingIn(world.to)).toEqual(before);
  expect(await everythingIn(world.from)).toEqual(before);
});

test("jobs are claimed in the order in which they waited", async () => {
  const { scene, from, to, clock } = world;
  for (const priority of [0, 1, 0, -1, 1]) {
    await scene.enqueue({ priority });
    clock.advance(5);
  }
  const early = await scene.claimOne();
  const late = await scene.claimOne();
  await scene.apply(retryOf(late, { delayMs: 5 }));
  await scene.enqueue({ priority: late.priority });
  clock.advance(10);
  await scene.enqueue({ priority: late.priority });
  // Makes it pending, in the place of its due time.
  await from.claim(aClaim({ limit: 0 }));
  await scene.enqueue();
  await scene.apply(releaseOf(early));
  await copy();

  const order = (await to.claim(aClaim())).jobs.map(({ id }) => id);

  expect(order).toEqual((await from.claim(aClaim())).jobs.map(({ id }) => id));
  expect(order[0]).toBe(early.id);
  expect(order[1]).not.toBe(late.id);
  expect(order[2]).toBe(late.id);
});

test("a job of a dead worker is rescued in the target, and its old hold is worth nothing there", async () => {
  const { scene, after, from, to, clock } = world;
  await scene.register("dying", 10_000);
  await scene.enqueue();
  const held = await scene.claimOne({ workerId: "dying" });
  clock.advance(10_000);
  await copy();

  const lost = await to.findLost({ limit: 10 });

  expect(lost.jobs).toMatchObject([{ id: held.id, epoch: held.epoch, attempt: 1, workerId: "dying" }]);
  expect((await to.heartbeat(aBeat({ workerId: "dying" }))).lease).toBe("lost");
  await after.apply(retryOf(lost.jobs[0]!, { delayMs: 0, hasCrashed: true }));
  const next = await after.claimOne({ workerId: "alive" });
  expect(next).toMatchObject({ id: held.id, epoch: held.epoch + 1, attempt: 2, crashes: 1 });
  expect(await to.settle([completeOf(held)])).toEqual(["lease_lost"]);
  expect(await to.history(held.id)).toMatchObject({ attempts: [{ epoch: held.epoch, workerId: "dying" }] });
  expect((await from.get([held.id]))[0]).toMatchObject({ state: "processing", epoch: held.epoch });
});

test("a job whose worker has the id of somebody alive in the target is rescued all the same", async () => {
  const { scene, to } = world;
  await scene.processing({});
  await to.heartbeat(aBeat({ leaseMs: hour }));
  await copy({ force: true });

  expect((await to.findLost({ limit: 10 })).jobs).toMatchObject([{ workerId: "worker-1 elsewhere" }]);
  expect((await to.heartbeat(aBeat())).lease).toBe("held");
});

test("keys are held, waited for and given back as before", async () => {
  const { scene, after, to, clock } = world;
  const unique = (key: string, more = {}) => aUniqueClaim({ key, onConflict: "rerun", ...more });
  const holder = await scene.processing({ type: "rerun", unique: unique("a") });
  const successor = await scene.add({ type: "rerun", unique: unique("a"), payload: "2" });
  expect(successor).toMatchObject({ state: "blocked" });
  const claimed = await scene.processing({ type: "given", unique: unique("b", { holdWhile: "pending" }) });
  const failed = await scene.processing({ type: "failed", unique: unique("d") });
  await scene.apply(failOf(failed));
  const period = { holdWhile: "period", periodMs: minute, onConflict: "keep" } as const;
  const kept = await scene.processing({ type: "period", unique: unique("c", period) });
  await scene.apply(completeOf(kept));
  await copy();

  const again = (key: string, more = {}) => after.add({ unique: unique(key, { onConflict: "keep", ...more }) });
  expect(await again("a")).toMatchObject({ outcome: "duplicate", job: { id: holder.id } });
  expect(await again("b", { holdWhile: "pending" })).toMatchObject({ outcome: "created" });
  expect(await again("d")).toMatchObject({ outcome: "created" });
  expect(await again("c", period)).toMatchObject({ outcome: "duplicate", job: { id: kept.id } });
  await after.apply(completeOf(holder));
  expect((await to.claim(aClaim({ workerId: "alive", types: ["rerun"] }))).jobs).toMatchObject([{ payload: "2" }]);
  await after.apply(releaseOf(claimed));
  clock.advance(minute);
  expect(await again("c", period)).toMatchObject({ outcome: "created" });
});

test("blobs keep their ids and their bytes", async () => {
  const { scene, from, to } = world;
  const contents = [randomBytes(1_500_000), randomBytes(10), Buffer.alloc(0)];
  const refs = await Promise.all(contents.map((content) => from.blobs.put(bytes(content))));
  for (const { id } of refs) await scene.enqueue({ blob: id, payload: JSON.stringify({ blob: id }) });
  const gone = await from.blobs.put(bytes(Buffer.from("gone")));
  const bereft = await scene.enqueue({ blob: gone.id });
  await from.blobs.remove([gone.id]);

  const report = await copy();

  expect(report).toMatchObject({
    blobs: 3,
    blobBytes: 1_500_010,
    withoutBlob: { jobs: 1, ids: [bereft] },
    isEqual: true,
  });
  for (const { id } of refs) {
    expect(await digestOf(to.blobs.get(id))).toBe(await digestOf(from.blobs.get(id)));
  }
  // It still belongs to its job: replaced, it is deleted.
  const [first] = refs;
  await to.amend(aCommand("cancel", { filter: {}, page: { before: null, limit: 10 } }));
  world.clock.advance(minute);
  await to.prune({ retentionMs: 0, limit: 10 });
  await expect(digestOf(to.blobs.get(first!.id))).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
});

test("a blob whose import was cut off is written again", async () => {
  const { scene, from, to, schema } = world;
  const content = randomBytes(1_200_000);
  const { id } = await from.blobs.put(bytes(content));
  await scene.enqueue({ blob: id });
  // As a process leaves it that was killed: begun, with some of its pieces, the last of them from another world.
  await to.query(`insert into ${schema}.blobs (id, touched_at) values ($1, 0)`, [id]);
  await to.query(`insert into ${schema}.blob_pieces (blob, n, bytes) values ($1, 0, $2), ($1, 1, 'odd')`, [
    id,
    content.subarray(0, 512 * 1_024),
  ]);
  await expect(digestOf(to.blobs.get(id))).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });

  await copy();

  expect(await digestOf(to.blobs.get(id))).toBe(await digestOf(from.blobs.get(id)));
});

test("live only leaves out what is over, but for what still holds a key, and of the audit what was done to jobs", async () => {
  const { scene, to, clock } = world;
  await furnish(world);
  const period = { holdWhile: "period", periodMs: hour, onConflict: "keep" } as const;
  const kept = await scene.processing({ type: "period", unique: aUniqueClaim({ key: "p", ...period }) });
  await scene.apply(completeOf(kept));
  const expired = await scene.processing({
    type: "period",
    unique: aUniqueClaim({ key: "q", ...period, periodMs: 1 }),
  });
  await scene.apply(cancelOf(expired));
  clock.advance(1);

  const report = await copy({ liveOnly: true });

  const { jobs, audit } = await everythingIn(to);
  const over = jobs.filter(({ state }) => state === "completed" || state === "cancelled");
  expect(over.map(({ id }) => id)).toEqual([kept.id]);
  expect(new Set(jobs.map(({ state }) => state))).toEqual(new Set(jobStates.filter((state) => state !== "cancelled")));
  expect(audit.map(({ action, target }) => [action, target.id])).toEqual([
    ["set", "large"],
    ["set", "done"],
    ["set", "large"],
  ]);
  expect(report).toMatchObject({ isEqual: true, audit: 3 });
});

test("jobs of others in the target stay as they are and are counted", async () => {
  const { scene, after, to } = world;
  await scene.enqueue();
  const foreign = await after.jobIn("failed", { type: "foreign", unique: aUniqueClaim({ key: "taken" }) });
  await to.amend(aCommand("retry", [foreign.id]));
  const before = await everythingIn(to);
  const theirs = await scene.enqueue({ unique: aUniqueClaim({ key: "taken" }) });

  const report = await copy();

  expect(report).toMatchObject({ copied: 1, foreign: 1, isEqual: false });
  expect(report.notCopied).toMatchObject({ key_taken: { jobs: 1, ids: [theirs] }, differs: { jobs: 0 } });
  expect((await to.get([theirs]))[0]).toBeNull();
  expect((await to.get([foreign.id]))[0]).toEqual(before.jobs[0]);
});

test("a job that is there in another condition is left as it is and named", async () => {
  const { scene, after, to } = world;
  const id = await scene.enqueue();
  await copy();
  const held = await after.claimOne();
  await after.apply(completeOf(held));

  const report = await copy();

  expect(report).toMatchObject({ copied: 0, known: 0, foreign: 0, isEqual: false });
  expect(report.notCopied.differs).toEqual({ jobs: 1, ids: [id] });
  expect((await to.get([id]))[0]).toMatchObject({ state: "completed" });
});

test("nothing is copied while workers are alive on either side, unless forced", async () => {
  const { scene, from, to, clock } = world;
  await scene.enqueue();
  await from.heartbeat(aBeat({ workerId: "w", leaseMs: 15_000, pid: 77, host: "box" }));
  await expect(copy()).rejects.toMatchObject({
    code: "WORKERS_ALIVE",
    message: expect.stringContaining("A worker is running on the source (process 77 on box)"),
  });
  clock.advance(15_000);
  await to.heartbeat(aBeat({ workerId: "v", leaseMs: 15_000 }));
  await expect(copy()).rejects.toMatchObject({ code: "WORKERS_ALIVE", details: { side: "target", workers: ["v"] } });
  expect((await everythingIn(to)).jobs).toEqual([]);

  expect(await copy({ force: true })).toMatchObject({ copied: 1, isEqual: true });
});

test("a worker that starts while the copy runs makes it fail", async () => {
  const { scene, from } = world;
  await scene.enqueue();

  const copying = copy({ onProgress: () => void from.heartbeat(aBeat({ workerId: "late" })) });

  await expect(copying).rejects.toMatchObject({ code: "WORKERS_ALIVE" });
});

test("a signal ends the copy between two pages, and the next one goes on", async () => {
  const { from, to } = world;
  const jobs = Array.from({ length: 2_500 }, () => aNewJob());
  await from.enqueue(jobs);
  const stopping = new AbortController();
  const stopped = new Error("Ctrl+C");

  const copying = copy({ signal: stopping.signal, onProgress: () => stopping.abort(stopped) });

  await expect(copying).rejects.toBe(stopped);
  expect((await to.counts())[0]?.counts.pending).toBe(1_000);
  expect(await copy()).toMatchObject({ copied: 1_500, known: 1_000, isEqual: true });
});

test("pages are bounded by bytes, and one job is a page if it must be", async () => {
  const { scene, from } = world;
  const ids = [];
  for (let n = 0; n < 4; n++) ids.push(await scene.enqueue({ payload: JSON.stringify("x".repeat(600)) }));
  const pages: string[][] = [];
  for (let after: string | null = null, isFirst = true; isFirst || after !== null; isFirst = false) {
    const page: { jobs: readonly JobSnapshot[]; next: string | null } = await from.exportJobs({
      after,
      limit: 10,
      bytes: 2_000,
      liveOnly: false,
    });
    pages.push(page.jobs.map(({ job }) => job.id));
    after = page.next;
  }

  expect(pages).toEqual([ids.slice(0, 2), ids.slice(2)]);
  expect((await from.exportJobs({ after: null, limit: 10, bytes: 1, liveOnly: false })).jobs).toHaveLength(1);
});

test("jobs whose ids are no UUIDs are left out and named, what was done to them is told", async () => {
  const { scene, to } = world;
  await scene.enqueue({ id: "order-17" });
  const held = await scene.jobIn("failed", { id: "order-18", type: "other" });
  await world.from.amend(aCommand("discard", [held.id]));

  const report = await copy();

  expect(report.notCopied.unfit).toEqual({ jobs: 2, ids: ["order-17", "order-18"] });
  expect(report).toMatchObject({ copied: 0, audit: 1, isEqual: false });
  const { jobs, audit } = await everythingIn(to);
  expect([jobs, audit.map(({ target }) => target.id)]).toEqual([[], ["order-18"]]);
});

test("jobs of past days get days of their own, so that retention drops them whole", async () => {
  const { scene, to, schema, clock } = world;
  const at = clock.now();
  const idOf = (ms: number) => {
    const hex = ms.toString(16).padStart(12, "0");
    return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000001`;
  };
  await scene.jobIn("completed", { id: idOf(at) });
  await scene.jobIn("completed", { id: idOf(at - 300 * 24 * hour), type: "odd" });
  clock.advance(30 * 24 * hour);

  await copy();

  const { rows } = await to.query(
    `select right(tableoid::regclass::text, 8) as day from ${schema}.history order by id`,
  );
  expect(rows).toEqual([{ day: "ry_other" }, { day: "20260101" }]);
});
