/**
 * Embeds texts off the main thread. Hides the thread pools, their priority and their crashes.
 * Two lanes: indexing, on threads of lower priority, and urgent, on one thread of its own, so that a person's
 * query never waits behind an import. What a text is and where a vector goes is the caller's matter.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import { EmbeddingError } from "./errors.js";
import type { ThreadAnswer, ThreadSettings } from "./thread.js";

export interface EmbedderOptions {
  /** Indexing threads. Default: one for each processor: at low priority they take what nobody else wants. Each holds its own model, 250 MB. */
  threads?: number;
  /** How much lower indexing threads run than the process, 0 to 19. Default 10. Has an effect on Linux only. */
  niceness?: number;
  /** The worker file. For tests. */
  threadFile?: URL;
}

export interface EmbedOptions {
  /** Rejects with its reason. Texts not yet begun are dropped; a running slice (8 texts) ends and is thrown away. */
  signal?: AbortSignal;
  /** True for a query somebody waits for. Default false. */
  urgent?: boolean;
}

export interface Embedder {
  /**
   * One unit-length vector per text, same order. Calls share the threads in turns of 8 texts, so a large call
   * does not hold up a small one.
   * @throws {EmbeddingError} MODEL_UNUSABLE · THREAD_FAILED, safe to retry · EMBEDDER_CLOSED
   */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  /** Starts the urgent thread and its model, so that the first query does not wait for it. Optional. */
  preload(): Promise<void>;
  /** Stops the threads; calls under way reject with EMBEDDER_CLOSED. May be called twice. */
  close(): Promise<void>;
}

/** Creates an embedder. Starts no thread before the first call; indexing threads stop after a minute without work. */
export function createEmbedder(options: EmbedderOptions = {}): Embedder {
  const { threads = availableParallelism(), niceness = 10, threadFile = defaultThreadFile } = options;
  const indexing = new Lane({ threads, niceness, isKept: false, threadFile });
  const urgent = new Lane({ threads: 1, niceness: 0, isKept: true, threadFile });

  return {
    embed: (texts, { signal, urgent: isUrgent = false } = {}) =>
      embedInSlices({ lane: isUrgent ? urgent : indexing, texts, signal }),
    async preload() {
      await urgent.run(["warm up"], undefined);
    },
    async close() {
      await Promise.all([indexing.close(), urgent.close()]);
    },
  };
}

const defaultThreadFile = new URL("./thread.js", import.meta.url);
const sliceSize = 8; // 0.6 s at 80 ms a text: how long an abort or another caller may have to wait
const idleTimeoutMs = 60_000;

async function embedInSlices(request: {
  lane: Lane;
  texts: readonly string[];
  signal: AbortSignal | undefined;
}): Promise<Float32Array[]> {
  const { lane, texts, signal } = request;
  signal?.throwIfAborted();

  // A slice is padded to its longest text, so texts of like length go together.
  const order = texts.map((_text, position) => position).sort((a, b) => texts[a]!.length - texts[b]!.length);
  const slices: (readonly number[])[] = [];
  for (let start = 0; start < order.length; start += sliceSize) slices.push(order.slice(start, start + sliceSize));

  // At most as many slices in the lane as it has threads: a call of 4,000 texts takes its turn like any other.
  const vectors = new Array<Float32Array>(texts.length);
  const remaining = slices.values();
  let hasFailed = false;
  const takeTurns = async () => {
    for (const slice of remaining) {
      if (hasFailed) return;
      try {
        const answer = await lane.run(
          slice.map((position) => texts[position]!),
          signal,
        );
        for (const [row, position] of slice.entries()) vectors[position] = answer[row]!;
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(lane.threads, slices.length) }, takeTurns));
  return vectors;
}

interface LaneOptions {
  threads: number;
  niceness: number;
  /** Whether the threads stay when there is nothing to do. */
  isKept: boolean;
  threadFile: URL;
}

interface Waiter {
  start(): void;
  refuse(error: EmbeddingError): void;
}

/**
 * A thread pool that is given a slice only when a thread is free. Piscina has a queue, but aborting a task there
 * kills the thread that runs it, and the next one would have to load the model again.
 */
class Lane {
  readonly threads: number;
  readonly #options: LaneOptions;
  readonly #waiters = new Set<Waiter>();
  #pool: Piscina<readonly string[], ThreadAnswer> | undefined;
  #running = 0;
  #isClosed = false;

  constructor(options: LaneOptions) {
    this.threads = options.threads;
    this.#options = options;
  }

  async run(texts: readonly string[], signal: AbortSignal | undefined): Promise<Float32Array[]> {
    await this.#turn(signal);
    const answer = this.#embed(texts).finally(() => this.#endTurn());
    return untilAborted(answer, signal);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const waiter of this.#waiters) waiter.refuse(closed());
    this.#waiters.clear();
    await this.#pool?.destroy();
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#isClosed) throw closed();
    if (this.#running < this.threads) {
      this.#running += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const forget = () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", onAbort);
      };
      const onAbort = () => {
        forget();
        reject(signal?.reason as Error);
      };
      const waiter: Waiter = {
        start: () => {
          forget();
          resolve();
        },
        refuse: (error) => {
          forget();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Hands the turn to the longest waiting, if any; the number of running slices then stays the same. */
  #endTurn(): void {
    const [next] = this.#waiters;
    if (next) next.start();
    else this.#running -= 1;
  }

  async #embed(texts: readonly string[]): Promise<Float32Array[]> {
    if (this.#isClosed) throw closed();
    let answer: ThreadAnswer;
    try {
      answer = await this.#startedPool().run(texts);
    } catch (cause) {
      if (this.#isClosed) throw closed();
      const message = `An embedding thread stopped (${String(cause)}). Its texts have no vectors; embed them again.`;
      throw new EmbeddingError("THREAD_FAILED", message, { cause });
    }
    switch (answer.kind) {
      case "embedded":
        return answer.vectors;
      case "modelUnusable":
        throw new EmbeddingError("MODEL_UNUSABLE", answer.message);
    }
  }

  #startedPool(): Piscina<readonly string[], ThreadAnswer> {
    if (this.#pool) return this.#pool;
    const { threads, niceness, isKept, threadFile } = this.#options;
    const settings: ThreadSettings = { niceness };
    const pool = new Piscina<readonly string[], ThreadAnswer>({
      filename: fileURLToPath(threadFile),
      name: "embed",
      minThreads: isKept ? threads : 0,
      maxThreads: threads,
      idleTimeout: idleTimeoutMs,
      workerData: settings,
    });
    // A thread that dies without a task, or before it is ready, is reported here and leaves tasks hanging.
    // A new pool is the sure way out: destroy() rejects what is under way, the next slice starts afresh.
    pool.on("error", () => {
      if (this.#pool === pool) this.#pool = undefined;
      void pool.destroy();
    });
    this.#pool = pool;
    return pool;
  }
}

function closed(): EmbeddingError {
  return new EmbeddingError("EMBEDDER_CLOSED", "The embedder is closed. Create another one to go on.");
}

async function untilAborted<T>(answer: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return answer;
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    if (onAbort) signal.removeEventListener("abort", onAbort);
  }
}
