/** A job from the command line, over real HTTP. */
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { startService, type Service } from "@sluice/server";
import { defineJob, handle, NonRetryableError, Queue, Worker } from "sluice";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { aFolder, sluice, sluiceHere, type Folder } from "../cli.test.process.js";

const mail = defineJob({
  type: "mail",
  payload: z.object({ to: z.email(), token: z.string().meta({ sensitive: true }).optional() }),
  result: z.object({ sent: z.boolean() }),
});
const doomed = defineJob({ type: "doomed", payload: z.object({}) });
const orphan = defineJob({ type: "orphan", payload: z.object({}) });

let folder: Folder;
let store: SqliteStore;
let queue: Queue<unknown>;
let worker: Worker<unknown>;
let service: Service;
let other: Server;
let closedUrl: string;

beforeAll(async () => {
  folder = aFolder();
  store = await sqlite({ path: folder.path("jobs.db") });
  queue = new Queue<unknown>({ store });
  worker = new Worker<unknown>({
    store,
    processors: [
      handle(mail, async () => ({ sent: true })),
      handle(doomed, async () => {
        throw new NonRetryableError("no\u001b[2J good");
      }),
    ],
  });
  service = await startService({ store, queue, definitions: [mail, doomed, orphan], port: 0 });
  await worker.start();
  other = createServer((_request, response) => response.end("<html>hello</html>")).listen(0, "127.0.0.1");
  await once(other, "listening");
  const gone = createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  closedUrl = urlOf(gone);
  gone.close();
});

const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

afterAll(async () => {
  other.close();
  await service.close();
  await worker.stop();
  await queue.close();
  await store.close();
  folder.remove();
});

const enqueue = (args: readonly string[]) => sluiceHere(["enqueue", "--url", service.url, ...args]);

const good = '{"to":"ada@example.org","token":"canary-1"}';

test("a job is added, and shown; the same key again is the same job", async () => {
  const first = await enqueue(["mail", "--json", good, "--idempotency-key", "order 17"]);
  const second = await enqueue(["mail", "--json", good, "--idempotency-key", "order 17", "--json-output"]);

  expect(first).toMatchObject({ code: 0, stderr: "" });
  const id = /^job: +(\S+)\ntype: +mail\nstate: +\w+\noutcome: +created\n/.exec(first.stdout)?.[1];
  expect(second).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(second.stdout)).toMatchObject({ id, type: "mail", outcome: "duplicate" });
  expect((await queue.get(id!))?.payload).toEqual({ to: "ada@example.org", token: "canary-1" });
  expect(first.stdout + second.stdout).not.toContain("canary");
});

test("it waits for the end, and says with its exit code what it was", async () => {
  const [done, failed, late] = await Promise.all([
    enqueue(["mail", "--json", good, "--wait", "60"]),
    enqueue(["doomed", "--wait", "60"]),
    enqueue(["orphan", "--wait", "1"]),
  ]);

  expect(done).toMatchObject({ code: 0, stderr: "" });
  expect(done.stdout).toContain('\nstate:       completed\noutcome:     created\nresult:      {"sent":true}\n');
  expect(failed).toMatchObject({ code: 1, stderr: "" });
  expect(failed.stdout).toMatch(/\nstate: +failed\n(.*\n)*error: +\w+: no\\u001b\[2J good\n$/);
  expect(late).toMatchObject({ code: 1, stderr: "sluice: It has not ended within 1 s.\n" });
  expect(late.stdout).toMatch(/\nstate: +pending\n/);
});

test.each([
  {
    args: ["mail", "--json", '{"to":"nobody"}'],
    says: /^sluice: [^\n]+\n {2}\/payload\/to: [^\n]+\n$/,
  },
  {
    args: ["mial", "--json", "{}"],
    says: /^sluice: No type of job has this name here\.[^\n]+\n {2}\/type: [^\n]+\n$/,
  },
  { args: ["mail", "--idempotency-key", "é", "--json", good], says: /^sluice: [^\n]*Idempotency-Key[^\n]*\n/ },
  { args: ["mail", "--key", "slu_no"], says: /^sluice: The key is not known, or not good any more\.\n$/ },
  { args: ["mail", "--url", "CLOSED"], says: /^sluice: Nobody answers at http:\/\/127\.0\.0\.1:\d+\. Start[^\n]+\n$/ },
  { args: ["mail", "--url", "OTHER"], says: /^sluice: What answers at \S+ is no service of Sluice\.\n$/ },
  {
    args: ["mail", "--url", "http://no.such.host.invalid"],
    says: /^sluice: The host of \S+ is not known\. Give --url\.\n$/,
  },
])("$args is refused in one sentence, with its fields", async ({ args, says }) => {
  const places: Readonly<Record<string, string>> = { OTHER: urlOf(other), CLOSED: closedUrl };

  const answer = await enqueue(args.map((arg) => places[arg] ?? arg));

  expect([answer.code, answer.stdout]).toEqual([1, ""]);
  expect(answer.stderr).toMatch(says);
  expect(answer.stderr).not.toContain("slu_no");
});

test.each([
  { args: [] },
  { args: ["mail", "--json", "{"] },
  { args: ["mail", "--url", "localhost:3000"] },
  { args: ["mail", "--url", "http://u:p@localhost"] },
  { args: ["mail", "--wait", "61"] },
])("used wrongly: $args", async ({ args }) => {
  const { code, stdout, stderr } = await enqueue(args);

  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^sluice: .+\nAdd --help to see what there is\.\n$/);
});

// The last: from here on the service asks everybody.
test("a service with keys is asked with one from the environment", async () => {
  const { key, token } = await queue.createAccessKey({ name: "ci", roles: ["admin"] }, { actor: "test" });
  await expect.poll(async () => (await fetch(`${service.url}/v1/types`)).status, { timeout: 10_000 }).toBe(401);

  const without = await enqueue(["mail", "--json", good]);
  const withKey = await sluice(["enqueue", "mail", "--json", good], { SLUICE_URL: service.url, SLUICE_KEY: token });

  expect([without.code, without.stdout]).toEqual([1, ""]);
  expect(without.stderr).toMatch(/^sluice: Send a key: [^\n]+\n$/);
  expect(withKey).toMatchObject({ code: 0, stderr: "" });
  expect(key.name).toBe("ci");
});
