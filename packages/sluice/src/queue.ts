/**
 * Where jobs come from: validates, derives, joins a group commit, and resolves when the store has it. Also the one door for
 * reading jobs and for an operator's commands. Workers do not need it.
 */
import { Batcher } from "./batcher.js";
import { systemClock, type Clock } from "./clock.js";
import { subjectOf } from "./announce.js";
import {
  isTypeName,
  toNewJob,
  type AnyDefinition,
  type EnqueueOptions,
  type JobDefinition,
  type NewJobOptions,
} from "./definition.js";
import { JobsError } from "./errors.js";
import { Events } from "./events.js";
import { jobGoneError, keyReusedError } from "./idempotency.js";
import { idSource } from "./ids.js";
import { toJob, type AttemptRecord, type Job, type JobId, type JobRecord } from "./job.js";
import { refusalError } from "./intake.js";
import type { Refusal } from "./intake.js";
import { newRecord } from "./moves.js";
import type {
  AmendOutcome,
  AuditRecord,
  EnqueueResult,
  JobFilter,
  LogLine,
  NewJob,
  OperatorCommand,
  Store,
  TypeCounts,
  WorkerRecord,
} from "./store.js";
import { checkPatch, defaultSettings, type SettingsPatch, type SettingsRecord, type TypeSettings } from "./settings.js";
import { contextOf, patiently, releaseHeld, type FlagContext, type Flags } from "./flags.js";
import { Endings } from "./endings.js";
import { waitingOf, type Waiting } from "./waiting.js";

export interface QueueOptions<Tx> {
  readonly store: Store<Tx>;
  /** Share it with a worker to see both sides in one place. */
  readonly events?: Events;
  /** How long an enqueue is tried again while the store is busy or out of reach, before it rejects. Default 5,000. */
  readonly retryForMs?: number;
  /**
   * Asked about every new job whether its type is switched on for it, for at most a second; one that throws or hangs leaves it to the
   * stored rollout. Give the same to the workers, which let go of the jobs that wait. Not asked for a job in a transaction of a
   * store with synchronous transactions, nor for children of jobs. Default: none.
   */
  readonly flags?: Flags;
  readonly clock?: Clock;
  readonly newId?: () => JobId;
}

/**
 * `created`: a new job. `duplicate`: the unique key is held, this is the job that holds it; or the request was sent before, this is
 * the job that it was answered with. `replaced`: the job that holds the key has taken the new payload.
 */
export interface Enqueued<Payload = unknown, Result = unknown> {
  readonly outcome: "created" | "duplicate" | "replaced";
  /** The idempotency key was used before, for the same: nothing was added or changed. */
  readonly isRepeated: boolean;
  readonly job: Job<Payload, Result>;
}

/** What the type's enqueue limit or rollout did not take in: there is no such job. */
export type Refused = Refusal & { readonly job: null };

/** What a page of `list` or a command by filter looks at. All given conditions must hold. */
export interface JobQuery extends Omit<JobFilter, "createdAfter" | "createdBefore"> {
  readonly createdAfter?: Date;
  readonly createdBefore?: Date;
}

export interface JobPage {
  readonly jobs: readonly Job[];
  /** Pass as `cursor` for the next page; null at the end. */
  readonly next: string | null;
}

/** Who gives a command, and why: kept in the audit. */
export interface By {
  /** Default "application". */
  readonly actor?: string;
  readonly reason?: string;
}

/** How many jobs had which outcome. */
export type AmendSummary = Readonly<Record<AmendOutcome, number>>;

const bulkPage = 500;

export class Queue<Tx = never> {
  readonly events: Events;
  readonly #store: Store<Tx>;
  readonly #newId: () => JobId;
  /** Null: nobody is asked. */
  readonly #flags: ((context: FlagContext) => Promise<boolean | undefined>) | null;
  readonly #enqueues: Batcher<NewJob, EnqueueResult>;
  readonly #endings: Endings;

  constructor({
    store,
    events = new Events(),
    clock = systemClock,
    newId = idSource(clock),
    retryForMs = 5_000,
    flags,
  }: QueueOptions<Tx>) {
    this.#store = store;
    this.events = events;
    this.#newId = newId;
    const onTrouble = (error: unknown) => events.emit("queue.troubled", { during: "asking a feature flag", error });
    this.#flags = flags === undefined ? null : patiently(flags, { clock, onTrouble });
    this.#enqueues = new Batcher({ flush: (jobs) => store.enqueue(jobs), clock, retryForMs });
    this.#endings = new Endings(store, clock);
  }

  /**
   * Adds a job; resolves when it is durable.
   *
   * With `tx`, the job becomes part of the caller's transaction and exists when and if that commits. On a store with
   * synchronous transactions (SQLite) everything happens before the call returns, and an error is thrown, not rejected: it
   * rolls the caller's transaction back like any other. A payload schema that is asynchronous cannot be used there.
   * @throws {JobsError} INVALID_PAYLOAD, PAYLOAD_TOO_LARGE, INVALID_OPTIONS, STORE_UNAVAILABLE; ENQUEUE_REFUSED, with `reason` and
   * `retryAfterMs`, when the type's enqueue limit or rollout does not take it in; IDEMPOTENCY_KEY_REUSED when the key of `idempotency`
   * stands for something else; JOB_GONE, with its `id`, when the request is a repeat and its job has been deleted since
   */
  enqueue<Input, Payload, Result>(
    definition: JobDefinition<Input, Payload, Result>,
    payload: Input,
    options: EnqueueOptions & { readonly tx?: Tx } = {},
  ): Promise<Enqueued<Input, Result>> {
    if (options.tx !== undefined) {
      return this.#enqueueWithin(options.tx, definition, [{ payload, options }]).then(([only]) => only!);
    }
    return this.#enqueueDurably(definition, payload, options);
  }

  /**
   * Adds many jobs of one type; resolves when all are durable, with one answer each, in order. Invalid payloads reject the
   * call before anything is added; a job that is refused by a limit or a rollout is answered so, and the others are added. With
   * `tx`, as for `enqueue`: one that is refused is an error, since the caller's transaction counts on all of them.
   *
   * With `idempotency`, the key of the nth payload is `${key}/${n}`, from 0 on: sent again with the same payloads in the same order, the
   * call adds what is missing. One that is IDEMPOTENCY_KEY_REUSED or JOB_GONE rejects the call when the others are durable.
   */
  enqueueMany<Input, Payload, Result>(
    definition: JobDefinition<Input, Payload, Result>,
    payloads: readonly Input[],
    options: EnqueueOptions & { readonly tx: Tx & {} },
  ): Promise<readonly Enqueued<Input, Result>[]>;
  enqueueMany<Input, Payload, Result>(
    definition: JobDefinition<Input, Payload, Result>,
    payloads: readonly Input[],
    options?: EnqueueOptions & { readonly tx?: Tx },
  ): Promise<readonly (Enqueued<Input, Result> | Refused)[]>;
  enqueueMany<Input, Payload, Result>(
    definition: JobDefinition<Input, Payload, Result>,
    payloads: readonly Input[],
    options: EnqueueOptions & { readonly tx?: Tx } = {},
  ): Promise<readonly (Enqueued<Input, Result> | Refused)[]> {
    if (options.tx !== undefined) {
      return this.#enqueueWithin(
        options.tx,
        definition,
        payloads.map((payload, nth) => ({ payload, options: { ...options, nth } })),
      );
    }
    return this.#enqueueManyDurably(definition, payloads, options);
  }

  async #enqueueDurably<Input, Payload, Result>(
    definition: JobDefinition<Input, Payload, Result>,
    payload: Input,
    options: EnqueueOptions,
  ): Promise<Enqueued<Input, Result>> {
    const job = await this.#flagged(definition, await toNewJob(definition, payload, options, this.#newId()));
    const result = await this.#enqueues.add(job);
    this.#announce(job, result);
    return takenIn(job.type, toEnqueued<Input, Result>(job, result));
  }

  async #enqueueManyDurably<Input, Payload, Result>(
    definition: JobDefinition<Input, Payload, Result>,
    payloads: readonly Input[],
    options: EnqueueOptions,
  ): Promise<readonly (Enqueued<Input, Result> | Refused)[]> {
    const jobs: NewJob[] = [];
    for (const [nth, payload] of payloads.entries()) {
      const made = await toNewJob(definition, payload, { ...options, nth }, this.#newId());
      jobs.push(await this.#flagged(definition, made));
    }
    const results = await Promise.all(jobs.map((job) => this.#enqueues.add(job)));
    results.forEach((result, index) => this.#announce(jobs[index]!, result));
    return results.map((result, index) => toEnqueued(jobs[index]!, result));
  }

  /** No event: whether the caller's transaction commits is not ours to see. */
  #enqueueWithin<Input, Payload, Result>(
    tx: Tx,
    definition: JobDefinition<Input, Payload, Result>,
    items: readonly { payload: Input; options: NewJobOptions }[],
  ): Promise<Enqueued<Input, Result>[]> {
    const make = () => items.map(({ payload, options }) => toNewJob(definition, payload, options, this.#newId()));
    const add = (jobs: readonly NewJob[]) =>
      this.#store
        .enqueue(jobs, tx)
        .then((results) =>
          results.map((result, index) => takenIn(definition.type, toEnqueued<Input, Result>(jobs[index]!, result))),
        );
    if (this.#store.capabilities.transactions === "synchronous") {
      const jobs = make();
      if (areMade(jobs)) return add(jobs);
      throw new JobsError(
        "INVALID_OPTIONS",
        `The payload schema of ${definition.type} is asynchronous; inside a transaction of ${this.#store.name} it must be synchronous.`,
        { type: definition.type },
      );
    }
    return (async () => {
      const jobs = make();
      // What can be sent at once is: the caller may not wait for the answer before the next statement.
      if (areMade(jobs) && this.#flags === null) return add(jobs);
      return add(await Promise.all(jobs.map(async (job) => this.#flagged(definition, await job))));
    })();
  }

  /** With what its flag says, where there is one. */
  async #flagged({ whenOff }: Pick<AnyDefinition, "whenOff">, job: NewJob): Promise<NewJob> {
    if (this.#flags === null) return job;
    const { id, type, correlation, controls, intake } = job;
    const isOn = await this.#flags(contextOf({ id, type, correlation, group: controls?.group ?? null }));
    return isOn === undefined ? job : { ...job, intake: { limit: intake?.limit ?? null, whenOff, isOn } };
  }

  #announce(job: NewJob, result: EnqueueResult): void {
    if (!this.events.hasListener("job.enqueued")) return;
    const answered = result.outcome === "created" ? job : "job" in result ? result.job : null;
    if (answered === null || result.outcome === "refused" || result.outcome === "key_reused") return;
    const outcome = result.outcome === "repeated" ? "duplicate" : result.outcome;
    this.events.emit("job.enqueued", { job: subjectOf(answered), outcome });
  }

  // ── reading ───────────────────────────────────────────────────────────────

  /** One job, or null when there is none of this id (any more). */
  async get(id: JobId): Promise<Job | null> {
    const [record] = await this.#store.get([id]);
    return record ? toJob(record) : null;
  }

  /** Newest first. `limit` default 50, at most 1,000. */
  async list(query: JobQuery & { readonly cursor?: string | null; readonly limit?: number } = {}): Promise<JobPage> {
    const { cursor = null, limit = 50, ...filter } = query;
    const page = { before: cursor, limit: Math.min(Math.max(1, Math.trunc(limit)), 1_000) };
    const { jobs, next } = await this.#store.list({ filter: toFilter(filter), page });
    return { jobs: jobs.map((record) => toJob(record)), next };
  }

  /** How many jobs of each type are in each state. Costs the same at ten jobs and at ten million (K3). */
  counts(query: { readonly types?: readonly string[] } = {}): Promise<readonly TypeCounts[]> {
    return this.#store.counts(query);
  }

  /** The attempts that failed, with error, stack and timings, and the lines the handlers logged; oldest first. */
  async history(id: JobId): Promise<{ attempts: readonly AttemptRecord[]; lines: readonly LogLine[] }> {
    return this.#store.history(id);
  }

  workers(): Promise<readonly WorkerRecord[]> {
    return this.#store.workers();
  }

  /**
   * Why a job is not running, in order for a page of them: one reason each (`Waiting`), as of the moment it was asked. Null for one
   * that runs, has ended, or is not there. Ask for a page in one call: it costs little more than one job.
   */
  waiting(id: JobId): Promise<Waiting | null>;
  waiting(ids: readonly JobId[]): Promise<readonly (Waiting | null)[]>;
  async waiting(asked: JobId | readonly JobId[]): Promise<Waiting | null | readonly (Waiting | null)[]> {
    if (typeof asked !== "string") return this.#waiting(asked);
    const [only] = await this.#waiting([asked]);
    return only ?? null;
  }

  async #waiting(ids: readonly JobId[]): Promise<readonly (Waiting | null)[]> {
    if (ids.length === 0) return [];
    const [{ now, jobs, types }, workers, changed] = await Promise.all([
      this.#store.standing(ids),
      this.#store.workers(),
      this.#store.settings(),
    ]);
    const settings = new Map(changed.map((each) => [each.type, each]));
    const standings = new Map(types.map((each) => [each.type, each]));
    return jobs.map((job) => {
      if (job === null) return null;
      const { type } = job;
      const standing = standings.get(type) ?? { processing: 0, spentUntil: null, runMs: [] };
      return waitingOf(job, { ...standing, now, settings: settings.get(type) ?? defaultSettings(type), workers });
    });
  }

  /** Who did what to which job; newest first. `limit` default 50. */
  audit(query: { readonly jobId?: JobId; readonly limit?: number } = {}): Promise<readonly AuditRecord[]> {
    return this.#store.audit({ limit: 50, ...query });
  }

  /**
   * Resolves with the job when it has completed, failed or been cancelled.
   * @param timeoutMs Default 30,000.
   * @throws {JobsError} WAIT_TIMEOUT, JOB_NOT_FOUND
   */
  async waitFor<Result = unknown>(
    job: JobId | Job<unknown, Result> | { readonly id: JobId },
    { timeoutMs = 30_000 }: { timeoutMs?: number } = {},
  ): Promise<Job<unknown, Result> & { state: "completed" | "failed" | "cancelled" }> {
    const id = typeof job === "string" ? job : job.id;
    const ended = toJob<unknown, Result>(await this.#endings.ended(id, timeoutMs));
    return ended as typeof ended & { state: "completed" | "failed" | "cancelled" };
  }

  // ── an operator's commands ────────────────────────────────────────────────

  /** A waiting job is cancelled; one in flight is asked to stop (`requested`): its signal fires, wherever it runs. */
  cancel(id: JobId, by?: By): Promise<AmendOutcome> {
    return this.#amendOne(id, { action: "cancel" }, by);
  }

  /** A failed job becomes pending with a fresh attempt budget, a retrying one is due now. */
  retry(id: JobId, by?: By): Promise<AmendOutcome> {
    return this.#amendOne(id, { action: "retry" }, by);
  }

  /** A failed job becomes cancelled: nobody will look at it again. */
  discard(id: JobId, by?: By): Promise<AmendOutcome> {
    return this.#amendOne(id, { action: "discard" }, by);
  }

  /**
   * Gives a waiting or failed job a new payload, and retries it if it has failed. The old payload is kept in the audit.
   * @throws {JobsError} INVALID_PAYLOAD
   */
  async editAndRetry<Input, Payload>(
    definition: JobDefinition<Input, Payload>,
    id: JobId,
    payload: Input,
    by?: By,
  ): Promise<AmendOutcome> {
    const edited = await toNewJob(definition, payload, {}, id);
    const { version, controls } = edited;
    return this.#amendOne(id, { action: "edit", payload: edited.payload, version, controls }, by);
  }

  /** `cancel` for every job that matches. */
  cancelAll(query: JobQuery, by?: By): Promise<AmendSummary> {
    return this.#amendAll(query, { action: "cancel" }, by);
  }

  /** `retry` for every failed job that matches; say `states: ["retrying"]` for those that wait for their backoff. */
  retryAll(query: JobQuery, by?: By): Promise<AmendSummary> {
    return this.#amendAll({ states: ["failed"], ...query }, { action: "retry" }, by);
  }

  /** `discard` for every failed job that matches. */
  discardAll(query: Omit<JobQuery, "states">, by?: By): Promise<AmendSummary> {
    return this.#amendAll({ ...query, states: ["failed"] }, { action: "discard" }, by);
  }

  // ── what an operator sets about a type ────────────────────────────────────

  /** The settings of every type that somebody has changed; all others are as their definitions say. */
  settings(): Promise<readonly TypeSettings[]> {
    return this.#store.settings();
  }

  /**
   * Changes the settings of a type; in force at the next claim of every process. What is left out stays, null goes back to the default.
   * @param ifVersion Of the settings that the change was made for; default: whatever they are.
   * @throws {JobsError} SETTINGS_STALE, with the `settings` as they are now; INVALID_OPTIONS
   */
  async setType(
    type: string,
    patch: SettingsPatch,
    { ifVersion = null, ...by }: By & { readonly ifVersion?: number | null } = {},
  ): Promise<TypeSettings> {
    if (!isTypeName(type)) {
      throw new JobsError(
        "INVALID_OPTIONS",
        `${JSON.stringify(type)} is no name of a type. Give 1 to 100 letters, digits, '.', '_', '-' or ':'.`,
        { option: "type" },
      );
    }
    const change = { type, patch: checkPatch(patch), ifVersion, ...byOf(by) };
    const { outcome, settings } = await this.#store.setType(change);
    if (outcome === "applied") {
      if (patch.rollout !== undefined) await releaseHeld(this.#store, settings);
      return settings;
    }
    throw new JobsError(
      "SETTINGS_STALE",
      `The settings of ${type} have version ${settings.version} by now, not ${ifVersion}. Read them and decide again.`,
      { type, settings },
    );
  }

  /** No job of the type is claimed until then, or until it is resumed; what runs goes on. Jobs may be enqueued. */
  pause(type: string, { until, ...by }: By & { readonly until?: Date } = {}): Promise<TypeSettings> {
    return this.setType(type, { pause: { reason: by.reason ?? null, until: until?.getTime() ?? null } }, by);
  }

  resume(type: string, by?: By): Promise<TypeSettings> {
    return this.setType(type, { pause: null }, by);
  }

  /** Who changed which settings, and why; newest first. `limit` default 50. */
  settingsHistory(query: { readonly type?: string; readonly limit?: number } = {}): Promise<readonly SettingsRecord[]> {
    return this.#store.settingsHistory({ limit: 50, ...query });
  }

  async #amendOne(id: JobId, what: Command, by: By = {}): Promise<AmendOutcome> {
    const { results } = await this.#store.amend({ ...what, ...byOf(by), target: { ids: [id] } });
    return results[0]?.outcome ?? "not_found";
  }

  /** Page by page, so that no transaction grows with the number of matches. Jobs added meanwhile are left alone. */
  async #amendAll(query: JobQuery, what: Command, by: By = {}): Promise<AmendSummary> {
    const summary = { applied: 0, requested: 0, not_found: 0, wrong_state: 0, key_taken: 0 };
    const filter = toFilter(query);
    let before: JobId | null = null;
    do {
      const target = { filter, page: { before, limit: bulkPage } };
      const { results, next } = await this.#store.amend({ ...what, ...byOf(by), target });
      for (const { outcome } of results) summary[outcome]++;
      before = next;
    } while (before !== null);
    return summary;
  }

  /** Waits until every enqueue under way is durable; rejects who still waits for a job. The store stays open: it is the caller's. */
  async close(): Promise<void> {
    await this.#enqueues.idle();
    this.#endings.close();
  }
}

type Command = OperatorCommand extends infer C
  ? C extends unknown
    ? Omit<C, "target" | "actor" | "reason">
    : never
  : never;

function byOf({ actor = "application", reason }: By): { actor: string; reason: string | null } {
  return { actor, reason: reason ?? null };
}

function toFilter({ createdAfter, createdBefore, ...rest }: JobQuery): JobFilter {
  return {
    ...rest,
    ...(createdAfter && { createdAfter: createdAfter.getTime() }),
    ...(createdBefore && { createdBefore: createdBefore.getTime() }),
  };
}

function areMade(jobs: readonly (NewJob | Promise<NewJob>)[]): jobs is readonly NewJob[] {
  return !jobs.some((job) => job instanceof Promise);
}

/** @throws {JobsError} IDEMPOTENCY_KEY_REUSED, JOB_GONE */
function toEnqueued<Payload, Result>(job: NewJob, result: EnqueueResult): Enqueued<Payload, Result> | Refused {
  const answer = (outcome: Enqueued["outcome"], record: JobRecord, isRepeated = false) => ({
    outcome,
    isRepeated,
    job: toJob<Payload, Result>(record),
  });
  switch (result.outcome) {
    case "created": {
      const { state, createdAt, runAt } = result;
      return answer("created", newRecord(job, { state, createdAt, runAt }));
    }
    case "duplicate":
    case "replaced":
      return answer(result.outcome, result.job);
    case "repeated":
      if (result.job === null) throw jobGoneError(job.type, result.id);
      return answer("duplicate", result.job, true);
    case "key_reused":
      throw keyReusedError(job.type, job.idempotency?.key ?? null);
    case "refused":
      return { ...result, job: null };
  }
}

/**
 * The answers of `enqueueMany`, for a caller who cannot go on without all of them.
 * @throws {JobsError} ENQUEUE_REFUSED when one was refused; the others are there.
 */
export function allTakenIn<Payload, Result>(
  answers: readonly (Enqueued<Payload, Result> | Refused)[],
): readonly Enqueued<Payload, Result>[] {
  const type = answers.find(({ job }) => job !== null)?.job?.type ?? "this type";
  return answers.map((answer) => takenIn(type, answer));
}

function takenIn<Payload, Result>(
  type: string,
  answer: Enqueued<Payload, Result> | Refused,
): Enqueued<Payload, Result> {
  if (answer.outcome !== "refused") return answer;
  throw refusalError(type, answer);
}
