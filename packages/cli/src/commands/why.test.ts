/** The answer to why a job is not running, as it is printed; that each reason is the right one is the library's to show. */
import { Queue, type Store } from "sluice";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { aBeat, aClaim, aNewJob, anError, aUniqueClaim, completeOf, failOf, retryOf } from "sluice/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aFolder, sluice, type Folder } from "../cli.test.process.js";

let folder: Folder;
let store: SqliteStore;
const instant = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/g;
const hourMs = 3_600_000;

beforeEach(async () => {
  folder = aFolder();
  store = await sqlite({ path: folder.path("jobs.db") });
});

afterEach(async () => {
  await store.close();
  folder.remove();
});

const why = (id: string, ...more: readonly string[]) =>
  sluice(["why", id, ...more], { SLUICE_STORE: `sqlite:${folder.path("jobs.db")}` });

async function claim() {
  const { jobs } = await store.claim(aClaim({ limit: 1 }));
  return jobs[0]!;
}

/** Each leaves one job to ask about. */
const scenes: readonly { says: string; set: (store: Store<unknown>) => Promise<string> }[] = [
  {
    says: "It is scheduled, and due at INSTANT.",
    set: () => add({ due: { afterMs: hourMs } }),
  },
  {
    says: "Attempt 1 failed (Error: the mail server is down); it is tried again at INSTANT.",
    set: async () => {
      const id = await add();
      const error = anError({ message: "the mail\n server is down" });
      await store.settle([retryOf(await claim(), { delayMs: hourMs, error })]);
      return id;
    },
  },
  {
    says: "It is blocked: job HOLDER holds its unique key, and must end first.",
    set: async () => {
      const unique = aUniqueClaim({ onConflict: "rerun" });
      await add({ unique });
      await claim();
      return add({ unique });
    },
  },
  {
    says: "The type example is paused by ada (migration), since INSTANT and until somebody resumes it.",
    set: async () => {
      await new Queue({ store }).pause("example", { actor: "ada", reason: "migration" });
      return add();
    },
  },
  {
    says: "No living worker works on example. Start one that has a processor for it.",
    set: async () => {
      await store.retire("worker-1");
      return add();
    },
  },
  {
    says: "It has version 3 of example, and the workers know up to version 1. Deploy a newer worker.",
    set: () => add({ version: 3 }),
  },
  {
    says: "The type is full: 1 of example are processing, and 1 may at once. Nothing is ahead of it.",
    set: async () => {
      await new Queue({ store }).setType("example", { concurrency: 1 });
      await add();
      await claim();
      return add();
    },
  },
  {
    says: "It is queued. Ahead of it: 2 jobs of its type.",
    set: async () => {
      await add();
      await add();
      return add();
    },
  },
  {
    says: "It is next: nothing is ahead of it, and a worker has a free slot.",
    set: () => add(),
  },
  {
    says: "It is running: attempt 1, since INSTANT, in worker worker-1.",
    set: async () => {
      await add();
      return (await claim()).id;
    },
  },
  {
    says: "It completed at INSTANT.",
    set: async () => {
      await add();
      const held = await claim();
      await store.settle([completeOf(held)]);
      return held.id;
    },
  },
  {
    says: "It failed at INSTANT: exhausted (Error: It broke.).",
    set: async () => {
      await add();
      const held = await claim();
      await store.settle([failOf(held)]);
      return held.id;
    },
  },
];

async function add(overrides: Parameters<typeof aNewJob>[0] = {}): Promise<string> {
  const job = aNewJob(overrides);
  await store.enqueue([job]);
  return job.id;
}

test.each(scenes)("$says", async ({ says, set }) => {
  await store.heartbeat(aBeat({ leaseMs: hourMs }));
  const id = await set(store);

  const { code, stdout, stderr } = await why(id);

  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.replaceAll(instant, "INSTANT").replace(/job [0-9a-f-]{36}/, "job HOLDER")).toBe(`${says}\n`);
});

test("programs get the reason with all that belongs to it", async () => {
  const id = await add();

  const { code, stdout } = await why(id, "--json");

  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    id,
    type: "example",
    status: "pending",
    state: "pending",
    waiting: { reason: "no_worker" },
  });
});

test("a job that does not wait has no reason, for programs", async () => {
  await add();
  const { id } = await claim();

  expect(JSON.parse((await why(id, "--json")).stdout)).toMatchObject({ state: "processing", waiting: null });
});

test("how long it may take is said where it is known", async () => {
  await store.heartbeat(aBeat({ leaseMs: hourMs, concurrency: 1 }));
  for (let n = 0; n < 10; n++) {
    await add();
    await store.settle([completeOf(await claim())]);
  }
  await add();
  const id = await add();

  const { stdout } = await why(id);

  expect(stdout).toMatch(
    /^It is queued\. Ahead of it: 1 job of its type; at the pace of late its turn comes in .+ s\.\n$/,
  );
});

test.each(["0190a1b2-0000-7000-8000-000000000000", "no id"])("a job that is not there: %s", async (id) => {
  const { code, stdout, stderr } = await why(id);

  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toBe(`sluice: There is no job ${id} in ${folder.path("jobs.db")}. It may have been pruned.\n`);
});

test("a file that is not there is not made", async () => {
  const { code, stderr } = await sluice(["why", "an-id", "--store", `sqlite:${folder.path("no.db")}`]);

  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: There is no file [^\n]+\n$/);
});
