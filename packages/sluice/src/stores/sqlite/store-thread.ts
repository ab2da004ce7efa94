/**
 * The store thread as the calling thread sees it: a function call that answers with a promise. Hides messages, errors on their way
 * through them, and the death of the thread.
 */
import { Worker } from "node:worker_threads";
import { JobsError } from "../../errors.js";
import type { KeepLeaseOrder, WakeHint } from "../../store.js";
import type { Operations } from "./operations.js";
import { unpackError } from "./protocol.js";
import type { Answer, FromThread, ThreadStart, ToThread } from "./protocol.js";

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class StoreThread {
  readonly #worker: Worker;
  readonly #path: string;
  readonly #onHint: (hint: WakeHint) => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onBeat = new Map<number, KeepLeaseOrder["onBeat"]>();
  #lastNumber = 0;
  #death: JobsError | null = null;
  #onClosed: () => void = () => undefined;

  private constructor(start: ThreadStart, onHint: (hint: WakeHint) => void) {
    this.#path = start.path;
    this.#onHint = onHint;
    this.#worker = new Worker(new URL("./thread.js", import.meta.url), { workerData: start, name: "sluice-sqlite" });
  }

  /** @throws {JobsError} whatever keeps the thread from opening the database */
  static async start(start: ThreadStart, onHint: (hint: WakeHint) => void): Promise<StoreThread> {
    const thread = new StoreThread(start, onHint);
    await thread.#untilReady();
    return thread;
  }

  call<Name extends keyof Operations>(
    operation: Name,
    argument: unknown,
  ): Promise<Awaited<ReturnType<Operations[Name]>>> {
    if (this.#death !== null) return Promise.reject(this.#death);
    this.#lastNumber += 1;
    const n = this.#lastNumber;
    return new Promise((resolve, reject) => {
      this.#send({ kind: "call", n, operation, argument });
      this.#waiting.set(n, { resolve: resolve as (value: unknown) => void, reject });
      // The process lives as long as somebody waits for an answer, and not because a store is open.
      if (this.#waiting.size === 1) this.#worker.ref();
    });
  }

  watch(isWatching: boolean): void {
    this.#send({ kind: "watch", isWatching });
  }

  keepLease({ beat, everyMs, stuckAfterMs, onBeat }: KeepLeaseOrder): () => void {
    this.#lastNumber += 1;
    const n = this.#lastNumber;
    const pulse = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const counter = new Int32Array(pulse);
    const beating = setInterval(() => Atomics.add(counter, 0, 1), Math.max(1, Math.min(everyMs, stuckAfterMs) / 4));
    beating.unref();
    this.#onBeat.set(n, onBeat);
    this.#send({ kind: "keepLease", n, beat, everyMs, stuckAfterMs, pulse });
    return () => {
      clearInterval(beating);
      this.#onBeat.delete(n);
      this.#send({ kind: "dropLease", n });
    };
  }

  /** Waits for the calls under way. */
  async close(): Promise<void> {
    if (this.#death !== null) return;
    this.#worker.ref();
    await new Promise<void>((resolve) => {
      this.#onClosed = resolve;
      this.#send({ kind: "close" });
    });
  }

  #send(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  async #untilReady(): Promise<void> {
    const first = await new Promise<FromThread>((resolve, reject) => {
      this.#worker.once("message", resolve);
      this.#worker.once("error", reject);
    });
    if (first.kind === "failed") {
      await this.#worker.terminate();
      throw unpackError(first.error);
    }
    this.#worker.removeAllListeners("error");
    this.#worker.on("message", (message: FromThread) => this.#receive(message));
    this.#worker.on("error", (error) => this.#die(error));
    this.#worker.on("exit", () => this.#die());
    this.#worker.unref();
  }

  #receive(message: FromThread): void {
    switch (message.kind) {
      case "answers":
        message.answers.forEach((answer) => this.#settle(answer));
        if (this.#waiting.size === 0) this.#worker.unref();
        if (message.hint.work || message.hint.ended) this.#onHint(message.hint);
        return;
      case "beat": {
        const { answer } = message;
        this.#onBeat.get(message.n)?.("error" in answer ? unpackError(answer.error) : answer);
        return;
      }
      case "wake":
        return this.#onHint({ work: true, ended: true });
      case "closed":
        // The end of the thread, which comes next, is no news to anybody.
        this.#onBeat.clear();
        return;
      case "ready":
      case "failed":
        return;
    }
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.n);
    this.#waiting.delete(answer.n);
    if ("error" in answer) waiting?.reject(unpackError(answer.error));
    else waiting?.resolve(answer.value);
  }

  /** Whether the last calls were committed is unknown; that is what STORE_UNAVAILABLE says. */
  #die(cause?: unknown): void {
    this.#death ??= new JobsError(
      "STORE_UNAVAILABLE",
      `The thread that writes to ${this.#path} has ended. Open the store again; nothing that was acknowledged is lost.`,
      { path: this.#path, ...(cause === undefined ? {} : { cause }) },
    );
    const death = this.#death;
    for (const { reject } of this.#waiting.values()) reject(death);
    this.#waiting.clear();
    for (const onBeat of this.#onBeat.values()) onBeat(death);
    this.#onBeat.clear();
    this.#onClosed();
  }
}
