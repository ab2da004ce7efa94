/**
 * Asks a service for everything that its OpenAPI document has, in every way that is allowed, nearly allowed, or hostile, and judges each
 * answer: announced, never a 5xx, no echo. The service is a process of its own (fuzz-service.ts), which says how it is.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fc from "fast-check";
import { ServiceDocument, type JsonSchema, type Operation, type Seen } from "./document.js";
import { bytesOf, hostileJson, hostileText, marker, spoilt, validFor, type Known } from "./fuzz-values.js";
import { senderTo, type Sender, type Sent } from "./send.js";

export interface FuzzOptions {
  /** `sqlite:PATH` or `postgres:URL SCHEMA`. */
  readonly store: string;
  readonly seed: number;
  /** Rounds over all operations; or until `seconds` are over. */
  readonly rounds?: number;
  readonly seconds?: number;
  /** Requests for each operation and round. */
  readonly runs?: number;
}

export interface FuzzReport {
  readonly requests: number;
  /** What was found, each once, with the request that shows it. */
  readonly faults: readonly string[];
  /** How often each operation was answered with which status. */
  readonly answers: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly codes: Readonly<Record<string, number>>;
  /** MB after garbage collection: after a third, after two thirds, at the end. */
  readonly heapMb: readonly number[];
  readonly handles: {
    readonly before: Readonly<Record<string, number>>;
    readonly after: Readonly<Record<string, number>>;
  };
}

export interface Vitals {
  readonly heapMb: number;
  readonly handles: Readonly<Record<string, number>>;
  readonly unhandled: readonly string[];
}

export interface Started {
  readonly url: string;
  readonly key: string;
}

class ServiceProcess {
  readonly #child: ChildProcess;
  readonly #gone: Promise<never>;
  readonly started: Started;

  private constructor(child: ChildProcess, gone: Promise<never>, started: Started) {
    this.#child = child;
    this.#gone = gone;
    this.started = started;
  }

  static async start(store: string): Promise<ServiceProcess> {
    const program = new URL("./fuzz-service.js", import.meta.url).pathname;
    const child = fork(program, [store], { execArgv: ["--expose-gc"], stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const gone = once(child, "exit").then(([code]) => {
      throw new Error(`The service ended with exit code ${code}.`);
    });
    gone.catch(() => undefined);
    return new ServiceProcess(child, gone, await answerOf<Started>(child, gone));
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async ask(question: "vitals" | "top up"): Promise<Vitals> {
    const answer = answerOf<Vitals>(this.#child, this.#gone);
    this.#child.send(question);
    return answer;
  }

  /** @returns Its exit code. */
  async stop(): Promise<number | null> {
    if (!this.isAlive) return this.#child.exitCode;
    const ended = once(this.#child, "exit") as Promise<[number | null]>;
    this.#child.disconnect();
    return (await ended)[0];
  }
}

async function answerOf<T>(child: ChildProcess, gone: Promise<never>): Promise<T> {
  const [message] = (await Promise.race([once(child, "message"), gone])) as [T];
  return message;
}

/** How a request is made; `valid` must be taken. */
type Mode = "valid" | "near" | "hostile";

interface Planned extends Sent {
  readonly mode: Mode;
  /** The address was spoilt: it may be another operation's, or nobody's. */
  readonly isElsewhere?: boolean;
}

export async function fuzz({
  store,
  seed,
  rounds = Infinity,
  seconds = Infinity,
  runs = 20,
}: FuzzOptions): Promise<FuzzReport> {
  const service = await ServiceProcess.start(store);
  const sender = senderTo(service.started.url, { timeoutMs: 30_000 });
  try {
    const run = new FuzzRun(service, sender, await readDocument(sender), await readPayloads(sender, service.started));
    const before = await settled(service);
    const heapMb: number[] = [];
    const began = performance.now();
    const share = (round: number) => Math.max(round / rounds, (performance.now() - began) / (1_000 * seconds));
    for (let round = 0; share(round) < 1; round++) {
      await service.ask("top up");
      await run.round(seed + round, runs);
      if (share(round + 1) >= (heapMb.length + 1) / 3) heapMb.push((await service.ask("vitals")).heapMb);
    }
    sender.close();
    const after = await settled(service, before);
    const code = await service.stop();
    if (code !== 0) run.fault("the process", `ended with exit code ${code}`);
    for (const each of after.unhandled) run.fault("the process", `unhandled: ${each}`);
    return { ...run.report(), heapMb, handles: { before: before.handles, after: after.handles } };
  } finally {
    sender.close();
    await service.stop();
  }
}

/** Connections take a moment to be closed. */
async function settled(service: ServiceProcess, like?: Vitals): Promise<Vitals> {
  for (let attempt = 0; ; attempt++) {
    const vitals = await service.ask("vitals");
    const isLike = like === undefined || Object.keys(vitals.handles).every((kind) => !isMore(vitals, like, kind));
    if (isLike || attempt >= 100) return vitals;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function isMore({ handles }: Vitals, before: Vitals, kind: string): boolean {
  return (handles[kind] ?? 0) > (before.handles[kind] ?? 0);
}

async function readDocument(sender: Sender): Promise<ServiceDocument> {
  const { text } = await sender.send({ method: "GET", path: "/openapi.json", headers: [], body: null });
  return new ServiceDocument(JSON.parse(text));
}

/** The schemas of payloads, by type. */
async function readPayloads(sender: Sender, { key }: Started): Promise<ReadonlyMap<string, JsonSchema>> {
  const headers = [["authorization", `Bearer ${key}`]] as const;
  const read = async (path: string) =>
    JSON.parse((await sender.send({ method: "GET", path, headers, body: null })).text) as unknown;
  const { types } = (await read("/v1/types")) as { types: readonly { type: string }[] };
  const known = types.filter(({ type }) => type.startsWith("demo."));
  const schemas = known.map(async ({ type }) => {
    const { definition } = (await read(`/v1/types/${type}`)) as { definition: { schema: JsonSchema } };
    return [type, definition.schema] as const;
  });
  return new Map(await Promise.all(schemas));
}

class FuzzRun {
  readonly #service: ServiceProcess;
  readonly #sender: Sender;
  readonly #document: ServiceDocument;
  readonly #payloads: ReadonlyMap<string, JsonSchema>;
  readonly #faults = new Map<string, string>();
  readonly #answers: Record<string, Record<string, number>> = {};
  readonly #codes: Record<string, number> = {};
  /** What answers have told, for requests to come. */
  readonly #pools = {
    jobs: [] as string[],
    failed: [] as string[],
    waiting: [] as string[],
    keys: [] as string[],
    cursors: [] as string[],
    etags: [] as string[],
  };
  #requests = 0;

  constructor(
    service: ServiceProcess,
    sender: Sender,
    document: ServiceDocument,
    payloads: ReadonlyMap<string, JsonSchema>,
  ) {
    this.#service = service;
    this.#sender = sender;
    this.#document = document;
    this.#payloads = payloads;
  }

  fault(where: string, what: string): void {
    this.#faults.set(`${where}: ${what.replace(/[0-9a-f-]{36}|\d+/g, "#").slice(0, 120)}`, `${where}: ${what}`);
  }

  report(): Pick<FuzzReport, "requests" | "faults" | "answers" | "codes"> {
    for (const { id } of this.#document.operations) {
      const counts = Object.entries(this.#answers[id] ?? {});
      if (!counts.some(([status]) => status.startsWith("2"))) this.fault(id, "was never answered with 2xx");
    }
    return {
      requests: this.#requests,
      faults: [...this.#faults.values()],
      answers: this.#answers,
      codes: this.#codes,
    };
  }

  async round(seed: number, runs: number): Promise<void> {
    await this.#fillPools();
    const queue = [...this.#document.operations];
    const lane = async () => {
      for (let operation = queue.shift(); operation !== undefined; operation = queue.shift()) {
        await this.#fuzzOperation(operation, seed, runs);
      }
    };
    await Promise.all([lane(), lane(), lane(), lane()]);
    const { status } = await this.#sender.send({ method: "GET", path: "/livez", headers: [], body: null });
    if (status !== 200) this.fault("livez", `answers ${status} after a round`);
  }

  async #fillPools(): Promise<void> {
    for (const [pool, q] of [
      ["jobs", "type:demo.*"],
      ["failed", "state:failed"],
      ["waiting", "type:demo.orphan state:pending,scheduled"],
    ] as const) {
      const { text } = await this.#ask(`/v1/jobs?q=${encodeURIComponent(q)}&limit=100`);
      const page = JSON.parse(text) as { jobs?: readonly { id: string }[]; next?: string | null };
      if (page.jobs === undefined) throw new Error(`The search for ${q} was answered with ${text}`);
      this.#pools[pool] = page.jobs.map(({ id }) => id);
      if (page.next != null) this.#pools.cursors.push(page.next);
    }
    this.#pools.cursors.splice(0, this.#pools.cursors.length - 20);
    const { text } = await this.#ask("/v1/keys");
    const { keys } = JSON.parse(text) as { keys: readonly { id: string; name: string; revokedAt: string | null }[] };
    // Never the one that this asks with.
    this.#pools.keys = keys.filter(({ name, revokedAt }) => name !== "fuzz" && revokedAt === null).map(({ id }) => id);
    const { headers } = await this.#ask("/v1/types/demo.scarce");
    this.#pools.etags = [String(headers["etag"])];
  }

  #ask(path: string): Promise<Seen> {
    return this.#sender.send({ method: "GET", path, headers: [this.#authorization()], body: null });
  }

  async #fuzzOperation(operation: Operation, seed: number, runs: number): Promise<void> {
    const plans = this.#plansFor(operation);
    const property = fc.asyncProperty(plans, async (planned) => {
      const faults = await this.#try(operation, planned);
      if (faults.length > 0) throw new Error(faults.join("\n"));
    });
    const { failed, counterexample, errorInstance } = await fc.check(property, { seed, numRuns: runs });
    if (!failed) return;
    const [planned] = counterexample ?? [];
    const said = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
    this.fault(operation.id, `${said}\n    seed ${seed}, ${planned === undefined ? "no request" : describe(planned)}`);
  }

  async #try(operation: Operation, planned: Planned): Promise<readonly string[]> {
    this.#requests++;
    let seen: Seen;
    try {
      seen = await this.#sender.send(planned);
    } catch (error) {
      if (!this.#service.isAlive) return ["the process has ended"];
      const { code } = error as NodeJS.ErrnoException;
      // A body that nobody wanted is not read to its end: the answer may be lost with the connection.
      if ((code === "EPIPE" || code === "ECONNRESET") && (planned.body?.byteLength ?? 0) > 65_536) return [];
      return [`no answer: ${String(error)}`];
    }
    const { status, text, headers } = seen;
    const counts = (this.#answers[operation.id] ??= {});
    counts[`${status}`] = (counts[`${status}`] ?? 0) + 1;
    const faults: string[] = [];
    const isRefusal = status === 503 && headers["retry-after"] !== undefined;
    if (status >= 500 && !isRefusal) faults.push(`answered ${status} ${text.slice(0, 300)}`);
    const isUsed = text.includes('"idempotency_key_reused"');
    if (planned.mode === "valid" && status >= 400 && !isExpected(status) && !isUsed)
      faults.push(`valid, but ${status} ${text.slice(0, 500)}`);
    if (status >= 400 && planned.method !== "HEAD") {
      if (String(headers["content-type"]).startsWith("application/problem+json")) {
        const { code } = JSON.parse(text) as { code: string };
        this.#codes[code] = (this.#codes[code] ?? 0) + 1;
      } else if (operation.id !== "readyz") faults.push(`${status} as ${String(headers["content-type"])}`);
      // A word of a query that is not understood is named, as the names of fields are.
      if (text.replace(/There is no \w+ [^ ]+/g, "").includes(marker))
        faults.push(`repeats what was sent: ${text.slice(0, 500)}`);
    }
    if (planned.method === operation.method && planned.isElsewhere !== true)
      faults.push(...this.#document.faultsOf(operation, seen));
    return faults;
  }

  #authorization(): readonly [string, string] {
    return ["authorization", `Bearer ${this.#service.started.key}`];
  }

  // ── requests ──

  #plansFor(operation: Operation): fc.Arbitrary<Planned> {
    return fc.oneof(
      { weight: 4, arbitrary: this.#valid(operation) },
      { weight: 4, arbitrary: this.#near(operation) },
      { weight: 4, arbitrary: this.#hostile(operation) },
    );
  }

  #valid(operation: Operation): fc.Arbitrary<Planned> {
    const { method, parameters } = operation;
    const of = (place: string, isKept: (required: boolean) => fc.Arbitrary<boolean>) =>
      fc.tuple(
        ...parameters
          .filter((each) => each.in === place)
          .map(({ name, schema, required = false }) =>
            fc.tuple(fc.constant(name), this.#validParameter(operation, name, schema), isKept(required)),
          ),
      );
    const sometimes = (required: boolean) => (required ? fc.constant(true) : fc.boolean());
    return fc
      .tuple(of("path", sometimes), of("query", sometimes), of("header", sometimes), this.#validBody(operation))
      .map(([path, query, headers, bytes]) => ({
        mode: "valid" as const,
        method,
        path: addressOf(
          operation,
          path.map(([name, value]) => [name, encodeURIComponent(value)]),
          query,
        ),
        headers: [
          this.#authorization(),
          ...headers.filter(([, , isKept]) => isKept).map(([name, value]) => [name, value] as const),
          ...(bytes === null ? [] : [["content-type", bytes.type] as const]),
        ],
        body: bytes?.bytes ?? null,
      }));
  }

  #validParameter({ id }: Operation, name: string, schema: JsonSchema): fc.Arbitrary<string> {
    const pick = (pool: readonly string[]) => fc.constantFrom(...(pool.length === 0 ? [crypto.randomUUID()] : pool));
    const { jobs, failed, waiting, keys, cursors, etags } = this.#pools;
    switch (name) {
      case "id":
        if (id === "revokeKey") return pick(keys);
        if (id === "retryJob" || id === "discardJob") return pick(failed);
        if (id === "cancelJob" || id === "editPayload") return pick(waiting);
        return pick(jobs);
      case "job":
        return pick(jobs);
      case "type":
        return id === "setType" ? fc.constant("demo.scarce") : fc.constantFrom(...this.#payloads.keys());
      case "q":
        return fc.constantFrom(
          "",
          "state:failed",
          "type:demo.* -state:failed",
          "since:1h status:pending",
          'error:"no good"',
        );
      case "cursor":
        // A search goes on at the id of a job, the audit at a number.
        return id === "searchJobs" ? pick(cursors) : fc.constant("99999");
      case "range":
        return fc.constantFrom("15m", "24h", "7d", "400d");
      case "Idempotency-Key":
        return fc.uuid();
      case "Prefer":
        return fc.constantFrom("wait=0", "wait=1", "respond-async", "handling=lenient");
      case "If-None-Match":
      case "If-Match":
        return fc.constantFrom(
          "*",
          ...(name === "If-Match" ? [] : etags),
          ...(name === "If-Match" ? [] : ['W/"x", "y"']),
        );
      case "Last-Event-ID":
        return fc.constantFrom("abc", "");
      case "traceparent":
        return fc.constant("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
      default:
        return validFor(
          schema,
          (each) => this.#document.resolve(each),
          () => undefined,
        ).map(String);
    }
  }

  #validBody(operation: Operation): fc.Arbitrary<{ readonly bytes: Uint8Array; readonly type: string } | null> {
    const { body } = operation;
    if (body === null) return fc.constant(null);
    // A body in lines is text to the document; each line is as an element of the array.
    const ofArray = body.content["application/json"]?.schema ?? {};
    const bodies = Object.entries(body.content).map(([type, { schema }]) =>
      this.#validValue(operation, type === "application/x-ndjson" ? ofArray : schema).map((value) => ({
        type,
        bytes: Buffer.from(type === "application/x-ndjson" ? linesOf(value) : JSON.stringify(value)),
      })),
    );
    return body.isRequired ? fc.oneof(...bodies) : fc.oneof(fc.constant(null), ...bodies);
  }

  #validValue({ id }: Operation, schema: JsonSchema): fc.Arbitrary<unknown> {
    const resolve = (each: JsonSchema) => this.#document.resolve(each);
    // Not to sleep for long, nor to be masked: it is only what a schema cannot say.
    const small: Known = ([name]) => (name === "ms" ? fc.integer({ min: 0, max: 20 }) : undefined);
    const job = resolve(((id === "enqueueBatch" ? schema["items"] : schema) ?? {}) as JsonSchema);
    const jobs = fc
      .oneof(
        ...[...this.#payloads].map(([type, payload]) =>
          validFor(job, resolve, ([name]) => {
            if (name === "type") return fc.constant(type);
            if (name === "payload") return validFor(payload, (each) => each, small);
            return undefined;
          }),
        ),
      )
      .map((job) => {
        const { delayMs, runAt, ...rest } = job as Record<string, unknown>;
        // One of both at most.
        return delayMs !== undefined ? { ...rest, delayMs } : { ...rest, ...(runAt !== undefined && { runAt }) };
      });
    switch (id) {
      case "enqueueJob":
        return jobs;
      case "enqueueBatch":
        return fc.array(jobs, { minLength: 1, maxLength: 5 });
      case "editPayload":
        return validFor(schema, resolve, ([name]) => (name === "payload" ? fc.record({ n: fc.integer() }) : undefined));
      case "bulk":
        return validFor(schema, resolve, ([name]) =>
          name === "q" ? fc.constantFrom("type:demo.echo state:failed", "type:demo.index since:1m") : undefined,
        );
      case "openSession":
        return fc.constant({ key: this.#service.started.key });
      case "createKey":
        return validFor(schema, resolve, ([name]) =>
          name === "expiresAt" ? fc.constant("2100-01-01T00:00:00Z") : undefined,
        );
      default:
        return validFor(schema, resolve, (path) => {
          if (path.join() === "pause,until") return fc.constant("2100-01-01T00:00:00Z");
          // Of a rate: with any time at least one a day.
          return path.at(-1) === "limit" ? fc.integer({ min: 1, max: 1_000 }) : undefined;
        });
    }
  }

  /** Valid but for one thing. */
  #near(operation: Operation): fc.Arbitrary<Planned> {
    const { body } = operation;
    const valid = this.#valid(operation);
    const more: fc.Arbitrary<(planned: Planned) => Planned>[] = [
      fc.tuple(hostileText, hostileText).map(([name, value]) => (planned: Planned) => ({
        ...planned,
        path: `${planned.path}${planned.path.includes("?") ? "&" : "?"}${unmarked(name)}=${encode(value)}`,
      })),
      fc.constant((planned: Planned) => ({ ...planned, path: planned.path.replace(/\?(.+)$/, "?$1&$1") })),
      fc
        .constantFrom("%", "%zz", "%00", "%c0%80", "%ff", "%2e%2e", "//", ";a=b", "?", "?%", "??&&==")
        .map((tail) => (planned: Planned) => ({ ...planned, path: planned.path + tail, isElsewhere: true })),
      fc.constantFrom("HEAD", "OPTIONS", "PUT", "TRACE", "PATCH", "PROPFIND").map((method) => (planned: Planned) => ({
        ...planned,
        method,
      })),
      headerLine.map((line) => (planned: Planned) => ({ ...planned, headers: [...planned.headers, line] })),
      fc
        .constantFrom("", "Bearer", "Bearer x", `Bearer ${marker}`, "Basic eDp5", `bearer ${"x".repeat(300)}`)
        .map((value) => (planned: Planned) => ({
          ...planned,
          headers: planned.headers.map(([name, own]) => [name, name === "authorization" ? value : own] as const),
        })),
      fc
        .constantFrom(
          "text/plain",
          "application/json; charset=latin1",
          "application/xml",
          "",
          "multipart/form-data",
          marker,
        )
        .map((type) => (planned: Planned) => ({
          ...planned,
          headers: [...planned.headers.filter(([name]) => name !== "content-type"), ["content-type", type] as const],
        })),
    ];
    const bodies =
      body === null
        ? []
        : [
            {
              weight: 6,
              arbitrary: spoilt(this.#bodyValue(operation)).map((value) => Buffer.from(JSON.stringify(value) ?? "")),
            },
            { weight: 3, arbitrary: bytesOf(this.#bodyValue(operation)) },
          ];
    const changes = [
      { weight: 5, arbitrary: fc.oneof(...more) },
      ...bodies.map(({ weight, arbitrary }) => ({
        weight,
        arbitrary: arbitrary.map((bytes) => (planned: Planned): Planned => ({
          ...planned,
          headers: [
            ...planned.headers.filter(([name]) => name !== "content-type"),
            [
              "content-type",
              planned.headers.find(([name]) => name === "content-type")?.[1] ?? "application/json",
            ] as const,
          ],
          body: bytes,
        })),
      })),
    ];
    return fc
      .tuple(valid, fc.oneof(...changes))
      .map(([planned, change]) => ({ ...change(planned), mode: "near" as const }));
  }

  #bodyValue(operation: Operation): fc.Arbitrary<unknown> {
    const [first] = Object.values(operation.body!.content);
    return this.#validValue(operation, first!.schema);
  }

  /** Everything at once. */
  #hostile(operation: Operation): fc.Arbitrary<Planned> {
    const { parameters, body, method } = operation;
    const names = (place: string) => parameters.filter((each) => each.in === place).map(({ name }) => name);
    const values = (place: string) =>
      fc.tuple(...names(place).map((name) => fc.tuple(fc.constant(name), hostileText, fc.boolean())));
    const path = fc.tuple(
      ...names("path").map((name) =>
        fc.tuple(
          fc.constant(name),
          fc.oneof(hostileText.map(encode), this.#validParameter(operation, name, {}).map(encode)),
        ),
      ),
    );
    const bytes = body === null ? fc.constant(null) : bytesOf(hostileJson);
    return fc
      .tuple(path, values("query"), values("header"), fc.array(headerLine, { maxLength: 3 }), bytes)
      .map(([segments, query, headers, lines, sent]) => ({
        mode: "hostile" as const,
        method,
        path: addressOf(operation, segments, query),
        headers: [
          this.#authorization(),
          ...headers.filter(([, , isKept]) => isKept).map(([name, value]) => [name, headerText(value)] as const),
          ...lines,
          ...(sent === null ? [] : [["content-type", Object.keys(body!.content)[0]!] as const]),
        ],
        body: sent,
      }));
  }
}

/** Statuses that a valid request may meet for what others did meanwhile, or for how much was asked of the service. */
function isExpected(status: number): boolean {
  return [404, 409, 410, 412, 429, 503].includes(status);
}

function linesOf(value: unknown): string {
  return (Array.isArray(value) ? value : [value]).map((each) => JSON.stringify(each)).join("\n");
}

/** As a query or a path has it; a lone surrogate as the bytes it would have. */
function encode(text: string): string {
  return encodeURIComponent(text.replace(/[\ud800-\udfff]/g, (half) => (half < "\udc00" ? "\uffff" : "\ufffe")))
    .slice(0, 12_000)
    .replace(/%[0-9A-F]?$/, "");
}

/** Names may be repeated in an answer: they say where the fault is. */
function unmarked(text: string): string {
  return encode(text.replaceAll(marker, "name"));
}

function addressOf(
  { path }: Operation,
  segments: readonly (readonly [string, string, ...unknown[]])[],
  query: readonly (readonly [string, string, boolean])[],
): string {
  const filled = segments.reduce((text, [name, value]) => text.replace(`{${name}}`, () => value || "%20"), path);
  const kept = query.filter(([, , isKept]) => isKept).map(([name, value]) => `${name}=${encode(value)}`);
  return kept.length === 0 ? filled : `${filled}?${kept.join("&")}`;
}

/** What a header may have of a text: all bytes that can be printed. */
function headerText(text: string): string {
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, "\xff").slice(0, 3_000);
}

const headerLine: fc.Arbitrary<readonly [string, string]> = fc.tuple(
  fc.constantFrom(
    "accept",
    "accept-encoding",
    "content-encoding",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "origin",
    "prefer",
    "range",
    "sec-fetch-site",
    "traceparent",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-http-method-override",
  ),
  fc.oneof(
    hostileText.map(headerText),
    fc.string({
      unit: fc
        .integer({ min: 0x20, max: 0xff })
        .filter((at) => at < 0x7f || at > 0x9f)
        .map((at) => String.fromCharCode(at)),
    }),
    fc.constantFrom(
      "*/*;q=0",
      "text/html",
      "application/x-ndjson",
      "gzip",
      "sluice_session=x; sluice_session=y",
      '"',
      "W/",
      ",,,",
    ),
  ),
);

function describe({ method, path, headers, body }: Sent): string {
  const shown = body === null ? "no body" : JSON.stringify(Buffer.from(body).toString("latin1").slice(0, 600));
  const said = headers
    .filter(([name]) => name !== "authorization")
    .map(([name, value]) => `${name}: ${value.slice(0, 200)}`);
  return `${method} ${path.slice(0, 500)} ${JSON.stringify(said)} ${shown}`;
}
