/** Jobs at the command line: found, shown masked, and changed. What a query finds is the library's to show. */
import { Queue } from "sluice";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { aClaim, aNewJob, anError, failOf } from "sluice/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aFolder, sluice, type Folder } from "../cli.test.process.js";

let folder: Folder;
let store: SqliteStore;

beforeEach(async () => {
  folder = aFolder();
  store = await sqlite({ path: folder.path("jobs.db") });
});

afterEach(async () => {
  await store.close();
  folder.remove();
});

const jobs = (...args: readonly string[]) =>
  sluice(["jobs", ...args], { SLUICE_STORE: `sqlite:${folder.path("jobs.db")}` });

async function aFailedJob(): Promise<string> {
  const job = aNewJob({ payload: '{"token":"canary-1","n":1}', correlation: { game: "g1" } });
  await store.enqueue([job]);
  const { jobs } = await store.claim(aClaim({ limit: 1 }));
  const error = anError({ message: "no \u001b[2Jcanary-1\nat all\u202e", stack: "Error: canary-1\n  at \u009b31m" });
  await store.settle([failOf(jobs[0]!, { error })]);
  return job.id;
}

test("jobs are listed by a query, with nothing of their payload and no escapes in their errors", async () => {
  const failed = await aFailedJob();
  await store.enqueue([aNewJob({ type: "other" })]);

  const { code, stdout, stderr } = await jobs("list", "state:failed type:exam*");

  expect([code, stderr]).toEqual([0, ""]);
  const [head, line, ...rest] = stdout.split("\n");
  expect(head).toMatch(/^id +type +state +attempt +created +error$/);
  expect(line).toMatch(new RegExp(`^${failed}  example  failed  1/3      .* UTC  Error: no \\\\u001b\\[2J••• at all\\\\u202e$`)); // prettier-ignore
  expect(rest).toEqual([""]);
});

test("a page says how to go on", async () => {
  await store.enqueue([aNewJob(), aNewJob(), aNewJob()]);

  const first = await jobs("list", "--limit", "2");
  const cursor = /Go on with --cursor (\S+)\.\n$/.exec(first.stdout)![1]!;
  const second = await jobs("list", "--limit", "2", "--cursor", cursor, "--json");

  expect(first.stdout).toMatch(/Looked at 2 jobs, back to .* UTC\./);
  expect(JSON.parse(second.stdout)).toMatchObject({ jobs: [{ state: "pending" }], next: null, searched: { rows: 1 } });
  expect((await jobs("list", "--", "-state:pending")).stdout).toBe("No job matches.\n");
});

test("a query that cannot be understood is shown with a mark beneath each fault", async () => {
  const { code, stdout, stderr } = await jobs("list", "type:a stat:failed error:");

  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(
    /^sluice: There is no key stat\. Did you mean state\? Keys: .*\n {2}type:a stat:failed error:\n {9}\^\^\^\^\n/,
  );
  expect(stderr).toMatch(/sluice: A value of error is missing here\. .*\n {2}type:a stat:failed error:\n {27}\^\n$/);
});

test("a job is shown with its attempts, masked and without escapes, in words and in JSON", async () => {
  const id = await aFailedJob();

  const words = await jobs("show", id);
  const json = await jobs("show", id, "--json");

  expect(words.stdout).toContain('payload:     {"token":"•••","n":"•••"}\n');
  expect(words.stdout).toContain("state:       failed (exhausted)\n");
  expect(words.stdout).toContain("correlation: game = g1\n");
  expect(words.stdout).toContain("  Error: •••\n    at \\u009b31m\n");
  expect(JSON.parse(json.stdout)).toMatchObject({ job: { id, isMasked: true }, attempts: [{ attempt: 1 }], lines: [] });
  for (const { stdout } of [words, json]) {
    expect(stdout).not.toContain("canary");
    // eslint-disable-next-line no-control-regex -- they are what is looked for
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  }
});

test("jobs are retried, discarded and cancelled, and the audit knows by whom", async () => {
  const id = await aFailedJob();
  const queue = new Queue({ store });

  const retried = await jobs("retry", id, "--actor", "ada", "--reason", "ticket 12");
  const discarded = await jobs("discard", id, "0190a0e4-0000-7000-8000-000000000000");
  const cancelled = await jobs("cancel", id, "--json");

  expect(retried).toMatchObject({ code: 0, stdout: expect.stringMatching(new RegExp(`\n${id}  applied  pending\n$`)) });
  expect(discarded).toMatchObject({ code: 1, stdout: expect.stringMatching(/wrong_state +pending\n.* +not_found\n$/) });
  expect(JSON.parse(cancelled.stdout)).toEqual([{ id, outcome: "applied", state: "cancelled" }]);
  expect((await queue.audit({ target: { kind: "job", id } })).records).toMatchObject([
    { action: "cancel" },
    { action: "retry", actor: "ada", reason: "ticket 12" },
  ]);
});

test.each([
  { args: ["list", "--limit", "0"], code: 2, says: /whole number/ },
  { args: ["show", "0190a0e4-0000-7000-8000-000000000000"], code: 1, says: /There is no job/ },
  { args: ["cancel"], code: 2, says: /missing required argument/ },
])("$args is refused in one sentence", async ({ args, code, says }) => {
  const answer = await jobs(...args);

  expect([answer.code, answer.stdout]).toEqual([code, ""]);
  expect(answer.stderr).toMatch(says);
});
