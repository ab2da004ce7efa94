/**
 * What the audit tells: every deed once, with all that was said of it, the newest first, page by page, by target, actor and action.
 * Serves O2.
 */
import assert from "node:assert/strict";
import type { AuditEntry, AuditQuery, AuditRecord } from "../../audit.js";
import { auditActions, conditionOf } from "../../audit.js";
import { JobsError } from "../../errors.js";
import { aCommand, anEdit, aNewJob } from "../builders.js";
import { only, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

function anEntry(overrides: Partial<AuditEntry> = {}): AuditEntry {
  return {
    actor: "operator-1",
    reason: null,
    requestId: null,
    action: "reveal",
    target: { kind: "job", id: "job-1" },
    type: "example",
    before: null,
    after: null,
    ...overrides,
  };
}

async function recordsOf({ store }: Scene, query: Partial<AuditQuery> = {}): Promise<readonly AuditRecord[]> {
  const { records, next } = await store.audit({ limit: 100, ...query });
  assert.equal(next, null);
  return records;
}

/** As it was before it had a place. */
function unplaced({ seq: _seq, ...record }: AuditRecord) {
  return record;
}

export function auditCases(test: TestCase): void {
  ofJobs(test);
  ofEdges(test);
  pages(test);
}

function ofJobs(test: TestCase): void {
  test("a command is kept with who, when, why, in which request, and the states before and after", async (scene) => {
    const id = await scene.enqueue({ type: "import" });
    scene.clock.advance(second);

    const by = { actor: "gm@example.org", reason: "größer 🐉", requestId: "r-1" };
    await scene.store.amend(aCommand("cancel", [id], by));

    assert.deepEqual((await recordsOf(scene)).map(unplaced), [
      {
        ...by,
        at: scene.clock.now(),
        action: "cancel",
        target: { kind: "job", id },
        type: "import",
        before: '{"state":"pending"}',
        after: '{"state":"cancelled"}',
      },
    ]);
  });

  test("a request to stop is kept", async (scene) => {
    const held = await scene.processing();

    await scene.requestCancel(held.id);

    const { before, after } = only(await recordsOf(scene));
    assert.deepEqual([before, after], [conditionOf("processing"), conditionOf("processing")]);
  });

  test("texts with a NUL in them are not cut there", async (scene) => {
    const id = await scene.enqueue();
    const text = "before\0after";

    await scene.store.amend(aCommand("cancel", [id], { actor: text, reason: text, requestId: text }));

    const { actor, reason, requestId } = only(await recordsOf(scene));
    for (const kept of [actor, reason, requestId, (await scene.job(id)).cancelReason])
      assert.match(kept ?? "", /^before.after$/s);
  });

  test("an edit keeps the payload that the job had", async (scene) => {
    const payload = JSON.stringify({ text: 'é\0😀\ud800 "\\' });
    const id = await scene.enqueue({ payload });

    await scene.store.amend(anEdit([id], { payload: '"new"' }));

    const { before, after } = only(await recordsOf(scene));
    assert.deepEqual([before, after], [JSON.stringify({ state: "pending", payload }), conditionOf("pending")]);
  });

  test("a command that changes nothing leaves no trace", async (scene) => {
    const unique = { key: "k", holdWhile: "active", periodMs: null, onConflict: "keep" } as const;
    const failed = await scene.jobIn("failed", { unique });
    await scene.enqueue({ unique });

    await scene.store.amend(aCommand("retry", [failed.id, aNewJob().id]));
    await scene.store.amend(aCommand("cancel", [failed.id]));

    assert.deepEqual(await recordsOf(scene), []);
  });

  test("within one command and instant, what was done last comes first", async (scene) => {
    const ids = [await scene.enqueue(), await scene.enqueue()];

    await scene.store.amend(aCommand("cancel", ids));

    assert.deepEqual(
      (await recordsOf(scene)).map(({ target }) => target.id),
      ids.reverse(),
    );
  });

  test("the audit of one job tells its story alone", async (scene) => {
    const [mine, other] = [await scene.enqueue(), await scene.enqueue()];
    await scene.store.amend(anEdit([mine]));
    await scene.store.amend(aCommand("cancel", [other, mine]));

    const records = await recordsOf(scene, { target: { kind: "job", id: mine } });

    assert.deepEqual(
      records.map(({ action }) => action),
      ["cancel", "edit"],
    );
  });
}

function ofEdges(test: TestCase): void {
  test("what an edge did is kept as it says, in its order, and as often as it says so", async (scene) => {
    const entries = [
      anEntry({ actor: "x".repeat(10_000), reason: "größer 🐉", requestId: "r-2" }),
      anEntry({ action: "bulk", target: { kind: "bulk", id: "b-1" }, type: null, after: '{"jobs":3}' }),
      anEntry({ action: "bulk", target: { kind: "bulk", id: "b-1" }, type: null, after: '{"jobs":3}' }),
    ];

    await scene.store.record(entries);
    await scene.store.record([]);

    const at = scene.clock.now();
    assert.deepEqual(
      (await recordsOf(scene)).map(unplaced).reverse(),
      entries.map((entry) => ({ ...entry, at })),
    );
  });

  test("no records are lost when many are written at one moment", async (scene) => {
    await Promise.all(Array.from({ length: 20 }, (_, n) => scene.store.record([anEntry({ reason: `${n}` })])));

    const records = await recordsOf(scene);
    assert.equal(new Set(records.map(({ reason }) => reason)).size, 20);
    assert.equal(new Set(records.map(({ seq }) => seq)).size, 20);
  });
}

function pages(test: TestCase): void {
  test("pages follow each other without a gap, the newest first, whatever is added meanwhile", async (scene) => {
    const { store, clock } = scene;
    for (let n = 0; n < 7; n++) {
      await store.record([anEntry({ reason: `${n}` })]);
      clock.advance(1);
    }
    const pages: (readonly (string | null)[])[] = [];
    let before: string | undefined;
    do {
      const page = await store.audit({ limit: 3, ...(before !== undefined && { before }) });
      pages.push(page.records.map(({ reason }) => reason));
      await store.record([anEntry({ reason: "late" })]);
      before = page.next ?? undefined;
    } while (before !== undefined);

    assert.deepEqual(pages, [["6", "5", "4"], ["3", "2", "1"], ["0"]]);
  });

  test("a page that ends with the last record is the last one", async ({ store }) => {
    await store.record([anEntry(), anEntry()]);

    assert.equal((await store.audit({ limit: 2 })).next, null);
    assert.notEqual((await store.audit({ limit: 1 })).next, null);
  });

  test("the audit is asked by target, actor and actions, and by all of them, page by page", async (scene) => {
    const { store } = scene;
    const actors = ["ada", "gm", "x".repeat(10_000), `${"x".repeat(10_000)}y`];
    const ids = ["job-1", "job-2"];
    const entries = Array.from({ length: 60 }, (_, n) =>
      anEntry({
        actor: actors[n % actors.length]!,
        action: auditActions[n % auditActions.length]!,
        target: { kind: n % 3 === 0 ? "job" : "bulk", id: ids[n % ids.length]! },
        reason: `${n}`,
      }),
    );
    await store.record(entries);

    const queries: Partial<AuditQuery>[] = [
      { target: { kind: "job", id: "job-1" } },
      { target: { kind: "job", id: "job-1" }, actor: "ada", actions: ["cancel", "edit", "cancel"] },
      { target: { kind: "key", id: "job-1" } },
      { actor: "gm" },
      { actor: actors[2]! },
      { actor: "gm", actions: ["retry", "reveal", "create_key", "bulk", "retry"] },
      { actions: ["set", "reveal"] },
      { actions: ["set"], actor: "nobody" },
      { actions: [] },
    ];
    for (const query of queries) {
      const { target, actor, actions } = query;
      const expected = entries
        .filter((entry) => target === undefined || JSON.stringify(entry.target) === JSON.stringify(target))
        .filter((entry) => actor === undefined || entry.actor === actor)
        .filter((entry) => actions === undefined || actions.includes(entry.action))
        .map(({ reason }) => reason)
        .reverse();
      const found: (string | null)[] = [];
      for (let before: string | null | undefined; before !== null;) {
        const page: Awaited<ReturnType<typeof store.audit>> = await store.audit({
          ...query,
          limit: 4,
          ...(before !== undefined && { before }),
        });
        found.push(...page.records.map(({ reason }) => reason));
        before = page.next;
      }
      assert.deepEqual(found, expected, JSON.stringify(query).slice(0, 100));
    }
  });

  test("a place that is none of the store's is refused", async ({ store }) => {
    for (const before of ["", "x", "-1", "1e3", "9".repeat(16)]) {
      await assert.rejects(
        store.audit({ limit: 1, before }),
        (error) => error instanceof JobsError && error.code === "INVALID_OPTIONS",
      );
    }
  });
}
