/**
 * A service as it is deployed, on a store in memory or in a file, with a worker, every line of its log kept, and jobs that try to let a
 * secret out. Asked over real connections.
 */
import { connect, type Socket } from "node:net";
import { pino } from "pino";
import {
  defineJob,
  Events,
  fixed,
  handle,
  Queue,
  Worker,
  type AccessKeyOptions,
  type Processor,
  type AnyDefinition,
  type Store,
} from "sluice";
import { memory } from "sluice/memory";
import { z } from "zod";
import { startService, type Service, type StartOptions } from "./start.js";

const note = defineJob({
  type: "guard.note",
  payload: z.object({
    text: z.string().max(1_000_000).optional(),
    n: z.number().optional(),
    token: z.string().meta({ sensitive: true }).optional(),
  }),
  result: z.object({ text: z.string() }),
  unique: false,
});

/** Lets out what it should keep, in each way a handler has. */
const leaky = defineJob({
  type: "guard.leaky",
  payload: z.object({ token: z.string().meta({ sensitive: true }) }),
  correlation: ({ token }) => ({ token }),
  unique: false,
  retry: fixed({ attempts: 2, delayMs: 50 }),
});

/** Its schema says what it was given. */
const picky = defineJob({
  type: "guard.picky",
  payload: z.object({
    token: z
      .string()
      .refine((token) => token.startsWith("good"), { error: ({ input }) => `${String(input)} is no good` })
      .meta({ sensitive: true }),
  }),
});

const other = defineJob({ type: "other.note", payload: z.object({ text: z.string() }), unique: false });
const slow = defineJob({ type: "guard.slow", payload: z.object({ text: z.string() }), unique: false });

export const definitions: readonly AnyDefinition[] = [note, leaky, picky, other, slow] as never;

/** Runs until it is told to stop, and counts. */
async function runSlowly(_job: unknown, ctx: { signal: AbortSignal; progress(done: number): void }): Promise<void> {
  for (let n = 0; ; n++) {
    ctx.signal.throwIfAborted();
    ctx.progress(n);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const processors = [
  handle(note, async ({ payload }) => ({ text: payload.text?.slice(0, 10) ?? "" })),
  handle(leaky, async ({ payload: { token } }, ctx) => {
    ctx.log.info(`token ${token}`);
    ctx.log.error(`as JSON ${JSON.stringify({ token })}`);
    throw Object.assign(new Error(`cannot use ${token}`), { name: `Error of ${token}` });
  }),
  handle(other, async () => undefined),
  handle(slow, runSlowly),
] as unknown as readonly Processor<AnyDefinition>[];

export interface Seen {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Empty where the answer is no JSON. */
  readonly json: Told;
}

/** What an answer may have that is looked at; which of it one has, the tests say. */
export interface Told {
  readonly id: string;
  readonly type: string;
  readonly state: string;
  readonly outcome: string;
  readonly payload: unknown;
  readonly jobs: readonly { readonly id: string }[];
  readonly results: readonly unknown[];
  readonly byType: unknown;
  readonly entries: readonly { readonly action: string }[];
  readonly key: { readonly id: string };
  readonly token: string;
  readonly roles: readonly string[];
  readonly checks: Readonly<Record<string, unknown>>;
  readonly status: number | string;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string;
  readonly errors: readonly { readonly pointer?: string; readonly parameter?: string; readonly detail: string }[];
}

export interface Ask {
  readonly key?: string | undefined;
  readonly json?: unknown;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Bed {
  readonly url: string;
  readonly port: number;
  readonly service: Service;
  readonly store: Store<unknown>;
  readonly queue: Queue<unknown>;
  readonly events: Events;
  /** Every line of the service's log, at the level trace. */
  readonly log: readonly string[];
  call(method: string, path: string, ask?: Ask): Promise<Seen>;
  enqueue(type: string, payload: unknown, ask?: Ask & { readonly more?: object }): Promise<Seen>;
  /** A key made at the queue. @returns its token */
  key(options: Partial<AccessKeyOptions>): Promise<string>;
  /** The job when it is in the state, asked over HTTP. */
  until(id: string, state: string, ask?: Ask): Promise<Seen>;
  close(): Promise<void>;
}

export interface BedOptions extends Partial<StartOptions> {
  /** Default true: a worker runs the jobs in this process. */
  readonly hasWorker?: boolean;
}

export async function startBed({ hasWorker = true, store: own, ...options }: BedOptions = {}): Promise<Bed> {
  const store = own ?? (await memory());
  const log: string[] = [];
  const events = new Events();
  const queue = new Queue<unknown>({ store, events });
  const logger = pino({ level: "trace" }, { write: (line: string) => void log.push(line) });
  const service = await startService({ store, queue, definitions, logger, port: 0, ...options });
  const worker = hasWorker ? new Worker<unknown>({ store, events, processors: processors as never }) : null;
  await worker?.start();
  const { url } = service;
  const call: Bed["call"] = (method, path, ask) => callAt(url, method, path, ask);
  return {
    url,
    port: Number(new URL(url).port),
    service,
    store,
    queue,
    events,
    log,
    call,
    enqueue: (type, payload, { more, ...ask } = {}) =>
      call("POST", "/v1/jobs", { json: { type, payload, ...more }, ...ask }),
    key: async (given) =>
      (await queue.createAccessKey({ name: given.name ?? `a ${given.roles?.join()}`, roles: ["admin"], ...given }))
        .token,
    until: (id, state, ask) =>
      eventually(async () => {
        const seen = await call("GET", `/v1/jobs/${id}`, ask);
        return seen.json.state === state ? seen : null;
      }),
    close: async () => {
      await Promise.all([service.close({ graceMs: 500 }), worker?.stop({ graceMs: 500 })]);
      await queue.close();
      if (own === undefined) await store.close();
    },
  };
}

export async function callAt(url: string, method: string, path: string, ask: Ask = {}): Promise<Seen> {
  const { key, json, body, headers } = ask;
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...(json !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(json !== undefined && { body: JSON.stringify(json) }),
    ...(body !== undefined && { body }),
  });
  const text = await response.text();
  const isJson = /[/+]json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, text, json: jsonOf(isJson ? text : "{}") };
}

function jsonOf(text: string): Told {
  return JSON.parse(text) as Told;
}

/** Looks until there is something to see. Generous: the machine may be busy. */
export async function eventually<T>(look: () => Promise<T | null> | T | null, withinMs = 20_000): Promise<T> {
  const end = Date.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (seen !== null) return seen;
    if (Date.now() > end) throw new Error(`not seen within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** What is wrong with an answer that should be a problem of RFC 9457; null: nothing. */
export function faultOfProblem({ status, headers, text, json }: Seen): string | null {
  const said = `${status} ${text.slice(0, 300)}`;
  if (headers.get("content-type")?.startsWith("application/problem+json") !== true) return `no problem+json: ${said}`;
  if (json.status !== status) return `another status: ${said}`;
  if (json.type !== `urn:sluice:problem:${json.code}`) return `no type of its code: ${said}`;
  if (typeof json.title !== "string" || typeof json.detail !== "string") return `no title or detail: ${said}`;
  if (json.requestId !== headers.get("x-request-id")) return `not the requestId of X-Request-Id: ${said}`;
  if (/\\n +at |file:\/\/|node_modules|\/packages\/|\/dist\//.test(text)) return `a stack or a path: ${said}`;
  return null;
}

export interface Raw {
  readonly socket: Socket;
  /** All that has come so far. */
  readonly text: () => string;
  /** Resolves when the service has closed the connection. */
  readonly closed: Promise<void>;
}

/** A connection without a client's good manners. */
export function rawAt(port: number, first = ""): Raw {
  const socket = connect({ port, host: "127.0.0.1" });
  let text = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk) => (text += String(chunk)));
  // A service that closes on a client that still sends: nothing to see here.
  socket.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  if (first !== "") socket.write(first);
  return { socket, text: () => text, closed };
}

/** Answers read by hand from a raw connection: the first one. */
export function answerIn(text: string): Seen {
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [line = "", ...fields] = head.split("\r\n");
  const headers = new Headers(fields.map((field): [string, string] => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()])); // prettier-ignore
  const body = rest.join("\r\n\r\n").slice(0, Number(headers.get("content-length") ?? Infinity));
  return { status: Number(line.split(" ")[1]), headers, text: body, json: jsonOf(body === "" ? "{}" : body) };
}
