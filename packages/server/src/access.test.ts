/** Who may: this machine without keys, keys and their roles for every endpoint, keys for some types, and sessions of browsers. */
import { request as httpRequest } from "node:http";
import { networkInterfaces } from "node:os";
import { afterEach, expect, test } from "vitest";
import { Queue } from "sluice";
import { memory } from "sluice/memory";
import { endpoints } from "./contract/index.js";
import { answerIn, callAt, eventually, faultOfProblem, rawAt, startBed } from "./service.test.bed.js";
import type { Bed, BedOptions, Seen } from "./service.test.bed.js";
import { startService } from "./start.js";

const open: Bed[] = [];
async function bedOf(options?: BedOptions): Promise<Bed> {
  const bed = await startBed(options);
  open.push(bed);
  return bed;
}
afterEach(async () => {
  await Promise.all(open.splice(0).map((bed) => bed.close()));
});

/** As sent: fetch has its own mind about Host and Cookie. */
function ask(port: number, path: string, headers: Readonly<Record<string, string>>): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: "127.0.0.1", path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", reject);
    request.end();
  });
}

// ── without keys ────────────────────────────────────────────────────────────

test("without keys this machine is answered, and nobody who comes through a proxy or by another name", async () => {
  const { port } = await bedOf({ hasWorker: false });

  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "localhost", `[::1]:${port}`, "LOCALHOST"]) {
    expect([host, await ask(port, "/v1/jobs", { host })]).toEqual([host, 200]);
  }
  for (const host of [
    "evil.example",
    `evil.example:${port}`,
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "0.0.0.0",
  ]) {
    expect([host, await ask(port, "/v1/jobs", { host })]).toEqual([host, 401]);
  }
  for (const name of [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "X-Forwarded-Port",
    "forwarded",
    "via",
    "x-real-ip",
  ]) {
    expect([name, await ask(port, "/v1/jobs", { host: "localhost", [name]: "10.0.0.1" })]).toEqual([name, 401]);
  }
});

test("no number of other headers hides that of a proxy", async () => {
  const { port } = await bedOf({ hasWorker: false });

  const raw = rawAt(
    port,
    `GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n${"a:\r\n".repeat(2_100)}X-Forwarded-For: 1.2.3.4\r\n\r\n`,
  );

  expect((await eventually(() => (raw.text().includes("\r\n\r\n") ? answerIn(raw.text()) : null))).status).toBe(401);
  raw.socket.destroy();
});

test("without a key that is good it refuses to listen to others, and says what to do", async () => {
  const store = await memory();
  const queue = new Queue<unknown>({ store });
  const start = (host: string) => startService({ store, queue, host, port: 0 });

  for (const host of [
    "0.0.0.0",
    "::",
    Object.values(networkInterfaces())
      .flat()
      .find((each) => each?.internal === false)?.address ?? "10.0.0.1",
  ]) {
    await expect(start(host)).rejects.toThrow(/^There is no API key that is good, so .* 127\.0\.0\.1\.$/);
  }
  const { key } = await queue.createAccessKey({ name: "ada", roles: ["admin"] });
  const service = await start("0.0.0.0");
  expect(service.isOpen).toBe(false);
  await service.close();
  await queue.revokeAccessKey(key.id);
  await expect(start("0.0.0.0")).rejects.toThrow(/no API key/);
  await queue.close();
  await store.close();
});

test("a door that was closed does not open again because the last key is over", async () => {
  const bed = await bedOf({ hasWorker: false });
  const soon = await bed.key({ expiresAt: new Date(Date.now() + 1_500) });
  await eventually(async () => ((await bed.call("GET", "/v1/types")).status === 401 ? true : null));

  expect((await bed.call("GET", "/v1/types", { key: soon })).status).toBe(200);
  await eventually(async () => ((await bed.call("GET", "/v1/types", { key: soon })).status === 401 ? true : null));
  expect((await bed.call("GET", "/v1/types")).status).toBe(401);
});

// ── keys ────────────────────────────────────────────────────────────────────

test("from the first key on every request needs one that is good; the first is an admin's", async () => {
  const bed = await bedOf({ hasWorker: false });
  const first = await bed.call("POST", "/v1/keys", { json: { name: "ci", roles: ["submit", "observe", "operate"] } });
  expect([first.status, first.json.code, first.json.errors[0]?.pointer]).toEqual([422, "invalid_request", "/roles"]);
  expect((await bed.call("GET", "/v1/types")).status).toBe(200);

  const made = await bed.call("POST", "/v1/keys", { json: { name: "ada", roles: ["admin"] } });
  const { token } = made.json;
  expect(made.status).toBe(201);

  const typo = token.slice(0, -1) + (token.endsWith("a") ? "b" : "a");
  const stranger = await (await bedOf({ hasWorker: false })).key({});
  const headers: Readonly<Record<string, string>>[] = [
    {},
    { authorization: `Bearer ${typo}` },
    { authorization: `Bearer ${stranger}` },
    { authorization: token },
    { authorization: `Basic ${token}` },
    { authorization: "Bearer " },
    { authorization: `Bearer ${"x".repeat(5_000)}` },
    { cookie: `sluice_session=${stranger}` },
    { "x-forwarded-for": "127.0.0.1" },
  ];
  for (const each of headers) {
    const seen = await bed.call("GET", "/v1/types", { headers: each });
    expect([each, seen.status, seen.json.code, faultOfProblem(seen)]).toEqual([each, 401, "unauthenticated", null]);
    expect(seen.headers.get("www-authenticate")).toMatch(/^Bearer/);
  }
  expect((await bed.call("GET", "/v1/types", { key: token })).status).toBe(200);
  const session = await bed.call("POST", "/v1/session", { json: { key: typo } });
  expect([session.status, session.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="sluice"']);
});

test("a revoked key opens nothing within two seconds, at another service on the store too, and its streams end", async () => {
  const bed = await bedOf({ hasWorker: false });
  const admin = await bed.key({});
  const made = await bed.call("POST", "/v1/keys", { key: admin, json: { name: "eve", roles: ["observe"] } });
  const eve = made.json.token;
  const there = await startService({ store: bed.store, queue: new Queue({ store: bed.store }), port: 0 });
  const at = (url: string) => callAt(url, "GET", "/v1/types", { key: eve });
  const stream = await fetch(`${there.url}/v1/events`, { headers: { authorization: `Bearer ${eve}` } });
  expect([(await at(bed.url)).status, (await at(there.url)).status, stream.status]).toEqual([200, 200, 200]);

  expect((await bed.call("DELETE", `/v1/keys/${made.json.key.id}`, { key: admin })).status).toBe(204);
  const revokedAt = performance.now();
  expect((await at(bed.url)).status).toBe(401);
  await bed.enqueue("guard.note", { text: "after it was revoked" }, { key: admin });
  await eventually(async () => ((await at(there.url)).status === 401 ? true : null), 10_000);
  expect(performance.now() - revokedAt).toBeLessThan(5_000);
  // Read to its end: it has one.
  const told = await stream.text();
  expect(told.match(/event: overview/g)).toHaveLength(1);
  await there.close();
});

// ── roles ───────────────────────────────────────────────────────────────────

const everybody = ["nobody", "submit", "observe", "operate", "admin"] as const;
const readers = ["observe", "operate", "admin"];
/** As docs/http.md has it, and not as the contract does. */
const may: Readonly<Record<string, readonly string[]>> = {
  enqueueJob: ["submit", "admin"],
  enqueueBatch: ["submit", "admin"],
  searchJobs: readers,
  readJob: ["submit", ...readers],
  revealPayload: ["admin"],
  streamJob: ["submit", ...readers],
  cancelJob: ["operate", "admin"],
  retryJob: ["operate", "admin"],
  discardJob: ["admin"],
  editPayload: ["operate", "admin"],
  bulk: ["operate", "admin"],
  listTypes: readers,
  readType: ["submit", ...readers],
  setType: ["operate", "admin"],
  readStats: readers,
  listWorkers: readers,
  readAudit: ["operate", "admin"],
  listKeys: ["admin"],
  createKey: ["admin"],
  revokeKey: ["admin"],
  openSession: everybody,
  readSession: ["submit", ...readers],
  closeSession: everybody,
  streamOverview: readers,
  livez: everybody,
  readyz: everybody,
  metrics: readers,
  openapi: everybody,
  docs: everybody,
};

test("each role may what the documentation says at each endpoint, and nothing else", async () => {
  const bed = await bedOf();
  const keys: Record<string, string | undefined> = { admin: await bed.key({ name: "an admin" }) };
  for (const role of ["submit", "observe", "operate"] as const) keys[role] = await bed.key({ roles: [role] });
  const { json } = await bed.enqueue("guard.note", { text: "a" }, { key: keys["admin"] });
  await bed.until(json.id, "completed", { key: keys["admin"] });
  const bodies: Readonly<Record<string, unknown>> = {
    enqueueJob: { type: "guard.note", payload: {} },
    enqueueBatch: [{ type: "guard.note", payload: {} }],
    editPayload: { payload: {} },
    bulk: { action: "retry", q: "state:failed", dryRun: true, reason: "a test" },
    setType: { pause: null },
    createKey: { name: "another", roles: ["submit"] },
    openSession: { key: keys["admin"] },
  };
  expect(Object.keys(may).sort()).toEqual(endpoints.map(({ id }) => id).sort());

  for (const { id, method, path } of endpoints) {
    const allowed: string[] = [];
    for (const role of everybody) {
      const address = path.replace("{id}", id === "revokeKey" ? "nothing" : json.id).replace("{type}", "guard.note");
      const key = keys[role];
      const response = await fetch(bed.url + address, {
        method,
        headers: {
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
          ...(id in bodies && { "content-type": "application/json" }),
        },
        ...(id in bodies && { body: JSON.stringify(bodies[id]) }),
      });
      await response.body?.cancel();
      if (![401, 403].includes(response.status)) allowed.push(role);
      else expect([id, role, response.status]).toEqual([id, role, role === "nobody" ? 401 : 403]);
      expect(response.status).toBeLessThan(500);
    }
    expect([id, allowed]).toEqual([id, may[id]]);
  }
});

test("what only an admin may within what others may, others may not", async () => {
  const bed = await bedOf({ hasWorker: false });
  const [admin, operate, reader, submit] = [
    await bed.key({}),
    await bed.key({ roles: ["operate"] }),
    await bed.key({ roles: ["observe"], canReadPayloads: true }),
    await bed.key({ roles: ["submit"], canReadPayloads: true }),
  ];
  const status = async (...call: Parameters<Bed["call"]>) => (await bed.call(...call)).status;
  const bulk = { action: "discard", q: "state:failed", reason: "x" };
  expect(await status("POST", "/v1/bulk", { key: operate, json: bulk })).toBe(403);
  expect(await status("POST", "/v1/bulk", { key: operate, json: { ...bulk, dryRun: true } })).toBe(403);
  for (const patch of [{ concurrency: 1 }, { rollout: { percentage: 0 } }, { rate: null }, { enqueueLimit: null }]) {
    expect(await status("PATCH", "/v1/types/guard.note", { key: operate, json: patch })).toBe(403);
  }
  expect(await status("PATCH", "/v1/types/guard.note", { key: operate, json: { pause: { reason: "x" } } })).toBe(200);

  const { json } = await bed.enqueue("guard.note", { token: "it-is-secret" }, { key: admin });
  expect(await status("GET", `/v1/jobs/${json.id}/payload`, { key: operate })).toBe(403);
  expect(await status("GET", `/v1/jobs/${json.id}/payload`, { key: submit })).toBe(403);
  expect(await status("GET", `/v1/jobs/${json.id}/payload`, { key: reader })).toBe(200);
});

test("a bulk action is begun at its own endpoint only: as a plain job it could say who asks and what they may", async () => {
  const bed = await bedOf();
  const [admin, submit, operate] = [
    await bed.key({}),
    await bed.key({ roles: ["submit"] }),
    await bed.key({ roles: ["operate"] }),
  ];
  const held = await bed.enqueue("guard.note", {}, { key: admin, more: { delayMs: 3_600_000 } });
  const order = { action: "cancel", q: "type:guard.note", asOf: Date.now() + 60_000, within: null, canary: 0, ratePerSecond: 500, actor: "forged", reason: "x", requestId: "y" }; // prettier-ignore

  const one = await bed.enqueue("sluice.bulk", order, { key: submit });
  const many = await bed.call("POST", "/v1/jobs/batch", {
    key: submit,
    json: [{ type: "sluice.bulk", payload: order }],
  });
  expect([one.status, one.json.code]).toEqual([403, "forbidden"]);
  expect(many.json.results).toMatchObject([{ outcome: "invalid", problem: { code: "forbidden" } }]);

  const begun = await bed.call("POST", "/v1/bulk", {
    key: operate,
    json: { action: "retry", q: "state:failed", reason: "x" },
  });
  const edit = await bed.call("PATCH", `/v1/jobs/${begun.json.id}/payload`, { key: operate, json: { payload: order } });
  expect([begun.status, edit.status, edit.json.code]).toEqual([202, 403, "forbidden"]);
  expect((await bed.call("GET", `/v1/jobs/${held.json.id}`, { key: admin })).json.state).toBe("scheduled");
});

// ── keys for some types ─────────────────────────────────────────────────────

test("for a key for some types, jobs of others are not there", async () => {
  const bed = await bedOf();
  const [admin, scoped] = [await bed.key({}), await bed.key({ name: "scoped", types: ["guard.*"] })];
  const own = (await bed.enqueue("guard.note", { text: "own" }, { key: scoped })).json.id;
  const theirs = (await bed.enqueue("other.note", { text: "theirs" }, { key: admin })).json.id;
  const held = (await bed.enqueue("other.note", { text: "held" }, { key: admin, more: { delayMs: 3_600_000 } })).json.id; // prettier-ignore
  const failed = (await bed.enqueue("guard.leaky", { token: "it-is-secret" }, { key: scoped })).json.id;
  await Promise.all([bed.until(own, "completed", { key: admin }), bed.until(theirs, "completed", { key: admin }), bed.until(failed, "failed", { key: admin })]); // prettier-ignore
  await bed.call("POST", `/v1/jobs/${failed}/retry`, { key: admin, json: { reason: "ours" } });
  await bed.call("PATCH", "/v1/types/other.note", { key: admin, json: { concurrency: 7, reason: "theirs" } });
  // Rollups are written now and then.
  await eventually(async () =>
    (await bed.call("GET", "/v1/stats", { key: admin })).text.includes("other.note") ? true : null,
  );
  const as = (method: string, path: string, json?: unknown) => bed.call(method, path, { key: scoped, ...(json !== undefined && { json }) }); // prettier-ignore

  expect((await bed.enqueue("other.note", { text: "a" }, { key: scoped })).status).toBe(403);
  const commands: readonly [string, string, unknown?][] = [
    ["GET", ""],
    ["GET", "/payload"],
    ["GET", "/events"],
    ["POST", "/cancel"],
    ["POST", "/retry"],
    ["POST", "/discard"],
    ["PATCH", "/payload", { payload: { text: "b" } }],
  ];
  for (const [method, path, json] of commands) {
    const seen = await as(method, `/v1/jobs/${held}${path}`, json);
    expect([method, path, seen.status, seen.json.code]).toEqual([method, path, 404, "job_not_found"]);
    expect(seen.text).not.toContain("other");
  }
  expect((await as("GET", "/v1/types/other.note")).status).toBe(404);
  expect((await as("PATCH", "/v1/types/other.note", { pause: null })).status).toBe(403);

  const filtered = ["/v1/jobs", "/v1/jobs?q=type:other.note", `/v1/jobs?q=${theirs}`, "/v1/stats", "/v1/stats?type=other.note", "/v1/types", "/v1/workers", "/v1/audit", "/v1/audit?type=other.note", `/v1/audit?job=${held}`]; // prettier-ignore
  for (const path of filtered) {
    const seen = await as("GET", path);
    expect([path, seen.status, /other\.note/.test(seen.text)]).toEqual([path, 200, false]);
    expect((await bed.call("GET", path, { key: admin })).text, path).toMatch(/other\.note|"entries":\[/);
  }
  expect((await as("GET", "/v1/jobs")).text).toContain(own);
  expect((await as("GET", "/v1/audit")).text).toContain("ours");
  const overview = await fetch(`${bed.url}/v1/events`, { headers: { authorization: `Bearer ${scoped}` } });
  expect(await firstMessage(overview)).toMatch(/^(?!.*other\.note).*guard\.note/s);
  expect((await as("GET", "/metrics")).status).toBe(403);
  for (const [method, path, json] of [
    ["GET", "/v1/keys"],
    ["POST", "/v1/keys", { name: "wider", roles: ["admin"] }],
    ["DELETE", "/v1/keys/any"],
  ] as const) {
    // prettier-ignore
    expect([method, path, (await as(method, path, json)).status]).toEqual([method, path, 403]);
  }

  const everything = { action: "cancel", q: "state:scheduled,pending,completed", reason: "x" };
  expect((await as("POST", "/v1/bulk", { ...everything, dryRun: true })).json.byType).toEqual({ "guard.note": 1 });
  const begun = await as("POST", "/v1/bulk", everything);
  await bed.until(begun.json.id, "completed", { key: admin });
  expect((await bed.call("GET", `/v1/jobs/${held}`, { key: admin })).json.state).toBe("scheduled");
});

/** Of a stream, which is then left. */
async function firstMessage(response: Response): Promise<string> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!/data: .*\n\n/.test(text)) text += (await reader.read()).value ?? "";
  await reader.cancel();
  return text;
}

test("keys are in no answer, log line or metric", async () => {
  const bed = await bedOf({ hasWorker: false });
  const admin = await bed.key({});
  const made = await bed.call("POST", "/v1/keys", { key: admin, json: { name: "ci", roles: ["observe"] } });
  const session = await bed.call("POST", "/v1/session", { json: { key: made.json.token } });
  const cookie = session.headers.get("set-cookie")!.split(";")[0]!;
  const secrets = [admin, made.json.token, cookie.split("=")[1]!];
  const wrong = secrets.map((secret) => secret.slice(0, -2));
  const answers: Seen[] = [session];
  for (const key of [...secrets, ...wrong]) {
    for (const path of [
      "/v1/keys",
      "/v1/session",
      "/v1/audit",
      "/metrics",
      "/v1/nothing",
      `/v1/jobs?q=${key}`,
      `/v1/jobs/${key}`,
    ]) {
      answers.push(await bed.call("GET", path, { key }));
    }
    answers.push(await bed.call("POST", "/v1/session", { json: { key } }));
    answers.push(await bed.call("POST", "/v1/session", { json: { keyy: key } }));
  }
  answers.push(await bed.call("GET", "/v1/types", { headers: { authorization: `Bear ${admin}` } }));

  const told = [...answers.map(({ text }) => text), ...bed.log].join("\n");
  for (const secret of secrets) expect(told.includes(secret.slice(12, -2))).toBe(false);
  expect(told).toContain(secrets[1]!.slice(0, 10));
});

// ── sessions ────────────────────────────────────────────────────────────────

test("a session reads and changes from its own pages, not from those of others", async () => {
  const bed = await bedOf({ hasWorker: false });
  const admin = await bed.key({});
  const seen = await bed.call("POST", "/v1/session", { json: { key: admin } });
  const set = seen.headers.get("set-cookie")!;
  expect([seen.status, seen.json.roles]).toEqual([200, ["admin"]]);
  expect(set).toMatch(/^sluice_session=slu_\w/);
  expect(set.split("; ").slice(1).sort()).toEqual(["HttpOnly", expect.stringMatching(/^Max-Age=43(199|200)$/), "Path=/", "SameSite=Strict"]); // prettier-ignore
  const cookie = `theme=dark; ${set.split(";")[0]}; a=b`;

  expect((await bed.call("GET", "/v1/session", { headers: { cookie } })).status).toBe(200);
  const post = (headers: Readonly<Record<string, string>>) =>
    bed.enqueue("guard.note", {}, { headers: { cookie, ...headers } });
  expect((await post({ origin: bed.url, "sec-fetch-site": "same-origin" })).status).toBe(202);
  expect((await post({})).status).toBe(202);
  const { port } = bed;
  const foreign: Readonly<Record<string, string>>[] = [
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
    { "sec-fetch-site": "odd" },
    { origin: "https://evil.example" },
    { origin: "null" },
    { origin: `http://127.0.0.1:${port + 1}` },
    { origin: `http://127.0.0.1:${port}.evil.example` },
    { origin: bed.url, "sec-fetch-site": "cross-site" },
  ];
  for (const headers of foreign) {
    const refused = await post(headers);
    expect([headers, refused.status, refused.json.code, faultOfProblem(refused)]).toEqual([
      headers,
      403,
      "cross_site",
      null,
    ]);
  }
  for (const [method, path] of [
    ["DELETE", "/v1/session"],
    ["POST", "/v1/session"],
    ["PATCH", "/v1/types/guard.note"],
    ["DELETE", "/v1/keys/x"],
  ] as const) {
    // prettier-ignore
    expect((await bed.call(method, path, { headers: { cookie, origin: "https://evil.example" } })).status).toBe(403);
  }
  expect((await bed.call("GET", "/v1/jobs", { headers: { cookie } })).json.jobs).toHaveLength(2);

  const token = cookie.split("sluice_session=")[1]!.split(";")[0]!;
  const another = await bed.call("POST", "/v1/session", { json: { key: token }, headers: { cookie } });
  expect([another.status, another.headers.get("set-cookie")]).toEqual([401, null]);
});

test("a session is gone after its end, and with its key", async () => {
  const bed = await bedOf({ hasWorker: false });
  const admin = await bed.key({});
  const made = await bed.call("POST", "/v1/keys", { key: admin, json: { name: "eve", roles: ["observe"] } });
  const cookieOf = async () => (await bed.call("POST", "/v1/session", { json: { key: made.json.token } })).headers.get("set-cookie")!.split(";")[0]!; // prettier-ignore
  const status = async (cookie: string) => (await bed.call("GET", "/v1/types", { headers: { cookie } })).status;
  const [one, two] = [await cookieOf(), await cookieOf()];
  expect([await status(one), await status(two)]).toEqual([200, 200]);

  const ended = await bed.call("DELETE", "/v1/session", { headers: { cookie: one } });
  expect([ended.status, ended.headers.get("set-cookie")]).toEqual([204, expect.stringMatching(/^sluice_session=; .*Max-Age=0/)]); // prettier-ignore
  expect([await status(one), await status(two)]).toEqual([401, 200]);
  await bed.call("DELETE", `/v1/keys/${made.json.key.id}`, { key: admin });
  expect(await status(two)).toBe(401);
  expect((await bed.call("POST", "/v1/session", { json: { key: made.json.token } })).status).toBe(401);
});
