/**
 * Renews leases from a thread with a connection of its own, so that a handler that blocks the event loop does not lose its jobs.
 * This is the calling thread's side; the other is lease-thread.ts.
 */
import { Worker } from "node:worker_threads";
import { JobsError } from "../../errors.js";
import type { BeatAnswer, KeepLeaseOrder } from "../../store.js";
import type { FromLeaseThread, LeaseThreadStart, ToLeaseThread } from "./lease-thread.js";

export class LeaseKeeper {
  readonly #start: LeaseThreadStart;
  readonly #orders = new Map<number, KeepLeaseOrder>();
  #thread: Worker | null = null;
  #lastNumber = 0;

  constructor(start: LeaseThreadStart) {
    this.#start = start;
  }

  keep(order: KeepLeaseOrder): () => void {
    this.#lastNumber += 1;
    const n = this.#lastNumber;
    const { beat, everyMs, stuckAfterMs } = order;
    const pulse = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const counter = new Int32Array(pulse);
    const beating = setInterval(() => Atomics.add(counter, 0, 1), Math.max(1, Math.min(everyMs, stuckAfterMs) / 4));
    beating.unref();
    this.#orders.set(n, order);
    this.#send({ kind: "keep", n, beat, everyMs, stuckAfterMs, pulse });
    return () => {
      clearInterval(beating);
      this.#orders.delete(n);
      this.#send({ kind: "drop", n });
    };
  }

  async close(): Promise<void> {
    this.#orders.clear();
    const thread = this.#thread;
    this.#thread = null;
    await thread?.terminate();
  }

  #send(message: ToLeaseThread): void {
    this.#thread ??= this.#open();
    this.#thread.postMessage(message);
  }

  #open(): Worker {
    const thread = new Worker(new URL("./lease-thread.js", import.meta.url), {
      workerData: this.#start,
      name: "sluice-lease",
    });
    thread.on("message", ({ n, answer }: FromLeaseThread) => {
      this.#orders.get(n)?.onBeat("error" in answer ? troubleOf(answer.error) : answer);
    });
    thread.on("error", (cause) => {
      // Leases are renewed from the calling thread when nothing is heard from here; see lease.ts.
      if (this.#thread === thread) this.#thread = null;
      for (const { onBeat } of this.#orders.values()) onBeat(troubleOf(String(cause)));
    });
    thread.unref();
    return thread;
  }
}

function troubleOf(message: string): JobsError {
  return new JobsError("STORE_UNAVAILABLE", message);
}

export type { BeatAnswer };
