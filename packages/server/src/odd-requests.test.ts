/** Requests that are allowed, or nearly, and that clients other than ours send. Each was answered wrongly once: the fuzzer found them. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineJob, Queue } from "sluice";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { startService, type Service } from "./start.js";

const note = defineJob({ type: "note", payload: z.object({ text: z.string() }) });

let folder: string;
let store: SqliteStore;
let queue: Queue<unknown>;
let service: Service;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-odd-"));
  store = await sqlite({ path: join(folder, "jobs.db") });
  queue = new Queue<unknown>({ store });
  service = await startService({ store, queue, definitions: [note], port: 0 });
});

afterAll(async () => {
  await service.close({ graceMs: 0 });
  await queue.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** With node:http: `fetch` says less than a client may. */
async function ask(method: string, path: string, headers: OutgoingHttpHeaders = {}, body?: string): Promise<Answer> {
  const outgoing = request(service.url + path, { method, headers });
  outgoing.end(body);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of incoming.setEncoding("utf8")) text += chunk as string;
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, text };
}

const json = { "content-type": "application/json" };
const parsed = ({ text }: Answer) => JSON.parse(text) as Record<string, unknown>;

test("HEAD of a stream is answered, and holds none open", async () => {
  const { job } = await queue.enqueue(note, { text: "a" });

  for (const path of ["/v1/events", `/v1/jobs/${job.id}/events`]) {
    const { status, headers, text } = await ask("HEAD", path);

    expect({ status, text }).toEqual({ status: 200, text: "" });
    expect(headers["content-type"]).toContain("text/event-stream");
  }
  expect((await ask("GET", "/metrics")).text).toMatch(/^sluice_http_streams 0$/m);
});

test("what a client expects is done without where it is not known", async () => {
  expect((await ask("GET", "/livez", { expect: "the-moon" })).status).toBe(200);
});

test("a command without a body may be sent in chunks", async () => {
  const { job } = await queue.enqueue(note, { text: "b" });

  // No Content-Length and no Content-Type: Node's own client sends the end of a chunked body.
  expect((await ask("POST", `/v1/jobs/${job.id}/cancel`)).status).toBe(200);
});

test("a body in chunks is read when it comes late", async () => {
  const { job } = await queue.enqueue(note, { text: "c" });
  const outgoing = request(`${service.url}/v1/jobs/${job.id}/cancel`, { method: "POST", headers: json });
  outgoing.flushHeaders();
  await new Promise((resolve) => setTimeout(resolve, 50));
  outgoing.end('{"reason":"late"}');
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  incoming.resume();

  expect(incoming.statusCode).toBe(200);
  expect((await queue.audit({ target: { kind: "job", id: job.id } })).records[0]?.reason).toBe("late");
});

test("what cannot be the id of a key is not called a job", async () => {
  expect(parsed(await ask("DELETE", `/v1/keys/${"9".repeat(200)}`))).toMatchObject({ status: 404, code: "not_found" });
});

test("a batch in lines is there for who accepts lines only", async () => {
  const headers = { "content-type": "application/x-ndjson", accept: "application/x-ndjson" };
  const { status, text } = await ask("POST", "/v1/jobs/batch", headers, '{"type":"note","payload":{"text":"d"}}\n');

  expect(status).toBe(202);
  expect(JSON.parse(text)).toMatchObject({ line: 1, outcome: "created" });
});

test("names of types that are not there are not repeated", async () => {
  const answers = await Promise.all([
    ask("POST", "/v1/jobs", json, '{"type":"canary","payload":{}}'),
    ask("GET", "/v1/types/canary"),
    ask("PATCH", "/v1/types/canary", json, '{"pause":{}}'),
  ]);

  expect(answers.map(({ status }) => status)).toEqual([422, 404, 404]);
  for (const { text } of answers) expect(text).not.toContain("canary");
});

test("a setting that the library refuses is named by its pointer", async () => {
  const { status, text } = await ask("PATCH", "/v1/types/note", json, '{"rate":{"limit":0.5,"perMs":86400000}}');

  expect(status).toBe(422);
  expect(JSON.parse(text)).toMatchObject({ code: "invalid_request", errors: [{ pointer: "/rate" }] });
});

test.each([
  { path: "/v1/types/note", body: { rate: { limit: 1, perMs: 0.1 } }, pointer: "/rate/perMs" },
  { path: "/v1/types/note", body: { ratePerKey: { limit: 1, perMs: 1e12 } }, pointer: "/ratePerKey/perMs" },
  { path: "/v1/types/note", body: { rate: { limit: 1, perMs: 1_000, burst: 0.5 } }, pointer: "/rate/burst" },
])("the document says what rates there may be: $body", async ({ path, body, pointer }) => {
  const { text } = await ask("PATCH", path, json, JSON.stringify(body));
  expect(JSON.parse(text)).toMatchObject({ status: 422, errors: [{ pointer }] });
});

test("a cursor of the audit that is none is named as the caller knows it, and not repeated", async () => {
  const answer = await ask("GET", "/v1/audit?cursor=canary");
  expect(parsed(answer)).toMatchObject({ status: 422, code: "invalid_request", errors: [{ parameter: "cursor" }] });
  expect(answer.text).not.toContain("canary");
});

test("a key for the type of no name is refused, and its place named", async () => {
  const { text } = await ask("POST", "/v1/keys", json, '{"name":"a","roles":["admin"],"types":[""]}');
  expect(JSON.parse(text)).toMatchObject({ status: 422, errors: [{ pointer: "/types/0" }] });
});
