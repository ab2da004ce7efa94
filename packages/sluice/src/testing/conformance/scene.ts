/**
 * What a conformance case works with: a fresh store, its clock, a worker, and short ways to bring a job where the case begins.
 * Knows no test framework; index.ts registers the cases.
 */
import assert from "node:assert/strict";
import type { JobId, JobRecord, JobState } from "../../job.js";
import type { ClaimedJob, EnqueueResult, NewJob, Settlement, SettleResult, Store, WakeHint } from "../../store.js";
import {
  aBeat,
  aClaim,
  aCommand,
  aNewJob,
  aUniqueClaim,
  cancelOf,
  completeOf,
  defaultType,
  defaultWorkerId,
  failOf,
  retryOf,
} from "../builders.js";
import type { ManualClock } from "../manual-clock.js";

/** Registers one case: a behaviour in present tense, and the body that shows it on a store of its own. */
export type TestCase = (behaviour: string, body: (scene: Scene) => Promise<void>) => void;

/** A table of the application's own, in the database of the store, so that the suite needs no SQL. */
export interface ApplicationTable {
  /** Creates the table with the connection of a transaction. */
  create(tx: unknown): unknown;
  /** Adds a row. */
  insert(tx: unknown, n: number): unknown;
  /** Counts the rows that are committed. */
  count(): number | Promise<number>;
}

export interface OpenedStore {
  readonly store: Store<unknown>;
  /** Needed where the capabilities name transactions. */
  readonly application?: ApplicationTable;
  /** Closes the store, if it still is open, and deletes what it left. */
  dispose(): Promise<void>;
}

export const second = 1_000;
export const minute = 60 * second;
export const hour = 60 * minute;

export class Scene {
  readonly store: Store<unknown>;
  readonly clock: ManualClock;
  readonly #application: ApplicationTable | undefined;

  constructor({ store, application }: OpenedStore, clock: ManualClock) {
    this.store = store;
    this.clock = clock;
    this.#application = application;
  }

  get application(): ApplicationTable {
    assert.ok(this.#application, "A store with transactions needs `application` from `open`.");
    return this.#application;
  }

  /** Adds one job and answers what the store said. */
  async add(overrides: Partial<NewJob> = {}): Promise<EnqueueResult> {
    return only(await this.store.enqueue([aNewJob(overrides)]));
  }

  /** Adds one job that conflicts with none. */
  async enqueue(overrides: Partial<NewJob> = {}): Promise<JobId> {
    const job = aNewJob(overrides);
    const result = only(await this.store.enqueue([job]));
    assert.equal(result.outcome, "created");
    return job.id;
  }

  /** The ids in the order in which a worker gets them. */
  async claimIds(...request: Parameters<typeof aClaim>): Promise<readonly JobId[]> {
    const { jobs } = await this.store.claim(aClaim(...request));
    return jobs.map(({ id }) => id);
  }

  /** Claims the one job whose turn it is. */
  async claimOne(...request: Parameters<typeof aClaim>): Promise<ClaimedJob> {
    const { jobs } = await this.store.claim({ ...aClaim(...request), limit: 1 });
    return only(jobs);
  }

  /** Adds one job and claims it; no other may be pending. */
  async processing(overrides: Partial<NewJob> = {}): Promise<ClaimedJob> {
    const id = await this.enqueue(overrides);
    const claimed = await this.claimOne({ types: [overrides.type ?? defaultType] });
    assert.equal(claimed.id, id);
    return claimed;
  }

  async settle(settlement: Settlement): Promise<SettleResult> {
    return only(await this.store.settle([settlement]));
  }

  /** Settles a hold that is good. */
  async apply(settlement: Settlement): Promise<void> {
    assert.equal(await this.settle(settlement), "applied");
  }

  async job(id: JobId): Promise<JobRecord> {
    const record = only(await this.store.get([id]));
    assert.ok(record, `No job ${id}.`);
    return record;
  }

  async state(id: JobId): Promise<JobState> {
    return (await this.job(id)).state;
  }

  /** A job brought into `state` the shortest way. It waits for its time or backoff for one hour. */
  async jobIn(state: JobState, overrides: Partial<NewJob> = {}): Promise<JobRecord> {
    const id = await this.#bring(state, overrides);
    const record = await this.job(id);
    assert.equal(record.state, state);
    return record;
  }

  async #bring(state: JobState, overrides: Partial<NewJob>): Promise<JobId> {
    switch (state) {
      case "scheduled":
        return this.enqueue({ due: { afterMs: hour }, ...overrides });
      case "pending":
        return this.enqueue(overrides);
      case "blocked": {
        const unique = aUniqueClaim({ key: `key-of-${state}`, onConflict: "rerun" });
        await this.processing({ ...overrides, unique });
        return this.enqueue({ ...overrides, unique });
      }
      case "processing":
        return (await this.processing(overrides)).id;
      case "retrying":
        return this.#ended(overrides, (held) => retryOf(held, { delayMs: hour }));
      case "completed":
        return this.#ended(overrides, (held) => completeOf(held));
      case "failed":
        return this.#ended(overrides, (held) => failOf(held));
      case "cancelled":
        return this.#ended(overrides, (held) => cancelOf(held));
    }
  }

  async #ended(overrides: Partial<NewJob>, settlement: (held: ClaimedJob) => Settlement): Promise<JobId> {
    const held = await this.processing(overrides);
    await this.apply(settlement(held));
    return held.id;
  }

  /** Asks for a cancellation the way an operator does. */
  async requestCancel(id: JobId, reason: string | null = null): Promise<void> {
    const { results } = await this.store.amend(aCommand("cancel", [id], { reason }));
    assert.deepEqual(results, [{ id, outcome: "requested", state: "processing" }]);
  }

  /** Registers a worker whose lease outlasts every case that does not speak of leases. */
  async register(workerId: string = defaultWorkerId, leaseMs: number = 365 * 24 * hour): Promise<void> {
    assert.equal((await this.store.heartbeat(aBeat({ workerId, leaseMs }))).lease, "held");
  }

  /** Resolves with the first hint from now on that `isWanted`. */
  nextHint(isWanted: (hint: WakeHint) => boolean): Promise<WakeHint> {
    return new Promise((resolve) => {
      const unsubscribe = this.store.subscribe((hint) => {
        if (!isWanted(hint)) return;
        unsubscribe();
        resolve(hint);
      });
    });
  }
}

/** The only element of an answer to a question about one. */
export function only<T>(answers: readonly T[]): T {
  assert.equal(answers.length, 1);
  return answers[0] as T;
}
