/** Problems as clients and people read them: each documented, each with all it must have, and what is answered when it is too much. */
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { afterEach, expect, test } from "vitest";
import { JobsError, type Store } from "sluice";
import { memory } from "sluice/memory";
import { endpoints } from "./contract/index.js";
import { problemCodes, statusOfProblem, titleOfProblem, typeOfProblem } from "./contract/problems.js";
import { defaultLimits } from "./limits.js";
import { bodyOf, Problem, toProblem } from "./problem.js";
import { eventually, faultOfProblem, startBed, type Bed, type BedOptions } from "./service.test.bed.js";

const documentation = readFileSync(new URL("../../../docs/http.md", import.meta.url), "utf8");

const open: Bed[] = [];
async function bedOf(options?: BedOptions): Promise<Bed> {
  const bed = await startBed(options);
  open.push(bed);
  return bed;
}
afterEach(async () => {
  await Promise.all(open.splice(0).map((bed) => bed.close()));
});

// ── documentation ───────────────────────────────────────────────────────────

test("docs/http.md lists every code with its status, and no other", () => {
  const section = documentation.split("## Problems")[1]!.split("\n## ")[0]!;
  const listed = [...section.matchAll(/^\| (`[^|]+`) \| (\d{3}) \| (.+) \|$/gm)].flatMap(([, codes, status, what]) =>
    codes!
      .split(", ")
      .map((code): [string, number, boolean] => [code.replaceAll("`", ""), Number(status), what!.length > 5]),
  );
  expect(listed.sort()).toEqual(problemCodes.map((code) => [code, statusOfProblem(code), true]).sort());
});

test("docs/http.md has the limits that hold", () => {
  const limits = documentation.split("## Limits")[1]!.split("\n## ")[0]!;
  const { requests, waits, streams, streamsPerCaller, loopDelayMs, bodyMs, batchBytes } = defaultLimits;
  expect(limits).toContain(`${streams.toLocaleString("en")}, ${streamsPerCaller} of each key`);
  expect(limits).toContain(`${requests.toLocaleString("en")}; ${loopDelayMs / 1_000} s`);
  expect(limits).toContain(`60 s, ${waits.toLocaleString("en")} at once`);
  expect(limits).toContain(`${batchBytes / 1_048_576} MiB`);
  expect(limits).toContain(`a JSON body to arrive | ${bodyMs / 1_000} s`);
});

test("each problem has all that RFC 9457 and the contract want", () => {
  for (const code of problemCodes) {
    expect(bodyOf(new Problem(code, "In particular."), "r-1")).toEqual({
      type: typeOfProblem(code),
      code,
      title: titleOfProblem(code),
      status: statusOfProblem(code),
      detail: "In particular.",
      requestId: "r-1",
    });
    expect([code, titleOfProblem(code)]).toEqual([code, expect.stringMatching(/^[A-Z].{10,}\.$/)]);
  }
});

test("what nobody expected is told without its words", () => {
  for (const error of [
    new Error("password=hunter2 at /srv/app"),
    "text",
    null,
    undefined,
    7,
    { statusCode: 200 },
    new JobsError("BLOB_LOST" as never, "in /srv/app"),
  ]) {
    // prettier-ignore
    const { code, message } = toProblem(error);
    expect([code, /srv|hunter2/.test(message)]).toEqual(["internal", false]);
  }
});

test("a requestId is the caller's where it can be one, and in the log", async () => {
  const bed = await bedOf({ hasWorker: false });
  const asked = await bed.call("GET", "/v1/nothing", { headers: { "x-request-id": "order-17:a.b_C" } });
  expect([asked.json.requestId, faultOfProblem(asked)]).toEqual(["order-17:a.b_C", null]);
  for (const odd of ["a b", "<script>", "x".repeat(101), ""]) {
    const seen = await bed.call("GET", "/v1/nothing", { headers: { "x-request-id": odd } });
    expect([seen.json.requestId === odd, faultOfProblem(seen)]).toEqual([false, null]);
  }
});

// ── too much to do ──────────────────────────────────────────────────────────

test("beyond so many requests at once further ones are refused before work is begun", async () => {
  const bed = await bedOf({ hasWorker: false, limits: { requests: 2, bodyMs: 30_000 } });
  const [port, agent] = [bed.port, false] as const;
  const half = { method: "POST", path: "/v1/jobs", headers: { "content-type": "application/json", "content-length": "50" } }; // prettier-ignore
  const held = [1, 2].map(() => {
    const request = httpRequest({ host: "127.0.0.1", port, agent, ...half });
    request.on("error", () => undefined);
    request.write('{"type":');
    return request;
  });

  const refused = await eventually(async () => {
    const seen = await bed.enqueue("guard.note", { text: "refused" });
    return seen.status === 503 ? seen : null;
  });
  expect([refused.json.code, refused.headers.get("retry-after"), faultOfProblem(refused)]).toEqual(["overloaded", "1", null]); // prettier-ignore
  const before = (await bed.queue.list()).jobs.length;
  expect((await bed.enqueue("guard.note", {})).status).toBe(503);
  expect((await bed.queue.list()).jobs).toHaveLength(before);
  for (const path of ["/livez", "/readyz", "/metrics"]) expect([path, (await bed.call("GET", path)).status]).toEqual([path, 200]); // prettier-ignore
  expect(bed.log.filter((line) => line.includes('"level":50'))).toEqual([]);

  for (const request of held) request.destroy();
  await eventually(async () => ((await bed.enqueue("guard.note", {})).status === 202 ? true : null));
});

test("an event loop that is late takes nothing on until it is in time again", async () => {
  const bed = await bedOf({ hasWorker: false, limits: { loopDelayMs: 600 } });
  await eventually(async () => ((await bed.call("GET", "/v1/types")).status === 200 ? true : null));
  // On the way while the loop stands still: judged as the first thing after it.
  const asked = bed.enqueue("guard.note", {});
  const until = performance.now() + 1_500;
  await new Promise((resolve) => setImmediate(resolve));
  while (performance.now() < until);

  const seen = await Promise.all([asked, bed.enqueue("guard.note", {}), bed.call("GET", "/v1/types")]);
  const refused = seen.filter(({ status }) => status === 503);
  expect(refused.length).toBeGreaterThan(0);
  for (const each of refused) {
    expect([each.json.code, each.headers.get("retry-after"), faultOfProblem(each)]).toEqual(["overloaded", "1", null]);
  }
  expect((await bed.queue.list()).jobs).toHaveLength(seen.filter(({ status }) => status === 202).length);
  await eventually(async () => ((await bed.enqueue("guard.note", {})).status === 202 ? true : null));
});

/** A store that can be out of reach. */
function cuttable(store: Store<unknown>): { readonly store: Store<unknown>; readonly cut: (isCut: boolean) => void } {
  let isCut = false;
  const stands: Store<unknown> = new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (name === "close" || name === "subscribe") return value.bind(target) as unknown;
      return (...given: unknown[]): unknown => {
        if (!isCut) return (value as (...all: unknown[]) => unknown).apply(target, given);
        const error = new JobsError("STORE_UNAVAILABLE", "connect ECONNREFUSED postgres://ada:hunter2@10.0.0.7/jobs");
        return Promise.reject(error);
      };
    },
  });
  return { store: stands, cut: (now) => (isCut = now) };
}

test(
  "with the store out of reach nothing is answered as if it were done, and the process is known to live",
  { timeout: 120_000 },
  async () => {
    const inner = await memory();
    const { store, cut } = cuttable(inner);
    const bed = await bedOf({ store, hasWorker: false });
    const { id } = (await bed.enqueue("guard.note", { text: "a" }, { more: { delayMs: 3_600_000 } })).json;
    expect((await bed.call("GET", "/readyz")).status).toBe(200);
    cut(true);

    const bodies: Readonly<Record<string, unknown>> = {
      enqueueJob: { type: "guard.note", payload: {} },
      enqueueBatch: [{ type: "guard.note", payload: {} }],
      editPayload: { payload: {} },
      bulk: { action: "retry", q: "state:failed", reason: "a test" },
      setType: { pause: null },
      createKey: { name: "another", roles: ["admin"] },
      openSession: { key: "slu_nothing" },
    };
    const without = ["livez", "readyz", "openapi", "docs", "openSession", "closeSession", "readSession"];
    const asked = endpoints.filter((each) => !without.includes(each.id));
    const seen = await Promise.all(
      asked.map(async ({ id: name, method, path }) => {
        const address = path.replace("{id}", name === "revokeKey" ? "a" : id).replace("{type}", "guard.note");
        return { name, ...(await bed.call(method, address, name in bodies ? { json: bodies[name] } : {})) };
      }),
    );
    for (const each of seen) {
      const { name, status, json, headers, text } = each;
      expect([name, status, json.code, faultOfProblem(each)]).toEqual([name, 503, "store_unavailable", null]);
      expect([name, Number(headers.get("retry-after")) >= 1, /hunter2|10\.0\.0\.7/.test(text)]).toEqual([
        name,
        true,
        false,
      ]);
    }
    const lines = await bed.call("POST", "/v1/jobs/batch", { body: '{"type":"guard.note","payload":{}}\n', headers: { "content-type": "application/x-ndjson" } }); // prettier-ignore
    expect([lines.status, lines.json.code]).toEqual([503, "store_unavailable"]);
    expect((await bed.call("GET", "/livez")).status).toBe(200);
    const ready = await bed.call("GET", "/readyz");
    expect([ready.status, ready.headers.get("retry-after"), ready.json.checks["store"]]).toEqual([503, "1", { isGood: false, detail: "did not answer" }]); // prettier-ignore

    cut(false);
    await eventually(async () => ((await bed.call("GET", "/readyz")).status === 200 ? true : null));
    expect((await bed.call("GET", `/v1/jobs/${id}`)).json.state).toBe("scheduled");
    expect(await bed.queue.accessKeys()).toEqual([]);
    await bed.close();
    open.length = 0;
    await inner.close();
  },
);
