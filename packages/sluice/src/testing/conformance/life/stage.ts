/**
 * What a life case works with: a store, a queue, workers, and ways to wait without sleeping. `soon` waits for what needs
 * no time, `pass` and `reach` let it pass in small steps. A leap of the clock longer than a lease is what a suspended
 * machine sees: whoever wakes first may declare its own worker lost. Cases leap only where they mean that.
 */
import assert from "node:assert/strict";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { fixed } from "../../../backoff.js";
import { defineJob, type DefinitionOptions, type EnqueueOptions, type JobDefinition } from "../../../definition.js";
import { Events, type EventMap, type EventName } from "../../../events.js";
import type { Job, JobId } from "../../../job.js";
import type { Processor } from "../../../processor.js";
import { allTakenIn, Queue, type Enqueued } from "../../../queue.js";
import type { Store } from "../../../store.js";
import { Worker, type WorkerOptions } from "../../../worker.js";
import { aClaim, aJobId, retryOf } from "../../builders.js";
import { ManualClock } from "../../manual-clock.js";
import type { ApplicationTable, OpenedStore } from "../scene.js";

/** Registers one case: a behaviour in present tense, and the body that shows it on a stage of its own. */
export type LifeCase = (behaviour: string, body: (stage: Stage) => Promise<void>) => void;

export const leaseMs = 3_000;
export const retryMs = 1_000;
const hourMs = 3_600_000;

/** Well below every interval of a worker, so that no timer of one overtakes an answer that another waits for. */
const stepMs = 100;
/** Real time: what has not happened by then never will. */
const patienceMs = 10_000;

type WorkOptions = Partial<Omit<WorkerOptions<unknown>, "processors">>;

export class Stage {
  readonly clock: ManualClock;
  readonly store: Store<unknown>;
  /** Of the queue, and of every worker that was not given its own. */
  readonly events = new Events();
  readonly queue: Queue<unknown>;
  readonly #application: ApplicationTable | undefined;
  readonly #workers: Worker<unknown>[] = [];
  readonly #clocks: ManualClock[];
  readonly #trace: string[] = [];

  constructor({ store, application }: OpenedStore, clock: ManualClock) {
    this.store = store;
    this.clock = clock;
    this.queue = new Queue({ store, clock, events: this.events });
    this.#application = application;
    this.#clocks = [clock];
    this.#record(this.events);
  }

  /** Adds jobs of a type that takes in all of them. */
  async enqueueMany<Input, Payload, Result>(
    ...added: [JobDefinition<Input, Payload, Result>, readonly Input[], EnqueueOptions?]
  ): Promise<readonly Enqueued<Input, Result>[]> {
    return allTakenIn(await this.queue.enqueueMany(...added));
  }

  get application(): ApplicationTable {
    assert.ok(this.#application, "A store with transactions needs `application` from `open`.");
    return this.#application;
  }

  // ── workers ───────────────────────────────────────────────────────────────

  /** A started worker. */
  async work(processors: readonly Processor[], options: WorkOptions = {}): Promise<Worker<unknown>> {
    const worker = this.hire(processors, options);
    await this.soon(worker.start(), "a worker to start");
    return worker;
  }

  /** A worker that was not started. */
  hire(processors: readonly Processor[], options: WorkOptions = {}): Worker<unknown> {
    const { store, clock, events } = this;
    const worker = new Worker({ store, clock, events, leaseMs, random: () => 0.5, ...options, processors });
    if (worker.events !== this.events) this.#record(worker.events);
    this.#workers.push(worker);
    return worker;
  }

  /**
   * A worker for which time stands still, as under SIGSTOP: it runs what it has claimed, and neither renews its lease nor
   * notices that it ran out, until `thaw` moves its clock to the present.
   */
  async freeze(
    processors: readonly Processor[],
    methods: Parameters<typeof changed>[1] = {},
  ): Promise<{ worker: Worker<unknown>; events: Events; clock: ManualClock; thaw: () => void }> {
    const clock = new ManualClock(this.clock.now());
    const events = new Events();
    this.#clocks.push(clock);
    const store = changed(this.store, { keepLease: undefined, ...methods });
    const worker = await this.work(processors, { store, clock, events });
    return { worker, events, clock, thaw: () => clock.advance(leaseMs) };
  }

  /** A second queue, for a store that misbehaves. */
  queueOn(store: Store<unknown>): Queue<unknown> {
    return new Queue({ store, clock: this.clock, events: this.events });
  }

  // ── waiting ───────────────────────────────────────────────────────────────

  /** The next event of this name that is wanted. Subscribes at once. */
  next<Name extends EventName>(
    name: Name,
    {
      where = () => true,
      from = this.events,
    }: { where?: (event: EventMap[Name]) => boolean; from?: Pick<Events, "on"> } = {},
  ): Promise<EventMap[Name]> {
    return new Promise((resolve) => {
      const unsubscribe = from.on(name, (event) => {
        if (!where(event)) return;
        unsubscribe();
        resolve(event);
      });
    });
  }

  /** Waits for what needs no time to pass. */
  async soon<T>(promise: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(this.#waitedInVain(what)), patienceMs);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Lets time pass until the promise settles. Clocks of frozen workers move only when asked. */
  async reach<T>(promise: Promise<T>, what: string, clocks: readonly ManualClock[] = [this.clock]): Promise<T> {
    let isOver = false;
    const ending = this.soon(promise, what).finally(() => (isOver = true));
    ending.catch(() => {});
    for (;;) {
      await this.turn();
      if (isOver) return ending;
      for (const clock of clocks) clock.advance(stepMs);
    }
  }

  /** Lets time pass, step by step, with room for what each step sets in motion. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(left, stepMs));
      await this.turn();
    }
  }

  /**
   * Lets happen what needs no time. A settlement under a hold that nobody has changes nothing, but stands in line behind
   * what the store was asked before: when it is answered, that is done.
   */
  async turn(): Promise<void> {
    for (let round = 0; round < 3; round++) {
      await this.store.settle([{ hold: { id: aJobId(), epoch: 1 }, kind: "release" }]);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Waits until the job has ended. */
  async ended<Result = unknown>(job: JobId | { readonly id: JobId }) {
    return this.reach(this.queue.waitFor<Result>(job, { timeoutMs: hourMs }), "a job to end");
  }

  /** Waits until the job has completed. */
  async completed<Result = unknown>(job: JobId | { readonly id: JobId }) {
    const ended = await this.ended<Result>(job);
    assert.equal(ended.state, "completed", JSON.stringify(ended));
    return ended;
  }

  /** Waits until every job has completed. */
  async allCompleted(): Promise<void> {
    for (let waits = 0; ; waits++) {
      const { jobs } = await this.queue.list({ limit: 200 });
      const others = jobs.filter(({ state }) => state !== "completed");
      if (others.length === 0) return;
      assert.ok(waits < 500, `still ${others.map(({ state }) => state).join(", ")}`);
      await this.pass(2 * stepMs);
    }
  }

  /** Waits until the job has failed. */
  async failed(job: JobId | { readonly id: JobId }) {
    const ended = await this.ended(job);
    assert.equal(ended.state, "failed", JSON.stringify(ended));
    return ended;
  }

  async job(id: JobId): Promise<Job> {
    const job = await this.queue.get(id);
    assert.ok(job, `No job ${id}.`);
    return job;
  }

  // ── the end ───────────────────────────────────────────────────────────────

  /** Stops every worker; handlers that ignore their signal are abandoned on the way. */
  async clear(): Promise<void> {
    const stopping = Promise.all(this.#workers.splice(0).map((worker) => worker.stop({ graceMs: 0 })));
    await this.reach(stopping, "every worker to stop", this.#clocks);
    await this.queue.close();
  }

  #record(events: Events): void {
    const names: Record<EventName, true> = {
      "job.enqueued": true,
      "queue.troubled": true,
      "job.started": true,
      "job.progressed": true,
      "job.logged": true,
      "job.completed": true,
      "job.retried": true,
      "job.failed": true,
      "job.snoozed": true,
      "job.cancelled": true,
      "job.released": true,
      "job.leaseLost": true,
      "job.abandoned": true,
      "worker.started": true,
      "worker.stopped": true,
      "worker.leaseLost": true,
      "worker.rescued": true,
      "worker.troubled": true,
    };
    for (const name of Object.keys(names) as EventName[]) {
      events.on(name, (event) => this.#trace.push("error" in event ? `${name} (${String(event.error)})` : name));
    }
  }

  #waitedInVain(what: string): Error {
    return new Error(`Waited ${patienceMs} ms for ${what}. Events so far: ${this.#trace.slice(-50).join(", ")}`);
  }
}

// ── what cases are made of ──────────────────────────────────────────────────

export interface Task {
  readonly n: number;
}

/** A type of job with a small payload; three attempts, a second apart. */
export function aType<Result = unknown>(
  overrides: Partial<Omit<DefinitionOptions<StandardSchemaV1<Task, Task>>, "payload" | "result">> = {},
): JobDefinition<Task, Task, Result> {
  return defineJob({
    type: "example",
    payload: taskSchema,
    result: anything<Result>(),
    retry: fixed({ attempts: 3, delayMs: retryMs }),
    ...overrides,
  });
}

/** Written here, so that the suite brings no schema library along. */
const taskSchema: StandardSchemaV1<Task, Task> = {
  "~standard": {
    version: 1,
    vendor: "sluice-conformance",
    validate: (value) =>
      typeof (value as Task | null)?.n === "number"
        ? { value: value as Task }
        : { issues: [{ message: "expected a number", path: ["n"] }] },
  },
};

function anything<T>(): StandardSchemaV1<T, T> {
  return {
    "~standard": { version: 1, vendor: "sluice-conformance", validate: (value) => ({ value: value as T }) },
  };
}

/** Charges crashes to the next jobs in line, as a lost worker does whose jobs need no backoff. */
export async function crash(stage: Stage, { times, jobs: limit }: { times: number; jobs: number }): Promise<void> {
  for (let count = 0; count < times; count++) {
    const { jobs } = await stage.store.claim(aClaim({ workerId: "doomed", limit }));
    assert.equal(jobs.length, limit);
    await stage.store.settle(jobs.map((job) => retryOf(job, { delayMs: 0, hasCrashed: true })));
  }
}

/** A door that handlers wait at until the case opens it. */
export class Gate {
  readonly opened: Promise<void>;
  #open = () => {};

  constructor() {
    this.opened = new Promise((resolve) => (this.#open = resolve));
  }

  open(): void {
    this.#open();
  }
}

/** Resolves when the signal fires, with its reason. */
export function fired(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve((signal.reason as { reason: unknown }).reason);
    signal.addEventListener("abort", () => resolve((signal.reason as { reason: unknown }).reason), { once: true });
  });
}

/** The store with some of its methods replaced, or taken away. */
export function changed(store: Store<unknown>, methods: { [Name in keyof Store<unknown>]?: unknown }): Store<unknown> {
  return new Proxy(store, {
    get(target, name) {
      if (name in methods) return methods[name as keyof typeof methods];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
