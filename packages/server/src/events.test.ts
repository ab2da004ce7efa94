/** Streams: how many, what a reader costs that reads nothing, and that each one ends. */
import { once } from "node:events";
import type { Socket } from "node:net";
import Fastify from "fastify";
import { Queue, type Store } from "sluice";
import { memory } from "sluice/memory";
import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { defineJob } from "sluice";
import { sluiceService } from "./service.js";
import {
  answerIn,
  eventually,
  faultOfProblem,
  rawAt,
  startBed,
  type Bed,
  type BedOptions,
} from "./service.test.bed.js";

const open: Bed[] = [];
async function bedOf(options?: BedOptions): Promise<Bed> {
  const bed = await startBed(options);
  open.push(bed);
  return bed;
}
afterEach(async () => {
  await Promise.all(open.splice(0).map((bed) => bed.close()));
});

interface Reader {
  readonly status: number;
  /** Each message that has come, comments and all. */
  readonly text: () => string;
  readonly ended: Promise<void>;
  readonly leave: () => void;
}

async function follow(url: string, key?: string, headers: Readonly<Record<string, string>> = {}): Promise<Reader> {
  const abort = new AbortController();
  const response = await fetch(url, {
    signal: abort.signal,
    headers: { ...(key !== undefined && { authorization: `Bearer ${key}` }), ...headers },
  });
  let text = "";
  const ended = (async () => {
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) text += piece;
  })();
  ended.catch(() => undefined);
  return { status: response.status, text: () => text, ended, leave: () => abort.abort() };
}

async function streamsOf(bed: Bed, key?: string): Promise<number> {
  const { text } = await bed.call("GET", "/metrics", { key });
  return Number(/^sluice_http_streams (\d+)$/m.exec(text)?.[1]);
}

test("so many streams of one caller, and in all; a session counts for its key", async () => {
  const bed = await bedOf({ hasWorker: false, limits: { streams: 5, streamsPerCaller: 3 } });
  const [ada, eve] = [await bed.key({ name: "ada" }), await bed.key({ name: "eve" })];
  const path = `${bed.url}/v1/events`;
  const first = await Promise.all([1, 2].map(() => follow(path, ada)));
  const session = await bed.call("POST", "/v1/session", { json: { key: ada } });
  const cookie = session.headers.get("set-cookie")!.split(";")[0]!;
  first.push(await follow(path, undefined, { cookie }));
  expect(first.map(({ status }) => status)).toEqual([200, 200, 200]);

  const refused = await bed.call("GET", "/v1/events", { key: ada });
  expect([refused.status, refused.json.code, faultOfProblem(refused)]).toEqual([429, "too_many_streams", null]);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  const statuses = await Promise.all([1, 2, 3].map(async () => (await follow(path, eve)).status));
  expect(statuses.sort()).toEqual([200, 200, 429]);
  expect(await streamsOf(bed, ada)).toBe(5);

  // Whoever leaves makes room.
  first[0]!.leave();
  await eventually(async () => ((await streamsOf(bed, ada)) === 4 ? true : null));
  expect((await follow(path, ada)).status).toBe(200);
});

test("HEAD, and what is refused, hold no stream", async () => {
  const bed = await bedOf({ hasWorker: false });
  const { id } = (await bed.enqueue("guard.note", {}, { more: { delayMs: 3_600_000 } })).json;
  for (const path of ["/v1/events", `/v1/jobs/${id}/events`]) {
    const raw = rawAt(
      bed.port,
      `HEAD ${path} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    );
    await eventually(() => (raw.text().includes('{"status":"ok"}') ? true : null));
    expect(answerIn(raw.text()).status).toBe(200);
    raw.socket.destroy();
  }
  expect((await bed.call("GET", "/v1/jobs/01890000-0000-7000-8000-000000000000/events")).status).toBe(404);
  expect((await bed.call("GET", "/v1/events", { headers: { accept: "application/json" } })).status).toBe(406);
  expect(await streamsOf(bed)).toBe(0);
});

test("what comes over a connection with a stream on it is no answer in the midst of it", async () => {
  const bed = await bedOf({ hasWorker: false });
  const raw = rawAt(bed.port, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await eventually(() => (raw.text().includes("data: ") ? true : null));
  raw.socket.write("NONSENSE\r\n\r\n");
  await raw.closed;
  expect(raw.text().match(/HTTP\/1\.1/g)).toHaveLength(1);
  await eventually(async () => ((await streamsOf(bed)) === 0 ? true : null));
});

test("a stream says how things are, ends with the job, and 204 says that there is no more", async () => {
  const bed = await bedOf();
  const { id } = (await bed.enqueue("guard.slow", { text: "a" })).json;
  const reader = await follow(`${bed.url}/v1/jobs/${id}/events`);
  await eventually(() => ((reader.text().match(/event: job/g) ?? []).length >= 2 ? true : null));
  await bed.call("POST", `/v1/jobs/${id}/cancel`);
  await reader.ended;

  const messages = reader
    .text()
    .split("\n\n")
    .filter((text) => text.includes("data: "));
  const states = messages.map((text) => (JSON.parse(/data: (.*)/.exec(text)![1]!) as { state: string }).state);
  expect(states.at(-1)).toBe("cancelled");
  const lastId = /id: (.*)/.exec(messages.at(-1)!)![1]!;
  const again = await fetch(`${bed.url}/v1/jobs/${id}/events`, { headers: { "last-event-id": lastId } });
  expect(again.status).toBe(204);
  expect(await streamsOf(bed)).toBe(0);
});

test("the close of the service ends the streams and the waits", async () => {
  const bed = await startBed({ hasWorker: false });
  const { id } = (await bed.enqueue("guard.note", {}, { more: { delayMs: 3_600_000 } })).json;
  const readers = await Promise.all(["/v1/events", `/v1/jobs/${id}/events`].map((path) => follow(bed.url + path)));
  const wait = bed.enqueue("guard.note", {}, { more: { delayMs: 3_600_000 }, headers: { prefer: "wait=60" } });
  await eventually(async () => ((await bed.queue.list()).jobs.length === 2 ? true : null));

  const began = performance.now();
  const closed = bed.close();
  await Promise.all(readers.map(({ ended }) => ended));
  expect((await wait).status).toBe(202);
  await closed;
  expect(performance.now() - began).toBeLessThan(10_000);
});

test(
  "a reader that stops reading holds a little, and gets the present when it reads on",
  { timeout: 90_000 },
  async () => {
    const big = defineJob({ type: "guard.big", payload: z.object({ text: z.string() }) });
    const store = (await memory()) as Store<unknown>;
    const queue = new Queue<unknown>({ store });
    const app = Fastify();
    const sockets: Socket[] = [];
    app.server.on("connection", (socket: Socket) => sockets.push(socket));
    await app.register(sluiceService, { store, queue, definitions: [big as never], runsBulk: false });
    await app.listen({ port: 0, host: "127.0.0.1" });
    const { port } = app.server.address() as { port: number };
    const text = "x".repeat(900_000);
    const { job } = await queue.enqueue(big, { text: `${text}0` }, { delayMs: 3_600_000 });

    const raw = rawAt(port);
    await once(raw.socket, "connect");
    raw.socket.pause();
    raw.socket.write(`GET /v1/jobs/${job.id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    // The kernel takes some megabytes before it says no: changes, a message of 0.9 MB each second, until it has, and then more of them.
    let n = 0;
    const change = () => queue.editAndRetry(big, job.id, { text: `${text}${++n}` });
    const stuckAt = await eventually(async () => {
      await change();
      await new Promise((resolve) => setTimeout(resolve, 250));
      return sockets[0]!.writableLength > 0 ? sockets[0]!.writableLength : null;
    }, 45_000);
    const written = sockets[0]!.bytesWritten;
    for (let more = 0; more < 12; more++) {
      await change();
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect(stuckAt).toBeLessThan(2_000_000);
    expect(sockets[0]!.writableLength).toBeLessThanOrEqual(stuckAt);
    expect(sockets[0]!.bytesWritten).toBe(written);

    raw.socket.resume();
    await eventually(() => (raw.text().includes(`${n}"}`) ? true : null), 30_000);
    expect(raw.text().match(/event: job/g)!.length).toBeLessThan(n);
    raw.socket.destroy();
    await app.close();
    await queue.close();
    await store.close();
  },
);

test("a quiet stream has heartbeats", { timeout: 60_000 }, async () => {
  const bed = await bedOf({ hasWorker: false });
  const { id } = (await bed.enqueue("guard.note", {}, { more: { delayMs: 3_600_000 } })).json;
  const reader = await follow(`${bed.url}/v1/jobs/${id}/events`);
  await eventually(() => (/\n\n: [^\n]*\n\n/.test(reader.text()) ? true : null), 40_000);
  expect(reader.text().match(/event: job/g)).toHaveLength(1);
  reader.leave();
});
