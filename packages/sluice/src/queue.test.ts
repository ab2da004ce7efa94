/**
 * The door of an edge: what it may write into the audit, and how it reads it. How the audit is kept is in the conformance suite.
 */
import { expect, test } from "vitest";
import { Queue } from "./index.js";
import { memory } from "./stores/memory/index.js";

const job = { kind: "job", id: "job-1" } as const;

test("what an edge did is kept with who asked for it, in which request", async () => {
  const queue = new Queue({ store: await memory() });

  await queue.record([{ action: "reveal", target: job, type: "mail.send" }], {
    actor: "ada",
    reason: "ticket 12",
    requestId: "r-1",
  });
  await queue.record([{ action: "bulk", target: { kind: "bulk", id: "b-1" }, after: { jobs: 3 } }]);

  const { records } = await queue.audit();
  expect(records).toMatchObject([
    { actor: "application", reason: null, requestId: null, type: null, before: null, after: '{"jobs":3}' },
    { action: "reveal", target: job, type: "mail.send", actor: "ada", reason: "ticket 12", requestId: "r-1" },
  ]);
});

test("every command takes the request that it came with", async () => {
  const queue = new Queue({ store: await memory() });
  await queue.pause("mail.send", { actor: "ada", requestId: "r-1" });
  await queue.resume("mail.send", { actor: "ada", requestId: "r-2" });

  expect((await queue.audit()).records.map(({ requestId }) => requestId)).toEqual(["r-2", "r-1"]);
  expect((await queue.settingsHistory({ type: "mail.send" })).map(({ requestId }) => requestId)).toEqual([
    "r-2",
    "r-1",
  ]);
});

test("a page has 50 records where nobody says, and never more than 1,000", async () => {
  const queue = new Queue({ store: await memory() });
  await queue.record(Array.from({ length: 1_001 }, () => ({ action: "reveal", target: job }) as const));

  const first = await queue.audit({ target: job });
  expect([first.records.length, (await queue.audit({ limit: 1e9 })).records.length]).toEqual([50, 1_000]);
  const second = await queue.audit({ target: job, limit: 1_000, before: first.next! });
  expect([second.records.length, second.next]).toEqual([951, null]);
});
