/** A secret in a sensitive field leaves the service by one door only, and who opens it is in the audit first (I13). */
import { afterEach, beforeEach, expect, test } from "vitest";
import { JobsError, type Store } from "sluice";
import { memory } from "sluice/memory";
import { endpoints } from "./contract/index.js";
import { definitions, startBed, type Ask, type Bed } from "./service.test.bed.js";

const canary = "Kanarienvogel-4711";
const pieces = [canary, "Kanarienvogel", Buffer.from(canary).toString("base64").slice(0, -2)];

let bed: Bed;
let keys: Readonly<Record<"admin" | "observe" | "operate" | "reader", string>>;
beforeEach(async () => {
  bed = await startBed();
  keys = {
    admin: await bed.key({}),
    observe: await bed.key({ roles: ["observe"] }),
    operate: await bed.key({ roles: ["operate"] }),
    reader: await bed.key({ roles: ["operate"], canReadPayloads: true }),
  };
});
afterEach(() => bed.close());

/** A stream is read to its first message. */
async function textAt(path: string, ask: Ask): Promise<string> {
  if (!path.endsWith("/events")) {
    const { text, headers } = await bed.call("GET", path, ask);
    return text + JSON.stringify([...headers]);
  }
  const response = await fetch(bed.url + path, { headers: { authorization: `Bearer ${ask.key}` } });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!/data: .*\n\n/.test(text)) text += (await reader.read()).value ?? "";
  await reader.cancel();
  return text;
}

/** Everything that can be read of these jobs but the one door. */
async function everything(ids: readonly string[]): Promise<readonly string[]> {
  const paths = endpoints
    .filter(({ method, id }) => method === "GET" && id !== "revealPayload")
    .flatMap(({ path }) => {
      if (path.includes("{id}")) return ids.map((id) => path.replace("{id}", id));
      return path.includes("{type}") ? definitions.map(({ type }) => path.replace("{type}", type)) : [path];
    });
  const more = ids.map((id) => `/v1/audit?job=${id}`);
  // Whoever may read payloads reads them at their place, and nowhere else.
  const all = [...paths, ...more].flatMap((path) =>
    Object.values(keys).map(async (key) => `${path}: ${await textAt(path, { key })}`),
  );
  return Promise.all(all);
}

function expectNothingIn(texts: readonly string[]): void {
  for (const piece of pieces) expect(texts.filter((text) => text.includes(piece)).map((text) => text.slice(0, 300))).toEqual([]); // prettier-ignore
}

test("a secret is in no answer, stream, error, metric or line of the log, whatever a handler does with it", async () => {
  const key = keys.admin;
  const [quiet, loud, waiting] = await Promise.all([
    bed.enqueue("guard.note", { text: "a", token: canary }, { key }),
    bed.enqueue("guard.leaky", { token: canary }, { key, more: { correlation: { about: `the ${canary}` } } }),
    bed.enqueue("guard.note", { text: "b", token: canary }, { key, more: { delayMs: 3_600_000 } }),
  ]);
  await Promise.all([bed.until(quiet.json.id, "completed", { key }), bed.until(loud.json.id, "failed", { key })]);
  const answers = [quiet, loud, waiting];
  const ids = answers.map(({ json }) => json.id);

  answers.push(await bed.call("PATCH", `/v1/jobs/${waiting.json.id}/payload`, { key, json: { payload: { token: `${canary}!` } } })); // prettier-ignore
  answers.push(await bed.call("POST", `/v1/jobs/${waiting.json.id}/cancel`, { key, json: { reason: "a test" } }));
  answers.push(await bed.call("POST", "/v1/jobs", { key, json: { type: "guard.leaky", payload: { token: canary } }, headers: { prefer: "wait=20" } })); // prettier-ignore
  answers.push(await bed.call("POST", `/v1/jobs/${loud.json.id}/discard`, { key, json: { reason: "a test" } }));
  expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 200, 200, 200, 200]);

  const told = await everything(ids);
  expect(told.some((text) => text.includes("•••"))).toBe(true);
  expectNothingIn([...told, ...answers.map(({ text }) => text), ...bed.log]);
});

test("a secret that is refused is not told again", async () => {
  const key = keys.admin;
  const asks: readonly Ask[] = [
    { json: { type: "guard.picky", payload: { token: canary } } },
    { json: { type: "guard.note", payload: { token: { [canary]: canary } } } },
    { json: { type: "guard.note", payload: { token: canary, text: 7 } } },
    { json: { type: "guard.note", payload: canary } },
    { json: { type: "guard.nothing", payload: { token: canary } } },
    { json: { type: "guard.note", payload: { token: canary }, delayMs: canary } },
    { json: { type: "guard.note", payload: { token: canary }, correlation: { a: `${canary}\u0000` } } },
    { json: { type: "guard.note", payload: { token: canary.padEnd(1_048_600, canary) } } },
    { body: `{"type":"guard.note","payload":{"token":"${canary}"}`, headers: { "content-type": "application/json" } },
    { body: `{"type":"guard.note","payload":{"token":"${canary}"}}`, headers: { "content-type": "text/plain" } },
    { body: canary, headers: { "content-type": "application/json" } },
  ];
  const answers = await Promise.all(asks.map((ask) => bed.call("POST", "/v1/jobs", { key, ...ask })));
  expect(answers.map(({ status }) => Math.floor(status / 100))).toEqual(asks.map(() => 4));
  const batch = await bed.call("POST", "/v1/jobs/batch", { key, json: asks.slice(0, 6).map(({ json }) => json) });
  expect(batch.status).toBe(202);
  const held = await bed.enqueue("guard.note", {}, { key, more: { delayMs: 3_600_000 } });
  const edit = await bed.call("PATCH", `/v1/jobs/${held.json.id}/payload`, {
    key,
    json: { payload: { token: [canary] } },
  });
  expect(edit.status).toBe(422);

  expectNothingIn([...answers, batch, edit].map(({ text }) => text));
  expectNothingIn(bed.log);
});

test("a job of a type that the service does not know shows nothing of its payload", async () => {
  const knowing = bed;
  const key = keys.admin;
  const { id } = (await knowing.enqueue("guard.leaky", { token: canary }, { key })).json;
  await knowing.until(id, "failed", { key });
  bed = await startBed({ store: knowing.store, definitions: [], hasWorker: false });

  const seen = (await bed.call("GET", `/v1/jobs/${id}`, { key })).json;
  expect(seen.payload).toEqual({ token: "•••" });
  expectNothingIn([...(await everything([id])), ...bed.log]);
  await bed.close();
  bed = knowing;
});

test("what opened a circuit breaker is the error of some job: only for who may read payloads, in the audit, too", async () => {
  const { store } = bed;
  const error = `Error: cannot use ${canary}`;
  const change = { patch: { breaker: { dependency: "mail", error, failures: 5, openMs: 60_000, maxOpenMs: 600_000 } }, actor: "circuit breaker", reason: error, requestId: null }; // prettier-ignore
  await store.setType({ type: "guard.note", ifVersion: 0, ...change } as never);
  await bed.call("PATCH", "/v1/types/guard.note", { key: keys.operate, json: { breaker: null, reason: "it works" } });

  const audit = (key: string) => bed.call("GET", "/v1/audit?type=guard.note", { key });
  expect((await audit(keys.operate)).json.entries).toHaveLength(2);
  expectNothingIn([(await audit(keys.operate)).text, ...bed.log]);
  expect((await audit(keys.reader)).text).toContain(canary);
});

test("a payload is shown to who may, after it is in the audit; what cannot be kept is not shown", async () => {
  await bed.close();
  const inner = await memory();
  let isFull = false;
  const store = new Proxy(inner, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...given: unknown[]): unknown => {
        if (isFull && name === "record") return Promise.reject(new JobsError("STORE_UNAVAILABLE", "It is full."));
        return (value as (...all: unknown[]) => unknown).apply(target, given);
      };
    },
  }) as Store<unknown>;
  bed = await startBed({ store });
  const reader = await bed.key({ name: "reader", roles: ["observe"], canReadPayloads: true });
  const [admin, observe] = [await bed.key({ name: "ada" }), await bed.key({ roles: ["observe"] })];
  const { id } = (await bed.enqueue("guard.note", { token: canary }, { key: admin })).json;
  const path = `/v1/jobs/${id}/payload`;

  expect((await bed.call("GET", path, { key: observe })).status).toBe(403);
  isFull = true;
  const refused = await bed.call("GET", path, { key: reader });
  expect([refused.status, refused.json.code, refused.text.includes(canary)]).toEqual([503, "store_unavailable", false]);
  isFull = false;
  const seen = await bed.call("GET", `${path}?reason=an%20incident`, {
    key: reader,
    headers: { "x-request-id": "r-1" },
  });
  expect([seen.status, seen.json.payload]).toEqual([200, { token: canary }]);
  expect((await bed.call("GET", path, { key: admin })).status).toBe(200);

  const { entries } = (await bed.call("GET", `/v1/audit?action=reveal`, { key: admin })).json;
  expect(entries).toMatchObject([
    { action: "reveal", actor: "ada", target: { kind: "job", id }, reason: null },
    { action: "reveal", actor: "reader", target: { kind: "job", id }, reason: "an incident", requestId: "r-1" },
  ]);
});

test("what a job told of a payload that it had before an edit stays masked where it is read", async () => {
  const key = keys.admin;
  const { id } = (
    await bed.enqueue("guard.leaky", { token: canary }, { key, more: { correlation: { about: canary } } })
  ).json;
  await bed.until(id, "failed", { key });
  const edited = await bed.call("PATCH", `/v1/jobs/${id}/payload`, {
    key,
    json: { payload: { token: "another-one" } },
  });
  expect(edited.status).toBe(200);
  await bed.until(id, "failed", { key });

  const seen = await bed.call("GET", `/v1/jobs/${id}`, { key });
  expect(seen.text.split("•••").length).toBeGreaterThan(4);
  expect(seen.text).not.toContain("another-one");
  expectNothingIn([seen.text]);
});
