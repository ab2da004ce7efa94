/** Whether the process lives, whether it would do what it is asked, and its numbers. */
import { isAlive, type Queue } from "sluice";
import { operations } from "../contract/index.js";
import type { Deps } from "../deps.js";
import { Problem } from "../problem.js";
import type { Mount } from "../route.js";

export interface Check {
  readonly isGood: boolean;
  /** For an operator. Never an address, a path, or the words of a driver. */
  readonly detail: string;
}

const checkMs = 2_000;

/** What a request needs to be done: asked of the store itself, within two seconds. */
export class Readiness {
  readonly #queue: Queue<unknown>;
  readonly #workerId: () => string | null;
  readonly #now: () => number;
  #checking: Promise<Readonly<Record<string, Check>>> | null = null;

  /** @param workerId Of the worker that this process runs; null: it runs none. */
  constructor(
    queue: Queue<unknown>,
    { workerId, now }: { readonly workerId: () => string | null; readonly now: () => number },
  ) {
    this.#queue = queue;
    this.#workerId = workerId;
    this.#now = now;
  }

  /** Anybody may ask, as often as they like: the store is asked once at a time. */
  checks(): Promise<Readonly<Record<string, Check>>> {
    this.#checking ??= this.#check().finally(() => (this.#checking = null));
    return this.#checking;
  }

  async #check(): Promise<Readonly<Record<string, Check>>> {
    const began = performance.now();
    try {
      // Reads a table of the schema: a store whose schema is not there, or not up to date, does not answer this.
      const workers = await within(checkMs, this.#queue.workers());
      const tookMs = Math.round(performance.now() - began);
      const store = { isGood: true, detail: `answered in ${tookMs} ms` };
      const id = this.#workerId();
      if (id === null) return { store };
      const worker = workers.find(({ workerId }) => workerId === id);
      const isGood = worker !== undefined && isAlive(worker, this.#now());
      return { store, worker: { isGood, detail: isGood ? "holds its lease" : "does not hold its lease" } };
    } catch {
      return { store: { isGood: false, detail: "did not answer" } };
    }
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("The store took too long.")), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}

export function healthRoutes(mount: Mount, { gate, readiness, metrics }: Deps): void {
  mount(operations.livez, async () => ({ status: 200, body: { status: "ok" } }));

  mount(operations.readyz, async () => {
    const checks = gate.isClosing
      ? { service: { isGood: false, detail: "is stopping" } }
      : { service: { isGood: true, detail: "takes requests" }, ...(await readiness.checks()) };
    const isReady = Object.values(checks).every(({ isGood }) => isGood);
    return {
      status: isReady ? 200 : 503,
      body: { status: isReady ? "ready" : "not_ready", checks },
      ...(!isReady && { headers: { "retry-after": "1" } }),
    };
  });

  mount(operations.metrics, async ({ principal, reply }) => {
    if (principal.types !== null) {
      throw new Problem("forbidden", "The metrics are of all types; this key is for some.");
    }
    void reply.header("cache-control", "no-store");
    const { type, text } = await metrics.text();
    void reply.type(type).send(text);
    return null;
  });
}
