/** What a client can make the service hold or do: bodies, headers, time, and strings that nobody sends in good faith. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { sendHostile } from "./hostile.test.bed.js";
import { answerIn, eventually, faultOfProblem, rawAt, startBed } from "./service.test.bed.js";
import type { Bed, Raw, Seen } from "./service.test.bed.js";

const folder = mkdtempSync(join(tmpdir(), "sluice-limits-"));
let store: SqliteStore;
let bed: Bed;
let key: string;

beforeAll(async () => {
  store = await sqlite({ path: join(folder, "jobs.db") });
  bed = await startBed({ store, hasWorker: false, limits: { bodyMs: 1_500 } });
  key = await bed.key({});
});
afterAll(async () => {
  await bed.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const answered = (raw: Raw): Promise<Seen> =>
  eventually(() => {
    const text = raw.text().replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, "");
    if (!text.includes("\r\n\r\n")) return null;
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    return Buffer.byteLength(text.slice(text.indexOf("\r\n\r\n") + 4)) >= length ? answerIn(text) : null;
  });

const head = (line: string, ...fields: readonly string[]) => `${[`${line} HTTP/1.1`, "Host: localhost", ...fields].join("\r\n")}\r\n\r\n`; // prettier-ignore
const withKey = () => `Authorization: Bearer ${key}`;
const json = "Content-Type: application/json";
const chunked = "Transfer-Encoding: chunked";

// ── bodies ──────────────────────────────────────────────────────────────────

test.each([
  { name: "a job", line: "POST /v1/jobs", hasKey: true, status: 413, code: "body_too_large" },
  { name: "an array", line: "POST /v1/jobs/batch", hasKey: true, status: 413, code: "body_too_large" },
  { name: "a session, of nobody", line: "POST /v1/session", hasKey: false, status: 413, code: "body_too_large" },
  { name: "nobody's job", line: "POST /v1/jobs", hasKey: false, status: 401, code: "unauthenticated" },
  { name: "nothing", line: "POST /v1/nothing", hasKey: true, status: 404, code: "not_found" },
  { name: "a question", line: "GET /v1/jobs", hasKey: true, status: 200, code: undefined },
])("a body without an end, to $name: answered, the connection closed, nothing kept", async (each) => {
  const { line, hasKey, status, code } = each;
  const before = process.memoryUsage().arrayBuffers;
  const raw = rawAt(bed.port, head(line, ...(hasKey ? [withKey()] : []), json, chunked));
  const piece = `10000\r\n${"[".padEnd(65_536, " ")}\r\n`;
  let mebibytes = 0;
  const pour = () => {
    while (!raw.socket.destroyed && raw.socket.write(piece)) mebibytes += 1 / 16;
    mebibytes += 1 / 16;
  };
  raw.socket.on("drain", pour);
  raw.socket.on("connect", pour);

  const seen = await answered(raw);
  await raw.closed;

  expect([seen.status, seen.json.code]).toEqual([status, code]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1_048_576);
  expect(mebibytes).toBeGreaterThan(0);
});

test("a client that sends more than may be still gets to read why", async () => {
  for (let n = 0; n < 5; n++) {
    const seen = await bed.enqueue("guard.note", { text: "x".repeat(3_000_000) }, { key });
    expect([seen.status, faultOfProblem(seen)]).toEqual([413, null]);
  }
});

test("a body that comes slowly is given up, as is one that stops", async () => {
  const began = performance.now();
  const lines = [head("POST /v1/jobs", withKey(), json, chunked), head("POST /v1/session", json, "Content-Length: 50")];
  const all = await Promise.all(
    lines.map(async (line, index) => {
      const raw = rawAt(bed.port, line);
      const drip = setInterval(() => raw.socket.write(index === 0 ? "1\r\n \r\n" : " "), 200);
      const seen = await answered(raw);
      await raw.closed;
      clearInterval(drip);
      return [seen.status, seen.json.code, faultOfProblem(seen)];
    }),
  );
  expect(all).toEqual([[408, "request_timeout", null], [408, "request_timeout", null]]); // prettier-ignore
  expect(performance.now() - began).toBeGreaterThan(1_400);
});

test("a client that goes away in the midst of its body is no failure of the service", async () => {
  const raws = [json, "Content-Type: application/x-ndjson"].map((type) => rawAt(bed.port, head("POST /v1/jobs/batch", withKey(), type, "Content-Length: 100") + '{"type"')); // prettier-ignore
  const metric = async () => (await bed.call("GET", "/metrics", { key })).text;
  await eventually(async () => (/sluice_http_requests_in_flight 2/.test(await metric()) ? true : null));
  for (const raw of raws) raw.socket.destroy();

  await eventually(async () => (/sluice_http_requests_in_flight 0/.test(await metric()) ? true : null));
  expect(bed.log.filter((line) => /"level":50/.test(line))).toEqual([]);
});

// ── headers ─────────────────────────────────────────────────────────────────

test("headers that come slowly, and connections that say nothing, are given up", { timeout: 60_000 }, async () => {
  const dripping = rawAt(bed.port, "GET /livez HTTP/1.1\r\nHost: localhost\r\n");
  const drip = setInterval(() => dripping.socket.write("a: b\r\n"), 500);
  const silent = rawAt(bed.port);
  const began = performance.now();

  await Promise.all([dripping.closed, silent.closed]);
  clearInterval(drip);

  const tookMs = performance.now() - began;
  expect(tookMs).toBeGreaterThan(8_000);
  expect(tookMs).toBeLessThan(25_000);
  const seen = answerIn(dripping.text());
  expect([seen.status, seen.json.code, faultOfProblem(seen)]).toEqual([408, "request_timeout", null]);
});

test.each([
  { name: "no HTTP", sent: "NONSENSE\r\n\r\n", status: 400 },
  { name: "HTTP/2", sent: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 400 },
  { name: "TLS", sent: "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\r\n\r\n", status: 400 },
  { name: "a space before the colon", sent: "GET /livez HTTP/1.1\r\nHost : a\r\n\r\n", status: 400 },
  { name: "no Host", sent: "GET /livez HTTP/1.1\r\n\r\n", status: 400 },
  { name: "two Hosts", sent: "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", status: 400 },
  {
    name: "two lengths",
    sent: "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    status: 400,
  },
  {
    name: "a chunk that is none",
    sent: `POST /v1/session HTTP/1.1\r\nHost: a\r\n${json}\r\n${chunked}\r\n\r\n4\r\n{"a"\r\nZZ\r\n`,
    status: 400,
  },
  { name: "a line break in the address", sent: "GET /v1/\r\njobs HTTP/1.1\r\nHost: a\r\n\r\n", status: 400 },
  { name: "a percent sign in the address", sent: head("GET /v1/jobs/%zz"), status: 400 },
  { name: "a header of 20 KiB", sent: head("GET /livez", `A: ${"a".repeat(20_480)}`), status: 431 },
  {
    name: "very many headers",
    sent: head("GET /livez", ...Array.from({ length: 3_000 }, (_, n) => `a${n}: b`)),
    status: 431,
  },
  { name: "an address of 20 KiB", sent: head(`GET /v1/jobs?q=${"a".repeat(20_480)}`), status: 431 },
  { name: "a long part of an address", sent: head(`GET /v1/jobs/${"a".repeat(600)}`), status: 414 },
  { name: "a method that nobody knows", sent: head("PROPFIND /v1/jobs"), status: 404 },
  { name: "bad JSON to nowhere", sent: `${head("POST /nowhere", json, "Content-Length: 4")}{bad`, status: 404 },
  { name: "an expectation", sent: head("GET /v1/nothing", "Expect: the-unexpected"), status: 404 },
])("$name: $status as a problem", async ({ sent, status }) => {
  const raw = rawAt(bed.port, sent);
  const seen = await answered(raw);
  raw.socket.destroy();

  expect([seen.status, faultOfProblem(seen)]).toEqual([status, null]);
});

// ── values ──────────────────────────────────────────────────────────────────

test.each([
  { name: "33 levels", body: `{"type":"guard.note","payload":${"[".repeat(33)}${"]".repeat(33)}}` },
  { name: "half a million levels", body: "[".repeat(500_000) },
  { name: "100,001 values", body: `{"type":"guard.note","payload":[${"1,".repeat(100_000)}1]}` },
  { name: "a name twice", body: '{"type":"guard.note","payload":{"text":"a","te\\u0078t":"b"}}' },
  { name: "__proto__", body: '{"type":"guard.note","payload":{"__proto__":{"n":1}}}' },
  { name: "nothing", body: "" },
  { name: "half a string", body: '{"type":"gua' },
])("JSON with $name is 400", async ({ body }) => {
  const seen = await bed.call("POST", "/v1/jobs", { key, body, headers: { "content-type": "application/json" } });
  expect([seen.status, seen.json.code, faultOfProblem(seen)]).toEqual([400, "malformed_json", null]);
});

test.each([
  { path: `/v1/jobs?q=${"a".repeat(3_000)}`, parameter: "q" },
  { path: "/v1/jobs?q=a&q=b", parameter: "q" },
  { path: "/v1/jobs?limit=201", parameter: "limit" },
  { path: "/v1/jobs?limit=1e999", parameter: "limit" },
  { path: "/v1/jobs?cursor=nonsense", parameter: "cursor" },
  { path: "/v1/audit?cursor=nonsense", parameter: "cursor" },
  { path: "/v1/audit?cursor=-1", parameter: "cursor" },
  { path: "/v1/stats?range=401d", parameter: "range" },
  { path: `/v1/jobs?${"n".repeat(3_000)}=1`, parameter: "n".repeat(100) },
  { path: `/v1/types?${"n".repeat(3_000)}=1`, parameter: "n".repeat(100) },
])("a parameter that cannot be used is 422 with its name: $path", async ({ path, parameter }) => {
  const seen = await bed.call("GET", path, { key });
  expect([seen.status, seen.json.errors[0]?.parameter, faultOfProblem(seen)]).toEqual([422, parameter, null]);
  expect(seen.text).not.toMatch(/nonsense|aaaa|n{101}/);
});

test("a number that JSON cannot hold is refused, with an Idempotency-Key, too", async () => {
  const body = '{"type":"guard.note","payload":{"n":1e999}}';
  const headers = { "content-type": "application/json", "idempotency-key": "infinite" };
  const seen = await bed.call("POST", "/v1/jobs", { key, body, headers });
  expect([seen.status, seen.json.code, seen.json.errors[0]?.pointer]).toEqual([422, "invalid_payload", "/payload/n"]);
});

test("what would steer a terminal or turn text around is written out", async () => {
  const seen = await bed.call("GET", `/v1/jobs?q=${encodeURIComponent("a\u202eb\u001b[2J:c")}`, { key });
  expect([seen.status, seen.json.code]).toEqual([422, "invalid_query"]);
  expect(seen.json.detail).toContain("a\\u202eb\\u001b[2J");
});

test("nothing that a client can write is a failure of the service", { timeout: 120_000 }, async () => {
  const { sent, faults } = await sendHostile(bed, key);
  expect(faults).toEqual([]);
  expect(sent).toBeGreaterThan(1_000);
});
