/**
 * What is particular to a store that is a file: who may read it, what it refuses to open, and what is left of it after a kill.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { aBeat, aClaim, aNewJob, aUniqueClaim, completeOf, ManualClock } from "../../testing/index.js";
import { conditionOf } from "../../audit.js";
import { defaultSettings, toSettingsRecord } from "../../settings.js";
import type { BeatAnswer } from "../../store.js";
import { driversFor, openDatabase } from "./engine.js";
import { sqlite } from "./index.js";
import type { SqliteOptions, SqliteStore } from "./index.js";
import { pendingMigrations } from "./migrations.js";

let folder: string | undefined;
const open: SqliteStore[] = [];

async function openStore(options: Partial<SqliteOptions> = {}): Promise<SqliteStore> {
  const store = await sqlite({ path: newPath(), ...options });
  open.push(store);
  return store;
}

function newPath(): string {
  folder ??= mkdtempSync(join(tmpdir(), "sluice-files-"));
  return join(folder, "jobs.db");
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((store) => store.close()));
  if (folder !== undefined) rmSync(folder, { recursive: true });
  folder = undefined;
});

describe("the file", () => {
  test("and those beside it are for their owner alone, in a folder that is made for them", async () => {
    const path = join(newPath(), "..", "deep", "jobs.db");
    const store = await openStore({ path });
    await store.enqueue([aNewJob()]);

    const modes = [path, `${path}-wal`, `${path}-shm`].map((file) => statSync(file).mode & 0o777);

    expect(modes).toEqual([0o600, 0o600, 0o600]);
    expect(statSync(join(path, "..")).mode & 0o777).toBe(0o700);
  });

  test("in a folder that the system will not make is refused", async () => {
    const path = "/proc/sluice/data/jobs.db";

    await expect(sqlite({ path })).rejects.toMatchObject({ code: "STORE_UNWRITABLE", details: { path } });
  });

  test("in a folder that cannot be written is refused", async () => {
    writeFileSync(newPath(), "");
    const path = join(newPath(), "jobs.db");

    await expect(sqlite({ path })).rejects.toMatchObject({ code: "STORE_UNWRITABLE", details: { path } });
  });

  test("that is no database is refused", async () => {
    const path = newPath();
    writeFileSync(path, "Dear diary, ".repeat(1_000));

    await expect(sqlite({ path })).rejects.toMatchObject({ code: "STORE_CORRUPT", details: { path } });
  });

  test("whose schema is damaged is refused", async () => {
    const path = newPath();
    await (await sqlite({ path })).close();
    const file = openSync(path, "r+");
    writeSync(file, Buffer.alloc(3_996, 0xff), 0, 3_996, 100);
    closeSync(file);

    await expect(sqlite({ path })).rejects.toMatchObject({ code: "STORE_CORRUPT", details: { path } });
  });

  test("of a newer version is refused", async () => {
    const path = newPath();
    const store = await sqlite({ path });
    store.connection.exec("insert into sluice_schema (version, applied_at) values (999, 0)");
    await store.close();

    await expect(sqlite({ path })).rejects.toMatchObject({ code: "SCHEMA_TOO_NEW", details: { version: 999 } });
  });

  test("keeps the audit as it was written", async () => {
    const store = await openStore();
    const { id } = aNewJob();
    await store.enqueue([aNewJob({ id })]);
    await store.amend({ action: "cancel", target: { ids: [id] }, actor: "operator", reason: null, requestId: null });

    expect(() => store.connection.exec("update sluice_audit set actor = 'somebody else'")).toThrow(/append-only/);
    expect(() => store.connection.exec("delete from sluice_audit")).toThrow(/append-only/);
  });

  test("of an older version keeps what was done to jobs and what was set, in the order of their times", async () => {
    const path = newPath();
    const old = await openDatabase({ path });
    for (const { sql } of pendingMigrations(null, path).slice(0, 3)) old.exec(sql);
    const before = defaultSettings("mail");
    const pause = { actor: "ada", reason: "größer \u0000 '\ud800😀", since: 2, until: null };
    const after = { ...before, version: 1, pause };
    const payload = JSON.stringify({ text: 'é\0 "\\/😀\ud800\n' });
    const put = old.prepare("insert into sluice_audit (at, actor, action, job_id, job_type, state_before, state_after, payload_before, reason) values (?, ?, ?, ?, ?, ?, ?, ?, ?)"); // prettier-ignore
    put.run(1, "gm", "edit", "job-1", "mail", "failed", "pending", payload, "typo");
    put.run(3, "gm", "cancel", "job-1", "mail", "pending", "cancelled", null, null);
    const change = { at: 2, actor: "ada", reason: pause.reason, before, after };
    old.prepare("insert into sluice_settings_history (type, record) values (?, ?)").run("mail", JSON.stringify(change));
    old.close();

    const store = await openStore({ path });

    const { records } = await store.audit({ limit: 10 });
    const ofJob = { target: { kind: "job", id: "job-1" }, type: "mail", actor: "gm", requestId: null };
    expect(records).toMatchObject([
      { ...ofJob, at: 3, action: "cancel", before: conditionOf("pending"), after: conditionOf("cancelled") },
      { at: 2, actor: "ada", action: "set", target: { kind: "type", id: "mail" }, type: "mail" },
      { ...ofJob, at: 1, action: "edit", before: conditionOf("failed", payload), after: conditionOf("pending") },
    ]);
    expect(records.map(({ reason }) => reason)).toEqual([null, expect.stringMatching(/^größer . '/), "typo"]);
    const set = toSettingsRecord(records[1]!);
    expect(set.before).toEqual(before);
    expect(set.after).toMatchObject({ version: 1, pause: { actor: "ada", since: 2 } });
    const tables = store.connection.prepare("select name from sqlite_schema where name like '%history%'").all();
    expect(tables).toEqual([]);
  });
});

describe("processes", () => {
  test("that open a new file at once all find it ready", { timeout: 60_000 }, async () => {
    const path = newPath();
    const children = Array.from({ length: 3 }, () => child("open", path));
    await Promise.all(children.map((process) => once(process, "message")));

    const answers = children.map((process) => once(process, "message"));
    for (const process of children) process.send("go");

    expect((await Promise.all(answers)).map(([results]) => results as unknown)).toEqual([[], [], []]);
  });

  test("killed in the middle of a transaction leave a sound file with what was committed", async () => {
    const path = newPath();
    const writer = child("write", path);
    const [counted] = await once(writer, "message");
    expect(counted).toEqual({ n: 1 });

    writer.kill("SIGKILL");
    await once(writer, "exit");

    const store = await openStore({ path });
    const { integrity_check } = store.connection.prepare("pragma integrity_check").get() as { integrity_check: string };
    expect(integrity_check).toBe("ok");
    expect((await store.counts()).map(({ type, counts }) => [type, counts.pending])).toEqual([["example", 1_000]]);
  });

  test("hear of each other's writes", async () => {
    const path = newPath();
    const [here, there] = [await openStore({ path }), await openStore({ path })];
    const hint = new Promise((resolve) => here.subscribe(resolve));

    await there.enqueue([aNewJob()]);

    expect(await hint).toEqual({ work: true, ended: true });
  });

  test("wait for each other's transactions", async () => {
    const path = newPath();
    const [here, there] = [await openStore({ path }), await openStore({ path })];
    here.connection.exec("begin immediate");
    setTimeout(() => here.connection.exec("commit"), 300);

    const [result] = await there.enqueue([aNewJob()]);

    expect(result).toMatchObject({ outcome: "created" });
  });
});

describe("leases", () => {
  test("are kept by the store thread while the event loop is blocked", async () => {
    const store = await openStore();
    const beat = aBeat({ leaseMs: 400 });
    await store.heartbeat(beat);
    const drop = store.keepLease!({ beat, everyMs: 50, stuckAfterMs: 10_000, onBeat: () => undefined });

    block(900);

    expect((await store.findLost({ limit: 1 })).workers).toEqual([]);
    drop();
  });

  test("run out when the event loop is stuck for longer than allowed", async () => {
    const store = await openStore();
    const beat = aBeat({ leaseMs: 200 });
    await store.heartbeat(beat);
    const drop = store.keepLease!({ beat, everyMs: 20, stuckAfterMs: 100, onBeat: () => undefined });

    block(900);

    expect((await store.findLost({ limit: 1 })).workers).toEqual([beat.workerId]);
    drop();
  });

  test("that are kept report requested cancellations", async () => {
    const store = await openStore();
    const beat = aBeat();
    await store.heartbeat(beat);
    await store.enqueue([aNewJob()]);
    const { jobs } = await store.claim(aClaim());
    const { id, epoch } = jobs[0]!;
    await store.amend({ action: "cancel", target: { ids: [id] }, actor: "operator", reason: null, requestId: null });

    let drop = () => {};
    const answer = await new Promise<BeatAnswer | Error>((resolve) => {
      drop = store.keepLease!({ beat, everyMs: 10, stuckAfterMs: 10_000, onBeat: resolve });
    });
    drop();

    expect(answer).toEqual({ lease: "held", cancels: [{ id, epoch }] });
  });

  test("are left to the test where the clock stands still", async () => {
    const store = await openStore({ clock: new ManualClock() });

    expect(store.keepLease).toBeUndefined();
  });
});

describe("the application's connection", () => {
  test("is set up after the store's own tables, and may load extensions only then", async () => {
    let tables = 0;
    const store = await openStore({
      application: {
        allowExtension: true,
        setup: (connection) => {
          const count = connection.prepare("select count(*) as n from sqlite_schema where name like 'sluice_%'");
          tables = (count.get() as { n: number }).n;
          connection.exec("create table if not exists lore (n integer)");
        },
      },
    });

    expect(tables).toBeGreaterThan(0);
    expect(() => (store.connection as never as { loadExtension(path: string): void }).loadExtension("x")).toThrow();
  });

  test("refuses asynchronous work and keeps nothing of it", async () => {
    const store = await openStore({ application: { setup: (db) => db.exec("create table lore (n integer)") } });
    await store.heartbeat(aBeat());
    await store.enqueue([aNewJob()]);
    const { jobs } = await store.claim(aClaim());

    const running = store.transact(
      async (tx) => void tx.exec("insert into lore values (1)"),
      () => ({ write: "settle", settlement: completeOf(jobs[0]!) }),
    );

    await expect(running).rejects.toMatchObject({ code: "TRANSACTION_NOT_SYNCHRONOUS" });
    expect(store.connection.prepare("select count(*) as n from lore").get()).toEqual({ n: 0 });
    expect((await store.counts())[0]?.counts.processing).toBe(1);
  });

  test("gives up on a lock that is never let go, and says so", { timeout: 30_000 }, async () => {
    const path = newPath();
    const [here, there] = [await openStore({ path }), await openStore({ path })];
    here.connection.exec("begin immediate");

    const sent = there.enqueue([aNewJob()]);

    await expect(sent).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", details: { path } });
    here.connection.exec("rollback");
  });
});

describe("blobs", () => {
  const replace = aUniqueClaim({ onConflict: "replace" });

  /** A blob whose file cannot be deleted, whoever runs the test: root may delete any file, and nobody a folder as one. */
  async function anUndeletableBlob(store: SqliteStore): Promise<{ readonly id: string; readonly path: string }> {
    const { id } = await store.blobs.put(chunksOf("old"));
    const path = join(`${newPath()}-blobs`, id);
    rmSync(path);
    mkdirSync(path);
    return { id, path };
  }

  test("that cannot be deleted stop no call, and are deleted later", async () => {
    const store = await openStore();
    const { id, path } = await anUndeletableBlob(store);
    await store.enqueue([aNewJob({ unique: replace, blob: id })]);

    const [replaced] = await store.enqueue([aNewJob({ unique: replace })]);
    const prune = { retentionMs: 0, limit: 10 };
    const [pruned, added] = await Promise.all([store.prune(prune), store.enqueue([aNewJob()])]);
    rmSync(path, { recursive: true });
    writeFileSync(path, "old");
    await store.prune(prune);

    expect([replaced?.outcome, pruned.pruned, added[0]?.outcome]).toEqual(["replaced", 0, "created"]);
    expect(existsSync(path)).toBe(false);
    expect(store.connection.prepare("select * from sluice_freed_blobs").all()).toEqual([]);
  });

  test("that cannot be deleted do not fail a transaction that is committed", async () => {
    const store = await openStore();
    await store.heartbeat(aBeat());
    const { id } = await anUndeletableBlob(store);
    const unique = { ...replace, key: "key-2" };
    await store.enqueue([aNewJob({ priority: 1 }), aNewJob({ unique, blob: id })]);
    const { jobs } = await store.claim({ ...aClaim(), limit: 1 });
    const settlement = completeOf(jobs[0]!, { children: [aNewJob({ unique })] });

    const { result } = await store.transact(
      () => undefined,
      () => ({ write: "settle", settlement }),
    );

    expect(result).toBe("applied");
  });

  test("that a killed process left unfinished are deleted a day later", async () => {
    const path = newPath();
    const folder = `${path}-blobs`;
    mkdirSync(folder);
    const [old, recent, foreign] = [`${aNewJob().id}.part`, `${aNewJob().id}.part`, "notes.part"].map((name) =>
      join(folder, name),
    ) as [string, string, string];
    for (const file of [old, recent, foreign]) writeFileSync(file, "half");
    const longAgo = Date.now() / 1_000 - 25 * 60 * 60;
    for (const file of [old, foreign]) utimesSync(file, longAgo, longAgo);

    await openStore({ path });

    await expect.poll(() => existsSync(old)).toBe(false);
    expect([existsSync(recent), existsSync(foreign)]).toEqual([true, true]);
  });
});

describe("the driver", () => {
  test.each([
    [{ node: "20.20.2" }, "@photostructure/sqlite"],
    [{ node: "22.22.0", sqlite: "3.51.3" }, "@photostructure/sqlite"],
    [{ node: "24.0.0", sqlite: "3.49.1" }, "@photostructure/sqlite"],
    [{ node: "24.12.0", sqlite: "3.51.2" }, "@photostructure/sqlite"],
    [{ node: "24.14.0", sqlite: "3.51.3" }, "node:sqlite"],
    [{ node: "26.0.0", sqlite: "4.0.0" }, "node:sqlite"],
  ])("for %o is %s", (versions, driver) => {
    expect(driversFor(versions)[0]).toBe(driver);
  });
});

async function* chunksOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function child(order: "open" | "write", path: string) {
  return fork(new URL("./process.test.worker.js", import.meta.url), [order, path]);
}

/** As a handler does that computes without end. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
