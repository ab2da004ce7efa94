/** Settings of types at the command line: what is printed, kept, and refused. */
import { Queue } from "sluice";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aFolder, sluice, type Folder } from "../cli.test.process.js";

let folder: Folder;
let store: SqliteStore;
let queue: Queue<unknown>;

beforeEach(async () => {
  folder = aFolder();
  store = await sqlite({ path: folder.path("jobs.db") });
  queue = new Queue<unknown>({ store });
});

afterEach(async () => {
  await store.close();
  folder.remove();
});

const types = (...args: readonly string[]) =>
  sluice(["types", ...args], { SLUICE_STORE: `sqlite:${folder.path("jobs.db")}` });

test("what is set is in force, kept with who did it, and listed", async () => {
  expect((await types("list")).stdout).toBe("Nobody has set anything: all types are as their definitions say.\n");

  const set = await types("set", "mail.send", "--concurrency", "5", "--rate", "50/s", "--max-backlog", "1000", "--rollout", "10%", "--allow", "g1", "--actor", "ada", "--reason", "ticket 12"); // prettier-ignore
  expect(set).toMatchObject({ code: 0, stderr: "" });
  expect(set.stdout).toBe(
    "mail.send, version 1: concurrency 5; rate 50 per 1 s; backlog at most 1,000; switched on for 10 % and g1.\n",
  );
  const [settings] = await queue.settings();
  expect(settings).toMatchObject({
    concurrency: 5,
    rate: { limit: 50, perMs: 1_000 },
    enqueueLimit: { maxBacklog: 1_000 },
    rollout: { percentage: 10, allow: ["g1"] },
  });

  const reset = await types("set", "mail.send", "--concurrency", "default", "--rate", "default", "--max-backlog", "default", "--rollout", "default"); // prettier-ignore
  expect(reset.stdout).toBe("mail.send, version 2: as its definition says.\n");
  const history = await types("history", "mail.send");
  expect(history.stdout).toMatch(/mail\.send +ada +ticket 12 +concurrency 5/);
});

test("a type is paused and resumed", async () => {
  const paused = await types("pause", "mail.send", "--until", "2h", "--actor", "ada", "--reason", "lunch");
  expect(paused.stdout).toMatch(/^mail\.send, version 1: paused by ada \(lunch\) until \d{4}-.* UTC\.\n$/);
  expect((await types("list", "--json")).stdout).toContain('"actor": "ada"');
  await types("resume", "mail.send");
  expect((await queue.settings())[0]?.pause).toBeNull();
});

test.each([
  { args: ["set", "mail.send", "--rate", "fast"], code: 2, says: /50\/s/ },
  { args: ["set", "mail.send", "--concurrency", "0"], code: 1, says: /whole number from 1/ },
  { args: ["set", "mail.send", "--rollout", "130"], code: 1, says: /0 to 100/ },
  { args: ["set", "mail.send", "--rate", "0/s"], code: 1, says: /above 0/ },
  { args: ["set", "no such type!", "--concurrency", "1"], code: 1, says: /letters, digits/ },
  { args: ["set", "mail.send"], code: 1, says: /Nothing to change/ },
  { args: ["pause", "mail.send", "--until", "soon"], code: 2, says: /30min/ },
])("$args is refused in one sentence", async ({ args, code, says }) => {
  const answer = await types(...args);
  expect([answer.code, answer.stdout]).toEqual([code, ""]);
  expect(answer.stderr).toMatch(says);
  expect(await queue.settings()).toEqual([]);
});

test("a change made for another version changes nothing", async () => {
  await types("set", "mail.send", "--concurrency", "5");
  const late = await types("set", "mail.send", "--concurrency", "9", "--if-version", "0");
  expect(late.code).toBe(1);
  expect(late.stderr).toMatch(/version 1 by now/);
});
