/**
 * Walks the table of the HTTP interface with plain `fetch`, as a stranger's client would, and reports for each row whether it holds and
 * what was seen. Needs a service that knows the jobs of demo-jobs.ts, and a worker for them.
 */

export interface Row {
  readonly row: string;
  readonly holds: boolean;
  /** What was seen where it does not hold; a word on it where it does. */
  readonly seen: string;
}

export interface WalkOptions {
  readonly baseUrl: string;
  /** Of an admin; left out for a service without keys. */
  readonly key?: string;
}

interface Seen {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a service answers is looked at field by field
  readonly json: any;
}

type Init = Omit<RequestInit, "headers"> & { readonly headers?: Record<string, string>; readonly json?: unknown };

class Walk {
  readonly rows: Row[] = [];
  readonly #baseUrl: string;
  readonly #key: string | undefined;

  constructor({ baseUrl, key }: WalkOptions) {
    this.#baseUrl = baseUrl;
    this.#key = key;
  }

  async call(method: string, path: string, { json, headers, ...init }: Init = {}): Promise<Seen> {
    const response = await fetch(this.#baseUrl + path, {
      method,
      headers: {
        ...(this.#key !== undefined && { authorization: `Bearer ${this.#key}` }),
        ...(json !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
      ...init,
    });
    const text = await response.text();
    const isJson =
      /json/.test(response.headers.get("content-type") ?? "") &&
      !/ndjson/.test(response.headers.get("content-type") ?? "");
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : null };
  }

  enqueue(type: string, payload: unknown, init: Init & { readonly more?: object } = {}): Promise<Seen> {
    const { more, ...rest } = init;
    return this.call("POST", "/v1/jobs", { json: { type, payload, ...more }, ...rest });
  }

  /** One row: `look` throws what does not hold. */
  async row(row: string, look: () => Promise<string | void>): Promise<void> {
    try {
      this.rows.push({ row, holds: true, seen: (await look()) ?? "" });
    } catch (error) {
      this.rows.push({ row, holds: false, seen: error instanceof Error ? error.message : String(error) });
    }
  }

  async state(id: string, wanted: string, timeoutMs = 15_000): Promise<Seen> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const seen = await this.call("GET", `/v1/jobs/${id}`);
      if (seen.json?.state === wanted) return seen;
      if (Date.now() > until)
        throw new Error(`job ${id} is ${seen.json?.state ?? seen.status} after ${timeoutMs} ms, not ${wanted}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function must(holds: boolean, what: string, seen: Seen): void {
  if (holds) return;
  throw new Error(
    `${what}; seen ${seen.status} ${JSON.stringify(Object.fromEntries(seen.headers))} ${seen.text.slice(0, 400)}`,
  );
}

/** A problem of this status and code, as RFC 9457 and the contract have it. */
function mustBeProblem(seen: Seen, status: number, code?: string): void {
  must(seen.status === status, `status ${status}${code === undefined ? "" : ` ${code}`}`, seen);
  must(
    seen.headers.get("content-type")?.startsWith("application/problem+json") === true,
    "application/problem+json",
    seen,
  );
  must(
    seen.json.status === status && typeof seen.json.title === "string" && typeof seen.json.detail === "string",
    "status, title and detail",
    seen,
  );
  must(/^urn:sluice:problem:[a-z_]+$/.test(seen.json.type), "a stable type", seen);
  must(seen.json.requestId === seen.headers.get("x-request-id"), "the requestId of X-Request-Id", seen);
  must(!/\\n +at |file:\/\/|node_modules|\/packages\//.test(seen.text), "no stack and no path", seen);
  if (code !== undefined) must(seen.json.code === code, `code ${code}`, seen);
}

/** @returns A row for each promise, in the order of the table. */
export async function walk(options: WalkOptions): Promise<readonly Row[]> {
  const w = new Walk(options);
  const unique = () => crypto.randomUUID();

  // ── POST /v1/jobs ──
  await w.row("POST /v1/jobs: 202, Location, Retry-After, the job", async () => {
    const seen = await w.enqueue("demo.echo", { text: "a" });
    must(seen.status === 202 && seen.json.outcome === "created", "202 created", seen);
    must(
      seen.headers.get("location") !== null && seen.headers.get("retry-after") !== null,
      "Location and Retry-After",
      seen,
    );
    const read = await w.call("GET", seen.headers.get("location")!);
    must(
      read.status === 200 && read.json.id === seen.json.id && read.json.type === "demo.echo",
      "the job at its Location",
      read,
    );
  });
  await w.row("a duplicate: 202 with the existing job", async () => {
    const entityId = unique();
    const first = await w.enqueue("demo.index", { entityId }, { more: { delayMs: 60_000 } });
    const second = await w.enqueue("demo.index", { entityId });
    must(
      second.status === 202 && second.json.outcome === "duplicate" && second.json.id === first.json.id,
      "the first job as duplicate",
      second,
    );
  });
  await w.row("a wrong payload: 422 with JSON Pointers", async () => {
    const seen = await w.enqueue("demo.echo", { text: 7 });
    mustBeProblem(seen, 422, "invalid_payload");
    must(
      seen.json.errors.some((each: { pointer: string }) => each.pointer === "/payload/text"),
      "pointer /payload/text",
      seen,
    );
  });
  await w.row("an unknown type: 422", async () =>
    mustBeProblem(await w.enqueue("demo.nothing", {}), 422, "unknown_type"),
  );
  await w.row("an unknown field: 422 which names it", async () => {
    const seen = await w.enqueue("demo.echo", { text: "a" }, { more: { prioritty: 1 } });
    mustBeProblem(seen, 422, "invalid_request");
    must(
      seen.json.errors.some((each: { pointer: string }) => each.pointer === "/prioritty"),
      "pointer /prioritty",
      seen,
    );
  });
  await w.row("beyond a limit: 429, Retry-After, RateLimit", async () => {
    let seen = await w.enqueue("demo.scarce", {});
    for (let n = 0; n < 3 && seen.status === 202; n++) seen = await w.enqueue("demo.scarce", {});
    mustBeProblem(seen, 429, "refused");
    must(
      Number(seen.headers.get("retry-after")) >= 1 && seen.headers.get("ratelimit") !== null,
      "Retry-After and RateLimit",
      seen,
    );
  });
  await w.row("Prefer: wait=N: 200 with the finished job", async () => {
    const seen = await w.enqueue("demo.echo", { text: "b" }, { headers: { prefer: "wait=20" } });
    must(
      seen.status === 200 && seen.json.state === "completed" && seen.json.output.text === "b",
      "200 completed",
      seen,
    );
    must(seen.headers.get("preference-applied") === "wait=20", "Preference-Applied", seen);
  });
  await w.row("Prefer: wait=N, not in time: 202", async () => {
    const began = performance.now();
    const seen = await w.enqueue("demo.slow", { ms: 5_000 }, { headers: { prefer: "respond-async, wait=1" } });
    const tookMs = performance.now() - began;
    must(
      seen.status === 202 && tookMs > 800 && tookMs < 4_000,
      `202 after a second, not ${Math.round(tookMs)} ms`,
      seen,
    );
    must(seen.headers.get("preference-applied") === "respond-async, wait=1", "Preference-Applied", seen);
  });
  await w.row("Prefer: respond-async: 202, Preference-Applied", async () => {
    const seen = await w.enqueue("demo.echo", { text: "c" }, { headers: { prefer: "respond-async" } });
    must(
      seen.status === 202 && seen.headers.get("preference-applied") === "respond-async",
      "respond-async applied",
      seen,
    );
  });
  await w.row("Idempotency-Key: the same answer, one job", async () => {
    const headers = { "idempotency-key": `"${unique()}"` };
    const first = await w.enqueue("demo.echo", { text: "d" }, { headers });
    const second = await w.enqueue("demo.echo", { text: "d" }, { headers });
    must(
      first.json.outcome === "created" && second.status === 202 && second.json.id === first.json.id,
      "the same job",
      second,
    );
    must(
      second.json.outcome !== "created" && second.headers.get("idempotency-replayed") === "true",
      "told as a repeat",
      second,
    );
    must(second.headers.get("location") === first.headers.get("location"), "the same Location", second);
  });
  await w.row("Idempotency-Key: a body that says the same is the same", async () => {
    const key = unique();
    const first = await w.call("POST", "/v1/jobs", {
      headers: { "idempotency-key": key, "content-type": "application/json" },
      body: '{"type":"demo.echo","payload":{"text":"e","token":"t"}}',
    });
    const second = await w.call("POST", "/v1/jobs", {
      headers: { "idempotency-key": key, "content-type": "application/json" },
      body: '{ "payload": {"token":"t", "text":"e"}, "type":"demo.echo" }',
    });
    must(second.status === 202 && second.json.id === first.json.id, "the same job", second);
  });
  await w.row("Idempotency-Key with another body: 422", async () => {
    const headers = { "idempotency-key": unique() };
    await w.enqueue("demo.echo", { text: "f" }, { headers });
    mustBeProblem(await w.enqueue("demo.echo", { text: "g" }, { headers }), 422, "idempotency_key_reused");
  });
  await w.row("Idempotency-Key that is none: 400", async () => {
    mustBeProblem(
      await w.enqueue("demo.echo", { text: "h" }, { headers: { "idempotency-key": "x".repeat(300) } }),
      400,
      "malformed_request",
    );
  });
  await w.row("Idempotency-Key of a batch that is being answered: 409", async () => {
    const key = unique();
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode('{"type":"demo.echo","payload":{"text":"1"}}\n'));
        await held;
        controller.close();
      },
    });
    const first = w.call("POST", "/v1/jobs/batch", {
      headers: { "idempotency-key": key, "content-type": "application/x-ndjson" },
      body,
      duplex: "half",
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const second = await w.call("POST", "/v1/jobs/batch", {
      headers: { "idempotency-key": key },
      json: [{ type: "demo.echo", payload: { text: "1" } }],
    });
    release();
    await first;
    mustBeProblem(second, 409, "request_in_progress");
  });

  // ── POST /v1/jobs/batch ──
  await w.row("POST /v1/jobs/batch, JSON: 202, one result each", async () => {
    const seen = await w.call("POST", "/v1/jobs/batch", {
      json: [
        { type: "demo.echo", payload: { text: "1" } },
        { type: "demo.echo", payload: {} },
        { type: "demo.echo", payload: { text: "3" } },
      ],
    });
    must(seen.status === 202 && seen.json.results.length === 3, "202 with three results", seen);
    must(
      seen.json.results[0].outcome === "created" &&
        seen.json.results[1].outcome === "invalid" &&
        seen.json.results[2].outcome === "created",
      "created, invalid, created",
      seen,
    );
  });
  await w.row("POST /v1/jobs/batch, NDJSON: a line each, in order", async () => {
    const lines = [
      '{"type":"demo.echo","payload":{"text":"1"}}',
      "not json",
      "",
      '{"type":"demo.echo","payload":{"text":"4"}}',
    ];
    const seen = await w.call("POST", "/v1/jobs/batch", {
      headers: { "content-type": "application/x-ndjson" },
      body: lines.join("\n"),
    });
    const results = seen.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { line: number; outcome: string });
    must(
      seen.status === 202 &&
        results.map(({ line, outcome }) => `${line} ${outcome}`).join() === "1 created,2 invalid,4 created",
      "lines 1, 2 and 4",
      seen,
    );
  });
  await w.row("a batch sent again with its Idempotency-Key: nothing twice", async () => {
    const headers = { "idempotency-key": unique() };
    const json = [
      { type: "demo.orphan", payload: { n: 1 } },
      { type: "demo.orphan", payload: { n: 2 } },
    ];
    const ids = async () =>
      (await w.call("POST", "/v1/jobs/batch", { headers, json })).json.results
        .map((each: { id: string }) => each.id)
        .join();
    const [first, second] = [await ids(), await ids()];
    if (first !== second) throw new Error(`first ${first}, then ${second}`);
  });

  // ── GET /v1/jobs/{id} ──
  const waiting = await w.enqueue("demo.orphan", {});
  await w.row("GET /v1/jobs/{id}: status, state, attempts, timings, waiting; Retry-After while pending", async () => {
    const seen = await w.call("GET", `/v1/jobs/${waiting.json.id}`);
    const { status, state, attempts, timings, waiting: why } = seen.json;
    must(
      status === "pending" && state === "pending" && Array.isArray(attempts) && timings !== undefined,
      "status, state, attempts, timings",
      seen,
    );
    must(
      why.reason === "no_worker" && seen.headers.get("retry-after") !== null,
      "waiting no_worker, Retry-After",
      seen,
    );
  });
  await w.row("ETag and If-None-Match: 304", async () => {
    const done = await w.enqueue("demo.echo", { text: "etag" }, { headers: { prefer: "wait=20" } });
    const seen = await w.call("GET", `/v1/jobs/${done.json.id}`);
    const etag = seen.headers.get("etag") ?? "";
    const again = await w.call("GET", `/v1/jobs/${done.json.id}`, { headers: { "if-none-match": `"x", ${etag}` } });
    must(
      etag !== "" && again.status === 304 && again.text === "" && again.headers.get("etag") === etag,
      "304 without a body",
      again,
    );
  });
  await w.row("a job that is not there, or no id: 404", async () => {
    mustBeProblem(await w.call("GET", `/v1/jobs/${unique()}`), 404, "job_not_found");
    mustBeProblem(await w.call("GET", "/v1/jobs/nonsense"), 404, "job_not_found");
  });
  await w.row("payload: sensitive fields masked, also in errors", async () => {
    const token = `canary-${unique()}`;
    const { json } = await w.enqueue("demo.broken", { token, message: "seen" });
    const seen = await w.state(json.id, "retrying");
    must(
      !seen.text.includes(token) && seen.text.includes("seen") && seen.json.isMasked === true,
      "no token, but the rest",
      seen,
    );
  });
  await w.row("GET …/payload: unmasked, and audited", async () => {
    const token = `canary-${unique()}`;
    const { json } = await w.enqueue("demo.echo", { text: "x", token });
    const seen = await w.call("GET", `/v1/jobs/${json.id}/payload?reason=checking`);
    must(seen.status === 200 && seen.json.payload.token === token, "the token", seen);
    const audit = await w.call("GET", `/v1/audit?job=${json.id}`);
    must(
      audit.json.entries[0]?.action === "reveal" && audit.json.entries[0].reason === "checking",
      "reveal in the audit",
      audit,
    );
  });

  // ── search ──
  await w.row("GET /v1/jobs?q=: the grammar, keyset pages, Link, what was searched", async () => {
    const entityId = unique();
    for (let n = 0; n < 3; n++) await w.enqueue("demo.orphan", { n }, { more: { correlation: { entityId } } });
    const query = `q=${encodeURIComponent(`type:demo.* status:pending correlation.entityId:${entityId}`)}`;
    const first = await w.call("GET", `/v1/jobs?${query}&limit=2`);
    must(first.status === 200 && first.json.jobs.length === 2 && first.json.next !== null, "two of three", first);
    const link = /^<([^>]+)>; rel="next"$/.exec(first.headers.get("link") ?? "")?.[1];
    must(link !== undefined && first.json.searched.rows >= 2, "Link rel=next and searched", first);
    const second = await w.call("GET", link!);
    const ids = [...first.json.jobs, ...second.json.jobs].map(({ id }: { id: string }) => id);
    must(second.json.jobs.length === 1 && new Set(ids).size === 3 && second.json.next === null, "the third", second);
    must(first.json.jobs[0].waiting.reason === "no_worker", "waiting on the list", first);
  });
  await w.row("a query that cannot be understood: 422 with its position", async () => {
    const seen = await w.call("GET", `/v1/jobs?q=${encodeURIComponent("type:demo.echo stat:failed")}`);
    mustBeProblem(seen, 422, "invalid_query");
    must(seen.json.errors[0].position === 15, "position 15", seen);
  });
  await w.row("a page that is too large, an unknown parameter: 422", async () => {
    mustBeProblem(await w.call("GET", "/v1/jobs?limit=100000"), 422, "invalid_request");
    mustBeProblem(await w.call("GET", "/v1/jobs?limmit=1"), 422, "invalid_request");
  });

  // ── events ──
  await w.row("GET /v1/jobs/{id}/events: snapshots with ids, retry, the end; then 204", async () => {
    const { json } = await w.enqueue("demo.slow", { ms: 1_500 });
    const seen = await w.call("GET", `/v1/jobs/${json.id}/events`, { headers: { accept: "text/event-stream" } });
    must(
      seen.headers.get("content-type")?.startsWith("text/event-stream") === true && /^retry: \d+/m.test(seen.text),
      "a stream with retry",
      seen,
    );
    const states = [...seen.text.matchAll(/^data: (.*)$/gm)].map(
      ([, data]) => (JSON.parse(data!) as { state: string }).state,
    );
    const lastId = [...seen.text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? "";
    must(
      states.at(-1) === "completed" && states.length >= 2 && lastId !== "",
      `states up to completed, not ${states.join()}`,
      seen,
    );
    const again = await w.call("GET", `/v1/jobs/${json.id}/events`, {
      headers: { accept: "text/event-stream", "last-event-id": lastId },
    });
    must(again.status === 204, "204 for a reader who has the end", again);
    return states.join(" → ");
  });
  await w.row("GET /v1/events: the overview", async () => {
    const abort = new AbortController();
    const response = await fetch(`${options.baseUrl}/v1/events`, {
      headers: options.key === undefined ? {} : { authorization: `Bearer ${options.key}` },
      signal: abort.signal,
    });
    const reader = response.body!.getReader();
    let text = "";
    while (!text.includes("\ndata: ")) text += new TextDecoder().decode((await reader.read()).value);
    abort.abort();
    if (!/event: overview/.test(text) || !text.includes("demo.echo")) throw new Error(text.slice(0, 300));
  });

  // ── operator actions ──
  await w.row("cancel: 200 for one that waits, 409 for one that has ended", async () => {
    const seen = await w.call("POST", `/v1/jobs/${waiting.json.id}/cancel`, { json: { reason: "a walk" } });
    must(seen.status === 200 && seen.json.state === "cancelled", "cancelled", seen);
    mustBeProblem(await w.call("POST", `/v1/jobs/${waiting.json.id}/cancel`), 409, "wrong_state");
  });
  await w.row("cancel of one that runs: 202, and it ends cancelled", async () => {
    const { json } = await w.enqueue("demo.slow", { ms: 60_000 });
    await w.state(json.id, "processing");
    const seen = await w.call("POST", `/v1/jobs/${json.id}/cancel`);
    must(seen.status === 202, "202", seen);
    await w.state(json.id, "cancelled");
  });
  await w.row("retry and discard of a failed job; PATCH …/payload edits and retries", async () => {
    const { json } = await w.enqueue("demo.doomed", {});
    await w.state(json.id, "failed");
    const retried = await w.call("POST", `/v1/jobs/${json.id}/retry`, { json: {} });
    must(retried.status === 200, "retried", retried);
    await w.state(json.id, "failed");
    const edited = await w.call("PATCH", `/v1/jobs/${json.id}/payload`, {
      json: { payload: { isGood: true }, reason: "made good" },
    });
    must(edited.status === 200, "edited", edited);
    await w.state(json.id, "completed");
    const other = await w.enqueue("demo.doomed", {});
    await w.state(other.json.id, "failed");
    const discarded = await w.call("POST", `/v1/jobs/${other.json.id}/discard`);
    must(discarded.status === 200 && discarded.json.state === "cancelled", "discarded", discarded);
    const audit = await w.call("GET", `/v1/audit?job=${json.id}`);
    must(
      audit.json.entries.map((each: { action: string }) => each.action).join() === "edit,retry",
      "both in the audit",
      audit,
    );
    must(
      audit.json.entries[0].requestId === edited.headers.get("x-request-id") &&
        audit.json.entries[0].reason === "made good",
      "with request id and reason",
      audit,
    );
  });
  await w.row("POST /v1/bulk: dry run, then a job with progress", async () => {
    const tag = unique();
    for (let n = 0; n < 5; n++) await w.enqueue("demo.orphan", { n }, { more: { correlation: { tag } } });
    const order = { action: "cancel", q: `correlation.tag:${tag}`, reason: "a walk" };
    const dry = await w.call("POST", "/v1/bulk", { json: { ...order, dryRun: true } });
    must(dry.status === 200 && dry.json.matched === 5 && dry.json.byType["demo.orphan"] === 5, "five matched", dry);
    const seen = await w.call("POST", "/v1/bulk", { json: { ...order, asOf: dry.json.asOf } });
    must(seen.status === 202 && seen.json.type === "sluice.bulk", "202 with its job", seen);
    const done = await w.state(seen.json.id, "completed");
    must(done.json.progress.done === 5, "five done", done);
    const left = await w.call("GET", `/v1/jobs?q=${encodeURIComponent(`correlation.tag:${tag} state:cancelled`)}`);
    must(left.json.jobs.length === 5, "five cancelled", left);
  });

  // ── types ──
  await w.row("GET /v1/types and /v1/types/{type}: settings and schema", async () => {
    const list = await w.call("GET", "/v1/types");
    must(
      list.json.types.some((each: { type: string }) => each.type === "demo.echo"),
      "demo.echo on the list",
      list,
    );
    const seen = await w.call("GET", "/v1/types/demo.echo");
    must(seen.status === 200 && seen.json.definition.schema.properties.text.type === "string", "the schema", seen);
    mustBeProblem(await w.call("GET", "/v1/types/demo.nothing"), 404, "type_not_found");
  });
  await w.row("PATCH /v1/types/{type}: in force at the next claim; 412 on a stale If-Match", async () => {
    const before = await w.call("GET", "/v1/types/demo.index");
    const etag = before.headers.get("etag")!;
    const paused = await w.call("PATCH", "/v1/types/demo.index", {
      json: { pause: { reason: "a walk" } },
      headers: { "if-match": etag },
    });
    must(paused.status === 200 && paused.json.settings.pause.reason === "a walk", "paused", paused);
    const { json } = await w.enqueue("demo.index", { entityId: unique() });
    const held = await w.call("GET", `/v1/jobs/${json.id}`);
    must(
      held.json.waiting?.reason === "paused" && held.json.waiting.pause.reason === "a walk",
      "waiting: paused, and why",
      held,
    );
    mustBeProblem(
      await w.call("PATCH", "/v1/types/demo.index", { json: { pause: null }, headers: { "if-match": etag } }),
      412,
      "stale",
    );
    const resumed = await w.call("PATCH", "/v1/types/demo.index", {
      json: { pause: null },
      headers: { "if-match": paused.headers.get("etag")! },
    });
    must(resumed.status === 200 && resumed.json.settings.pause === null, "resumed", resumed);
    await w.state(json.id, "completed");
    mustBeProblem(await w.call("PATCH", "/v1/types/demo.index", { json: { concurrency: 0 } }), 422, "invalid_request");
  });

  // ── the whole ──
  await w.row("GET /v1/stats, /v1/workers, /v1/audit", async () => {
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const stats = await w.call("GET", "/v1/stats?range=1h");
    const echo = stats.json?.types?.find((each: { type: string }) => each.type === "demo.echo");
    must(
      stats.status === 200 && echo?.total.completed >= 1 && echo.total.run.count >= 1,
      "completed jobs of demo.echo",
      stats,
    );
    const workers = await w.call("GET", "/v1/workers");
    must(
      workers.json.workers.some((each: { types: { type: string }[] }) =>
        each.types.some(({ type }) => type === "demo.echo"),
      ),
      "a worker of demo.echo",
      workers,
    );
    const audit = await w.call("GET", "/v1/audit?limit=2");
    must(
      audit.json.entries.length === 2 && /rel="next"/.test(audit.headers.get("link") ?? ""),
      "two entries and a next page",
      audit,
    );
  });
  await w.row("GET /metrics, /livez, /readyz", async () => {
    const metrics = await w.call("GET", "/metrics");
    must(/^sluice_jobs\{type="demo\.echo",state="completed"\} [1-9]/m.test(metrics.text), "sluice_jobs", metrics);
    const live = await w.call("GET", "/livez");
    must(live.status === 200, "alive", live);
    const ready = await w.call("GET", "/readyz");
    must(ready.status === 200 && ready.json.checks.store.isGood === true, "ready", ready);
  });
  await w.row("GET /openapi.json is OpenAPI 3.1; /docs needs nothing from elsewhere", async () => {
    const document = await w.call("GET", "/openapi.json");
    must(
      document.json.openapi.startsWith("3.1") && document.json.paths["/v1/jobs"].post !== undefined,
      "the document",
      document,
    );
    const page = await w.call("GET", "/docs", { headers: { accept: "text/html" } });
    must(
      page.status === 200 && !/(src|href)="(https?:)?\/\//.test(page.text) && !/<script/.test(page.text),
      "no address of another host, no script",
      page,
    );
    must(
      !/unsafe-inline/.test(page.headers.get("content-security-policy") ?? "unsafe-inline"),
      "a strict policy",
      page,
    );
  });

  // ── HTTP by the book ──
  await w.row("405 with Allow; OPTIONS", async () => {
    const seen = await w.call("DELETE", "/v1/jobs");
    mustBeProblem(seen, 405, "method_not_allowed");
    must(/GET/.test(seen.headers.get("allow") ?? "") && /POST/.test(seen.headers.get("allow") ?? ""), "Allow", seen);
    const asked = await w.call("OPTIONS", "/v1/jobs");
    must(asked.status === 204 && asked.headers.get("allow") !== null, "OPTIONS", asked);
  });
  await w.row("406, 413, 415, 404", async () => {
    mustBeProblem(await w.call("GET", "/v1/types", { headers: { accept: "text/csv" } }), 406, "not_acceptable");
    mustBeProblem(await w.enqueue("demo.echo", { text: "x".repeat(2_000_000) }), 413, "body_too_large");
    mustBeProblem(
      await w.call("POST", "/v1/jobs", { headers: { "content-type": "text/plain" }, body: "x" }),
      415,
      "unsupported_media_type",
    );
    mustBeProblem(
      await w.call("POST", "/v1/jobs", {
        headers: { "content-type": "application/json", "content-encoding": "gzip" },
        body: "x",
      }),
      415,
      "unsupported_encoding",
    );
    mustBeProblem(await w.call("GET", "/v1/nothing"), 404, "not_found");
  });
  await w.row("a body that is no JSON, has a name twice, __proto__, or is too deep: 400", async () => {
    const post = (body: string) =>
      w.call("POST", "/v1/jobs", { headers: { "content-type": "application/json" }, body });
    mustBeProblem(await post("{"), 400, "malformed_json");
    mustBeProblem(await post('{"type":"demo.echo","type":"demo.slow","payload":{}}'), 400, "malformed_json");
    mustBeProblem(await post('{"type":"demo.echo","payload":{"__proto__":{}}}'), 400, "malformed_json");
    mustBeProblem(
      await post(`{"type":"demo.echo","payload":${"[".repeat(40)}${"]".repeat(40)}}`),
      400,
      "malformed_json",
    );
    mustBeProblem(await post(""), 400, "malformed_json");
  });
  await w.row("X-Request-Id: a caller's is kept, otherwise made", async () => {
    const own = await w.call("GET", "/livez", { headers: { "x-request-id": "walk-1" } });
    must(own.headers.get("x-request-id") === "walk-1", "walk-1", own);
    const made = await w.call("GET", "/livez", { headers: { "x-request-id": "not good\u00e9" } });
    must((made.headers.get("x-request-id") ?? "").length > 10, "one of its own", made);
  });
  await w.row("a mutation from a page of another site: 403", async () => {
    mustBeProblem(
      await w.enqueue("demo.echo", { text: "x" }, { headers: { "sec-fetch-site": "cross-site" } }),
      403,
      "cross_site",
    );
    mustBeProblem(
      await w.enqueue("demo.echo", { text: "x" }, { headers: { origin: "https://evil.example" } }),
      403,
      "cross_site",
    );
  });
  await w.row("traceparent is kept", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const seen = await w.enqueue("demo.echo", { text: "t" }, { headers: { traceparent } });
    must(seen.json.traceparent === traceparent, "traceparent", seen);
  });
  return w.rows;
}
