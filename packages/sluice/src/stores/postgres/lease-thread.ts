/**
 * The thread that renews leases: a connection of its own, opened again when it breaks, and a timer for each worker. It stops
 * renewing for a worker whose event loop has been stuck for too long: that one is gone in all but name.
 */
import { parentPort, workerData } from "node:worker_threads";
import type pg from "pg";
import type { BeatAnswer, WorkerBeat } from "../../store.js";
import { clientConfig, connect, leave } from "./database.js";
import { Dialect } from "./sql.js";
import { describeUrl, toStoreError } from "./trouble.js";
import { heartbeat } from "./workers.js";

export interface LeaseThreadStart {
  readonly url: string;
  readonly schema: string;
}

export type ToLeaseThread =
  | {
      readonly kind: "keep";
      readonly n: number;
      readonly beat: WorkerBeat;
      readonly everyMs: number;
      readonly stuckAfterMs: number;
      /** One Int32 that the calling thread counts up while its event loop turns. */
      readonly pulse: SharedArrayBuffer;
    }
  | { readonly kind: "drop"; readonly n: number };

export interface FromLeaseThread {
  readonly n: number;
  readonly answer: BeatAnswer | { readonly error: string };
}

class LeaseThread {
  readonly #url: string;
  readonly #dialect: Dialect;
  readonly #timers = new Map<number, NodeJS.Timeout>();
  #client: Promise<pg.Client> | null = null;

  constructor({ url, schema }: LeaseThreadStart) {
    this.#url = url;
    this.#dialect = new Dialect({ schema, clock: null });
  }

  receive(message: ToLeaseThread): void {
    clearInterval(this.#timers.get(message.n));
    this.#timers.delete(message.n);
    if (message.kind === "keep") this.#keep(message);
  }

  #keep({ n, beat, everyMs, stuckAfterMs, pulse }: ToLeaseThread & { readonly kind: "keep" }): void {
    const counter = new Int32Array(pulse);
    let lastCount = Atomics.load(counter, 0);
    let movedAt = performance.now();
    let isRenewing = false;
    const renew = async () => {
      const count = Atomics.load(counter, 0);
      if (count !== lastCount) movedAt = performance.now();
      lastCount = count;
      if (isRenewing || performance.now() - movedAt > stuckAfterMs) return;
      isRenewing = true;
      const answer = await this.#renew(beat, everyMs);
      isRenewing = false;
      if (this.#timers.has(n)) parentPort?.postMessage({ n, answer } satisfies FromLeaseThread);
    };
    this.#timers.set(
      n,
      setInterval(() => void renew(), everyMs),
    );
  }

  async #renew(beat: WorkerBeat, limitMs: number): Promise<FromLeaseThread["answer"]> {
    const connecting = (this.#client ??= this.#connect(limitMs));
    try {
      const client = await connecting;
      return await heartbeat(this.#dialect.on(client), beat);
    } catch (error) {
      // The next renewal opens another one.
      if (this.#client === connecting) this.#client = null;
      void connecting.then(leave).catch(() => undefined);
      return { error: String((toStoreError(error, describeUrl(this.#url)) as Error).message) };
    }
  }

  async #connect(limitMs: number): Promise<pg.Client> {
    const timeout = Math.max(1_000, limitMs);
    return connect({ ...clientConfig(this.#url, "lease"), connectionTimeoutMillis: timeout, query_timeout: timeout });
  }
}

if (parentPort !== null) {
  const thread = new LeaseThread(workerData as LeaseThreadStart);
  parentPort.on("message", (message: ToLeaseThread) => thread.receive(message));
}
