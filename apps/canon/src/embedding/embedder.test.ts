import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createEmbedder } from "./embedder.js";
import type { Embedder, EmbedderOptions } from "./embedder.js";
import { embeddingModel } from "./identity.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "canon-embedder-"));
});
afterAll(() => rm(folder, { recursive: true }));

function anEmbedder(options: EmbedderOptions = {}): Embedder {
  const embedder = createEmbedder({ threads: 1, ...options });
  onTestFinished(() => embedder.close());
  return embedder;
}

/** A thread file without the model. Its vectors hold the number of the turn, so that tests can see the order. */
async function aThread(name: string, body: string): Promise<URL> {
  const path = join(folder, `${name}.mjs`);
  await writeFile(
    path,
    `let turn = 0;
    const embedded = (texts) => { turn += 1; return { kind: "embedded", vectors: texts.map(() => Float32Array.of(turn)) }; };
    ${body}`,
  );
  return pathToFileURL(path);
}

describe("with the model", { timeout: 30_000 }, () => {
  // One embedder for all: each of its two threads takes the model up to a second to load.
  const embedder = createEmbedder({ threads: 1, niceness: 1 });
  afterAll(() => embedder.close());

  test("texts are embedded in order, across slices, indexing and urgent alike", async () => {
    const texts = Array.from({ length: 20 }, (_, i) => (i % 7 === 0 ? "A red dragon." : `Room ${i}.`));

    const [vectors, [dragon]] = await Promise.all([
      embedder.embed(texts),
      embedder.embed(["A red dragon."], { urgent: true }),
    ]);

    expect(vectors).toHaveLength(20);
    expect(vectors.every((vector) => vector.length === embeddingModel.dimensions)).toBe(true);
    const isDragon = vectors.map((vector) => cosine(vector, dragon) > 0.999);
    expect(isDragon).toEqual(texts.map((text) => text === "A red dragon."));
  });

  test.runIf(process.platform === "linux")("only the indexing thread runs at a lower priority", async () => {
    await Promise.all([embedder.preload(), embedder.embed(["one"])]);

    expect(await niceThreads()).toBe(1);
  });
});

describe("turns", () => {
  test("an urgent text does not wait for indexing", async () => {
    const threadFile = await aThread(
      "stuck",
      `export const embed = (texts) => texts[0] === "stuck" ? new Promise(() => setInterval(() => {}, 1e6)) : embedded(texts);`,
    );
    const embedder = anEmbedder({ threadFile });
    const indexing = embedder.embed(["stuck"]);
    indexing.catch(() => {});

    expect(await embedder.embed(["query"], { urgent: true })).toHaveLength(1);
  });

  test("a small call is served in between the slices of a large one", async () => {
    const threadFile = await aThread("turns", `export const embed = embedded;`);
    const embedder = anEmbedder({ threadFile });

    const [large, small] = await Promise.all([embedder.embed(new Array<string>(80).fill("x")), embedder.embed(["y"])]);

    expect(large[79]?.[0]).toBe(11);
    expect(small[0]?.[0]).toBe(2);
  });

  test("no texts need no thread", async () => {
    const embedder = anEmbedder({ threadFile: new URL("file:///nowhere.mjs") });

    expect(await embedder.embed([])).toEqual([]);
  });
});

describe("abort", () => {
  test("a waiting call rejects with the reason and never runs", async () => {
    const threadFile = await aThread("counting", `export const embed = embedded;`);
    const embedder = anEmbedder({ threadFile });
    const controller = new AbortController();
    const reason = new Error("the job was cancelled");

    const first = embedder.embed(["a"]);
    const waiting = embedder.embed(["b"], { signal: controller.signal });
    controller.abort(reason);

    await expect(waiting).rejects.toBe(reason);
    await first;
    const [third] = await embedder.embed(["c"]);
    expect(third?.[0]).toBe(2);
  });

  test("a running call rejects at once, and its thread lives on", async () => {
    const threadFile = await aThread("alive", `export const embed = embedded;`);
    const embedder = anEmbedder({ threadFile });
    await embedder.embed(["a"]);
    const controller = new AbortController();

    const running = embedder.embed(["b"], { signal: controller.signal });
    await Promise.resolve();
    controller.abort(new Error("cancelled"));

    await expect(running).rejects.toThrow("cancelled");
    const [next] = await embedder.embed(["c"]);
    expect(next?.[0]).toBe(3);
  });

  test("an aborted signal is refused before anything starts", async () => {
    const embedder = anEmbedder({ threadFile: new URL("file:///nowhere.mjs") });

    await expect(embedder.embed(["a"], { signal: AbortSignal.abort(new Error("late")) })).rejects.toThrow("late");
  });
});

describe("failures", () => {
  test.each([
    ["exits", `process.exit(7)`, /exited with code: 7/],
    [
      "throws in the background",
      `setImmediate(() => { throw new Error("out of memory") }); return new Promise(() => {})`,
      /out of memory/,
    ],
  ])("a thread that %s rejects its call only, and the next call gets a new thread", async (name, crash, message) => {
    const threadFile = await aThread(
      name,
      `export function embed(texts) { if (texts[0] === "crash") { ${crash}; } return embedded(texts); }`,
    );
    const embedder = anEmbedder({ threadFile });

    const crashing = embedder.embed(["crash"]);
    const waiting = embedder.embed(["fine"]);

    await expect(crashing).rejects.toMatchObject({
      code: "THREAD_FAILED",
      message: expect.stringMatching(message) as string,
    });
    expect(await waiting).toHaveLength(1);
    expect(await embedder.embed(["again"])).toHaveLength(1);
  });

  test("a thread that cannot start rejects, and is tried again", async () => {
    const threadFile = new URL("late.mjs", pathToFileURL(`${folder}/`));
    const embedder = anEmbedder({ threadFile });

    await expect(embedder.embed(["a"])).rejects.toMatchObject({ code: "THREAD_FAILED" });
    await aThread("late", `export const embed = embedded;`);

    expect(await embedder.embed(["a"])).toHaveLength(1);
  });

  test("an unusable model is told apart from a crash", async () => {
    const threadFile = await aThread(
      "unusable",
      `export const embed = () => ({ kind: "modelUnusable", message: "run npm ci" });`,
    );
    const embedder = anEmbedder({ threadFile });

    await expect(embedder.embed(["a"])).rejects.toMatchObject({ code: "MODEL_UNUSABLE", message: "run npm ci" });
  });
});

test("close rejects running, waiting and later calls, and may be repeated", async () => {
  const threadFile = await aThread(
    "never",
    `export const embed = () => new Promise(() => setInterval(() => {}, 1e6));`,
  );
  const embedder = anEmbedder({ threadFile });
  const calls = [embedder.embed(["running"]), embedder.embed(["waiting"])];
  const outcomes = Promise.allSettled(calls);

  await embedder.close();
  await embedder.close();

  const closed = { status: "rejected", reason: { code: "EMBEDDER_CLOSED" } };
  expect(await outcomes).toMatchObject([closed, closed]);
  await expect(embedder.embed(["later"])).rejects.toMatchObject({ code: "EMBEDDER_CLOSED" });
});

function cosine(a: Float32Array, b: Float32Array | undefined): number {
  return a.reduce((sum, value, i) => sum + value * (b?.[i] ?? NaN), 0);
}

/** How many threads of this process have niceness 1; field 19 of a thread's stat file. */
async function niceThreads(): Promise<number> {
  const threads = await readdir("/proc/self/task");
  const stats = await Promise.all(threads.map((id) => readFile(`/proc/self/task/${id}/stat`, "utf8").catch(() => "")));
  return stats.filter((stat) => stat.split(") ").at(-1)?.split(" ")[16] === "1").length;
}
