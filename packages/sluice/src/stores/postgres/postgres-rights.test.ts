/**
 * Two roles, with the rights that docs/postgres.md grants, read from there: one migrates, the other runs jobs. The rights are enough
 * for a whole life, none of them can be spared, and they are no way to others. The page's other statements run as well.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { JobsError } from "../../errors.js";
import {
  aBeat,
  aClaim,
  aCommand,
  aNewJob,
  anEdit,
  anIdempotency,
  aStep,
  aUniqueClaim,
  completeOf,
  failOf,
  holdOf,
  retryOf,
} from "../../testing/index.js";
import { Bed, changed } from "./faults.test.bed.js";
import { postgres } from "./index.js";
import type { PostgresStore } from "./index.js";

const page = readFileSync(new URL("../../../../../docs/postgres.md", import.meta.url), "utf8");

/** The statements of the code blocks in a section. */
function blocksOf(section: string): readonly string[] {
  const text = page.split(/^## /m).find((part) => part.startsWith(`${section}\n`));
  expect(text, `The page has a section "${section}".`).toBeDefined();
  return [...text!.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) => sql!);
}

let bed: Bed;
let owner: string;
let app: string;

beforeAll(async () => {
  bed = await Bed.start();
  await bed.ask("create database app");
  const database = changed(bed.server.url, (url) => (url.pathname = "app"));
  const [roles, grants, ...others] = blocksOf("Rights");
  expect(others).toEqual([]);
  await run(roles!, database);
  owner = changed(database, (url) => Object.assign(url, { username: "sluice_owner", password: "change me" }));
  app = changed(database, (url) => Object.assign(url, { username: "sluice_app", password: "change me, too" }));
  await (await postgres({ url: owner })).close();
  await run(grants!, owner);
});
afterAll(() => bed.server.stop());

async function run(sql: string, url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

describe("the role that runs jobs", () => {
  test("may do all that it must, from enqueue to prune", async () => {
    expect(await refusal()).toBeNull();
  });

  test("can spare none of its rights", { timeout: 180_000 }, async () => {
    for (const { privilege, object } of singleGrants()) {
      await run(`revoke ${privilege} on ${object} from sluice_app`, owner);
      expect(await refusal(), `without ${privilege} on ${object}`).not.toBeNull();
      await run(`grant ${privilege} on ${object} to sluice_app`, owner);
    }
    expect(await refusal()).toBeNull();
  });

  test.each([
    ["change the schema", "alter table sluice.jobs add column mine text"],
    ["drop the history", "drop table sluice.history"],
    ["change the audit", "update sluice.audit set actor = 'nobody'"],
    ["delete from the audit", "delete from sluice.audit"],
    ["delete from the history of settings", "delete from sluice.settings_history"],
    ["say that it is migrated", "insert into sluice.migrations (version) values (99)"],
    ["make schemas", "create schema mine"],
  ])("may not %s", async (_what, sql) => {
    await expect(run(sql, app)).rejects.toMatchObject({ code: "42501" });
  });

  test("does not become the owner in the functions that run as the owner", async () => {
    const trap = `
      create function pg_temp.spring() returns name language plpgsql as $$
        begin execute 'create table if not exists sluice.trapped ()'; return null; end $$;
      create temp view pg_class as select pg_temp.spring() as relname, 0::oid as relnamespace, 0::oid as oid;
      select sluice.add_day('2031-01-01'), sluice.drop_day('2031-01-01', 0, 0);`;

    await run(trap, app);

    expect(await bed.ask("select 1 from pg_tables where tablename = 'trapped'", owner)).toEqual([]);
  });
});

test("nobody else may call what runs as the owner", async () => {
  await bed.ask("create role passer_by login password 'x'");
  await run("grant usage on schema sluice to passer_by", owner);
  const passerBy = changed(owner, (url) => Object.assign(url, { username: "passer_by", password: "x" }));

  for (const call of ["sluice.add_day('2031-01-01')", "sluice.drop_day('2031-01-01', 0, 0)"]) {
    await expect(run(`select ${call}`, passerBy)).rejects.toMatchObject({ code: "42501" });
  }
});

test.each(
  blocksOf("Monitoring").flatMap((block) =>
    [...block.matchAll(/-- (.*?)\n(.*?);/gs)].map(([, what, sql]) => [what, sql]),
  ),
)("the page asks: %s", async (_what, sql) => {
  await run(sql!, app);
});

test("the settings that the page asks for are there", async () => {
  for (const sql of blocksOf("When the server goes away").flatMap((block) => block.split(";"))) await bed.ask(sql);
});

interface Grant {
  readonly privilege: string;
  readonly object: string;
}

/** `grant a, b on x, y to r` as four grants. */
function singleGrants(): readonly Grant[] {
  const statements = blocksOf("Rights")[1]!
    .split(";")
    .filter((sql) => sql.trim() !== "");
  return statements.flatMap((statement) => {
    const [, privileges, objects] = /^\s*grant (.*) on\s+(.*) to sluice_app\s*$/s.exec(statement)!;
    const [, kind = "", names] = /^((?:schema|sequence|function) )?(.*)$/s.exec(objects!)!;
    return privileges!
      .split(", ")
      .flatMap((privilege) => names!.split(/,\s+/).map((name) => ({ privilege, object: `${kind}${name}` })));
  });
}

/** Everything that a store does, once. Answers what was refused, or null. */
async function refusal(): Promise<string | null> {
  lives += 1;
  const name = `life-${lives}`;
  await run("select sluice.add_day('2020-01-01')", owner);
  try {
    const store = await postgres({ url: app, migrate: false, listenUrl: null });
    await live(store, name).finally(() => store.close());
    return null;
  } catch (error) {
    if (error instanceof JobsError && error.code === "STORE_REFUSED") return error.message;
    throw error;
  }
}

let lives = 0;

async function live(store: PostgresStore, name: string): Promise<void> {
  const claim = async () => (await store.claim(aClaim({ workerId: name, types: [name], limit: 10 }))).jobs;
  const claimOne = async () => (await claim())[0]!;
  const job = (overrides: Parameters<typeof aNewJob>[0] = {}) => aNewJob({ type: name, ...overrides });
  const unique = aUniqueClaim({ key: `${name}:one`, onConflict: "replace" });
  await store.heartbeat(aBeat({ workerId: name }));

  // Added, replaced, tried with all that an attempt leaves, edited by an operator, completed.
  const { id: blob } = await store.blobs.put(Readable.from([Buffer.from("bytes")]));
  for await (const _bytes of store.blobs.get(blob));
  const first = job({ unique, correlation: { order: "1" }, blob });
  await store.enqueue([first]);
  await store.enqueue([job({ unique, payload: "[1]", correlation: { order: "2" } })]);
  let held = await claimOne();
  await store.remember([aStep(held)]);
  await store.recall(held.id);
  const line = { at: 1, level: "info", message: "a line" } as const;
  await store.annotate([{ hold: holdOf(held), progress: { done: 1, total: 2 }, lines: [line] }]);
  await store.settle([retryOf(held, { delayMs: 0 })]);
  held = await claimOne();
  await store.settle([failOf(held)]);
  await store.amend(anEdit([held.id]));
  await store.settle([completeOf(await claimOne())]);
  await store.get([held.id]);
  await store.history(held.id);
  await store.list({ filter: { types: [name], correlation: { order: "2" } }, page: { before: null, limit: 10 } });
  await store.audit({ jobId: held.id, limit: 10 });

  // A request with a key, sent twice.
  const idempotency = anIdempotency({ key: name });
  await store.enqueue([job({ idempotency, due: { afterMs: 3_600_000 } })]);
  await store.enqueue([job({ idempotency })]);

  // Completed at once, in a transaction of the application's, cancelled; of an old day, and of none.
  await store.enqueue([
    job(),
    job({ id: "016f5e66-e800-7000-8000-00000000000" + (lives % 10) }),
    job({ id: randomUUID() }),
  ]);
  await store.settle((await claim()).map((each) => completeOf(each)));
  await store.enqueue([job()]);
  held = await claimOne();
  const settlement = completeOf(held, { children: [job({ unique })] });
  await store.transact((tx) => tx.query("select 1"), () => ({ write: "settle", settlement })); // prettier-ignore
  await store.amend(aCommand("cancel", [(await claimOne()).id]));

  const change = { type: name, patch: { concurrency: 5 }, ifVersion: null, actor: "operator", reason: null };
  await store.setType(change);
  await store.setType(change);
  await store.settings();
  await store.settingsHistory({ limit: 10 });

  // A type with limits, whose keys fill and free; the last of its jobs has a group and is refused at first.
  const limited = `${name}-limited`;
  const controls = { concurrencyKey: `${limited} key`, rateKey: `${limited} key`, weight: 1, group: "one", cost: 1 };
  await store.setType({
    ...change,
    type: limited,
    patch: { enqueueLimit: { maxBacklog: 2, rate: { limit: 9, perMs: 1 } } },
  });
  await store.enqueue([0, 1, 2].map(() => aNewJob({ type: limited, controls })));
  const rate = { limit: 1, perMs: 1 };
  const wanted = { type: limited, controls: { concurrencyPerKey: 1, rate, ratePerKey: rate } };
  const claimed = (await store.claim(aClaim({ workerId: name, types: [wanted], limit: 10 }))).jobs;
  await store.settle(claimed.map((each) => completeOf(each)));
  await store.setType({ ...change, type: limited, patch: { rate } });

  // What a worker does besides.
  await store.counts();
  await store.workers();
  await store.standing([held.id]);
  await store.heldBy(name);
  await store.findLost({ limit: 10 });
  await store.tidy();
  await store.prune({ retentionMs: 0, limit: 10 });
  await store.retire(name);
}
