/**
 * The loop: claim → attempt → settle. Owns the slots, the prefetched jobs and the lease; policy is in settlement.ts, running one
 * handler is in attempt.ts, many jobs in one call of a handler are batch.ts, and which jobs share a slot is units.ts.
 */
import { Aging } from "./aging.js";
import { about, announceSettled } from "./announce.js";
import { Attempt, describeError, type AttemptDeps, type SettledElsewhere } from "./attempt.js";
import { startBatch, type BatchProcessor } from "./batch.js";
import { Batcher } from "./batcher.js";
import { breakerRules, Breakers } from "./breakers.js";
import { systemClock, type Clock } from "./clock.js";
import type { AnyDefinition } from "./definition.js";
import { isRetryable, JobsError } from "./errors.js";
import { Events } from "./events.js";
import { idSource } from "./ids.js";
import type { Hold } from "./job.js";
import { patiently, type Flags } from "./flags.js";
import { InHand } from "./in-hand.js";
import { Lease } from "./lease.js";
import { Pace } from "./pace.js";
import type { Middleware, Processor } from "./processor.js";
import { Rollups } from "./rollups.js";
import { decide, isSuspect, type Outcome } from "./settlement.js";
import { Suspects } from "./suspects.js";
import type {
  ClaimAnswer,
  ClaimedJob,
  ClaimedType,
  ClaimRequest,
  SettleResult,
  Settlement,
  Store,
  WorkedType,
} from "./store.js";
import { batchRulesOf, formUnits, type Unit } from "./units.js";
import { Upkeep } from "./upkeep.js";

export interface WorkerOptions<Tx> {
  readonly store: Store<Tx>;
  readonly processors: readonly Processor<AnyDefinition, NoInfer<Tx>>[];
  /** Handlers running at once, all types together; a batch counts as one. Default 10. */
  readonly concurrency?: number;
  /** Handlers of one type running at once in this worker. Default: the whole concurrency. */
  readonly typeConcurrency?: Readonly<Record<string, number>>;
  /** How long the worker may be silent before its jobs are given to others. Default 15,000; renewed every third of it. */
  readonly leaseMs?: number;
  /** The lease is not renewed while the event loop has been blocked for longer than this. Default 60,000. */
  readonly stuckAfterMs?: number;
  /** The longest sleep between looks at the store when nothing wakes the worker. Default 1,000. */
  readonly pollMs?: number;
  /**
   * Whether hints of the store wake the worker. Default true. False for one whose jobs are few and can wait for `pollMs`, on a store
   * that is busy with others: each hint costs a look.
   */
  readonly listens?: boolean;
  /** How long a handler may take to end after its signal fired, before its slot is freed without it. Default 5,000. */
  readonly abortGraceMs?: number;
  /** How long completed and cancelled jobs are kept. Default 7 days. */
  readonly retentionMs?: number;
  /** As the queue's: asked about jobs of this worker's types that wait to be switched on, every ten seconds. Default: none. */
  readonly flags?: Flags;
  readonly events?: Events;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly newId?: () => string;
}

/** Ended attempts whose settlement is not durable yet. Beyond it the worker claims no more: the store is the bottleneck. */
const maxSettling = 2_000;
/** A prefetched job that found no slot for this long goes back, for another worker. */
const maxIdleMs = 250;
/** With all slots taken, a wake-up may still mean a cancellation: look, but not more often than this. */
const cancelCheckMs = 100;

/** A job and the worker id under which it is held: after a lost lease the worker goes on under another. */
interface HeldJob {
  readonly job: ClaimedJob;
  readonly workerId: string;
  /** Null for a job that was never started. */
  readonly attempt: Attempt | null;
}

export class Worker<Tx = never> {
  readonly events: Events;
  readonly #store: Store<unknown>;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #newId: () => string;
  readonly #processors: ReadonlyMap<string, Processor>;
  /** What one claim asks for: all types whose jobs come one by one, or one type that comes in batches. */
  readonly #groups: readonly (readonly Processor[])[];
  readonly #concurrency: number;
  readonly #listens: boolean;
  readonly #typeConcurrency: Readonly<Record<string, number>>;
  readonly #timing: { leaseMs: number; stuckAfterMs: number; pollMs: number; abortGraceMs: number };
  readonly #middleware: Middleware[] = [];
  readonly #pace = new Pace();
  readonly #aging = new Aging();
  readonly #settlements: Batcher<Settlement, SettleResult>;
  readonly #rollups: Rollups;
  readonly #upkeep: Upkeep;
  readonly #breakers: Breakers;
  readonly #suspects: Suspects;

  #state: "new" | "running" | "stopping" | "stopped" = "new";
  #starting: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | null = null;
  #lease: Lease | null = null;
  #attemptDeps: AttemptDeps | null = null;
  #unsubscribe: (() => void) | null = null;

  /** Claimed and not started. */
  #prefetched: Unit[] = [];
  /** Attempts, not jobs: after a lost lease an old attempt may linger while a new one of the same job runs. */
  readonly #running = new Set<Attempt>();
  /** Slots in use, by type. */
  readonly #taken = new Counts();
  /** Units prefetched and running, by type. */
  readonly #held = new Counts();
  readonly #inHand = new InHand();
  #recountedAt = 0;
  #settling = 0;
  /** Settlements that the store could not take; calling one sends it again. */
  readonly #unsent = new Set<() => void>();
  #isClaiming = false;
  #isPumpScheduled = false;
  /** The store had nothing more when last asked, and nothing has woken the worker since. */
  #isDrained = false;
  /** Groups of which that is known already. */
  readonly #drained = new Set<readonly Processor[]>();
  #wakes = 0;
  #ends = 0;
  /** The last claim left no type out for want of slots. */
  #askedForAll = true;
  /** Types that have a concurrency, as of the last claim: there may be room when a job of one ends, wherever it ran. */
  #limited: ReadonlySet<string> = new Set();
  #claimedAt = 0;
  /** When a handler last ended. */
  #endedAt = 0;
  #turn = 0;
  #cancelSleep: (() => void) | null = null;
  #cancelIdleCheck: (() => void) | null = null;
  #quietListeners: (() => void)[] = [];

  /** @throws {JobsError} INVALID_OPTIONS, DUPLICATE_PROCESSOR */
  constructor(options: WorkerOptions<Tx>) {
    this.events = options.events ?? new Events();
    this.#store = options.store;
    this.#clock = options.clock ?? systemClock;
    // eslint-disable-next-line no-restricted-properties -- this is where randomness comes in from outside
    this.#random = options.random ?? Math.random;
    this.#newId = options.newId ?? idSource(this.#clock);
    this.#processors = byType(options.processors);
    this.#groups = inGroups(options.processors);
    this.#concurrency = checkCount("concurrency", options.concurrency ?? 10);
    this.#listens = options.listens ?? true;
    this.#typeConcurrency = options.typeConcurrency ?? {};
    for (const [type, limit] of Object.entries(this.#typeConcurrency)) checkCount(`typeConcurrency.${type}`, limit);
    this.#timing = {
      leaseMs: checkMs("leaseMs", options.leaseMs ?? 15_000, 100),
      stuckAfterMs: checkMs("stuckAfterMs", options.stuckAfterMs ?? 60_000, 100),
      pollMs: checkMs("pollMs", options.pollMs ?? 1_000, 1),
      abortGraceMs: checkMs("abortGraceMs", options.abortGraceMs ?? 5_000, 0),
    };
    this.#settlements = new Batcher({
      flush: (settlements) => this.#store.settle(settlements),
      clock: this.#clock,
      retryForMs: this.#timing.leaseMs,
      onRetry: (error) => this.#trouble("settling", error),
    });
    this.#suspects = new Suspects({
      store: this.#store,
      clock: this.#clock,
      lookEveryMs: this.#timing.pollMs,
      onLook: () => this.#wake(),
      onTrouble: (during, error) => this.#trouble(during, error),
    });
    this.#breakers = new Breakers({
      store: this.#store,
      clock: this.#clock,
      rules: breakerRules(this.#processors),
      onOpened: (type) => this.#giveBackAll(type),
      onTrouble: (error) => this.#trouble("a circuit breaker", error),
    });
    this.#rollups = new Rollups({
      store: this.#store,
      clock: this.#clock,
      onTrouble: (error) => this.#trouble("bringing counts to the store", error),
    });
    const flags = options.flags;
    this.#upkeep = new Upkeep({
      types: [...this.#processors.keys()],
      flags:
        flags === undefined
          ? null
          : patiently(flags, {
              clock: this.#clock,
              onTrouble: (error) => this.#trouble("asking a feature flag", error),
            }),
      store: this.#store,
      clock: this.#clock,
      events: this.events,
      rollups: this.#rollups,
      random: this.#random,
      policyOf: (type) => this.#processors.get(type)?.definition,
      rescueEveryMs: Math.min(this.#timing.leaseMs / 3, 2_000),
      retentionMs: checkMs("retentionMs", options.retentionMs ?? 7 * 24 * 60 * 60 * 1_000, 0),
    });
  }

  /** Under which it is on the list of workers; null before it has started. After a lost lease it goes on under another. */
  get workerId(): string | null {
    return this.#lease?.workerId ?? null;
  }

  /** Wraps every attempt; the first one added is the outermost. Add before `start`. */
  use(middleware: Middleware): this {
    this.#middleware.push(middleware);
    return this;
  }

  /** Registers the worker and begins to claim. @throws {JobsError} WORKER_STATE, and what the store throws. */
  async start(): Promise<void> {
    if (this.#state !== "new") {
      throw new JobsError("WORKER_STATE", `This worker is ${this.#state}; make a new one to start again.`, {
        state: this.#state,
      });
    }
    this.#state = "running";
    try {
      await (this.#starting = this.#register());
    } catch (error) {
      if (this.#state === "running") this.#state = "new";
      throw error;
    }
    if (this.#state !== "running") return;
    if (this.#listens) {
      this.#unsubscribe = this.#store.subscribe((hint) => {
        if (hint.work || (hint.ended && this.#limited.size > 0)) this.#wake();
      });
    }
    this.#upkeep.start();
    this.#breakers.start();
    this.#wake();
  }

  /**
   * Stops in good order: claims no more, gives back what was not started, waits up to `graceMs` (default 10,000) for running
   * handlers, then fires their signals (`shutdown`) and gives their jobs back. Resolves when all of it is durable.
   */
  stop({ graceMs = 10_000 }: { graceMs?: number } = {}): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    const wasRunning = this.#state === "running";
    this.#state = "stopping";
    this.#unsubscribe?.();
    this.#cancelSleep?.();
    // A worker that is still registering must be on the list before it can be taken off.
    await this.#starting.catch(() => undefined);
    if (wasRunning) {
      await this.#upkeep.stop();
      await this.#breakers.stop();
      this.#suspects.stopWaiting();
      this.#releasePrefetched();
      for (const send of this.#unsent) send();
      const cancelGrace = this.#clock.setTimer(graceMs, () => {
        for (const attempt of this.#running) attempt.abort("shutdown");
      });
      await this.#quiet();
      cancelGrace();
      await this.#rollups.flush();
      const workerId = this.#lease?.workerId ?? "";
      await this.#lease
        ?.stop({ retire: true })
        .catch((error: unknown) => this.#trouble("taking the worker off the list", error));
      this.events.emit("worker.stopped", { workerId });
    }
    this.#state = "stopped";
  }

  // ── the lease ─────────────────────────────────────────────────────────────

  async #register(): Promise<void> {
    const workerId = this.#newId();
    const lease = new Lease({
      store: this.#store,
      clock: this.#clock,
      workerId,
      types: this.#workedTypes(),
      concurrency: this.#concurrency,
      leaseMs: this.#timing.leaseMs,
      stuckAfterMs: this.#timing.stuckAfterMs,
      onLost: () => this.#lostLease(workerId),
      onCancels: (holds) => this.#cancel(holds),
      onTrouble: (during, error) => this.#trouble(during, error),
    });
    await lease.start();
    this.#lease = lease;
    this.#recountedAt = this.#clock.now();
    this.#attemptDeps = {
      store: this.#store,
      clock: this.#clock,
      events: this.events,
      newId: this.#newId,
      workerId,
      retryForMs: this.#timing.leaseMs,
      middleware: this.#middleware,
      abortGraceMs: this.#timing.abortGraceMs,
      onStarted: (attempt) => this.#started(attempt),
      onProgress: (attempt, progress) => {
        this.#hook("onProgress", () => attempt.processor.onProgress?.(attempt.inHand!, progress));
        if (this.events.hasListener("job.progressed")) {
          this.events.emit("job.progressed", { ...about(attempt), progress });
        }
      },
      onAbandoned: (attempt, reason) => this.events.emit("job.abandoned", { ...about(attempt), reason }),
      onTrouble: (during, error) => this.#trouble(during, error),
    };
    this.events.emit("worker.started", { workerId });
  }

  #workedTypes(): readonly WorkedType[] {
    return [...this.#processors.values()].map(({ definition: { type, version, concurrency, controls } }) => {
      const slots = Math.min(this.#concurrency, this.#typeConcurrency[type] ?? Infinity);
      return { type, version, concurrency, slots, rate: controls?.rate ?? null };
    });
  }

  /** Fences itself: everything in hand belongs to others now. Goes on under a new id. */
  #lostLease(workerId: string): void {
    this.events.emit("worker.leaseLost", { workerId });
    this.#lease = null;
    for (const { type, jobs } of this.#prefetched.splice(0)) {
      this.#held.add(type, -1);
      for (const job of jobs) this.#inHand.remove(job);
    }
    for (const attempt of this.#running) attempt.abort("lease_lost");
    const tryAgain = () => {
      if (this.#state !== "running") return;
      this.#starting = this.#register();
      this.#starting.then(
        () => this.#wake(),
        (error: unknown) => {
          this.#trouble("registering again", error);
          this.#clock.setTimer(this.#timing.pollMs, tryAgain);
        },
      );
    };
    tryAgain();
  }

  #cancel(holds: readonly Hold[]): void {
    for (const { id, epoch } of holds) {
      for (const attempt of this.#running) {
        if (attempt.job.id === id && attempt.job.epoch === epoch) attempt.abort("cancelled");
      }
      this.#cancelPrefetched({ id, epoch });
    }
  }

  #cancelPrefetched({ id, epoch }: Hold): void {
    for (const [index, { type, jobs }] of this.#prefetched.entries()) {
      const job = jobs.find((job) => job.id === id && job.epoch === epoch);
      if (job === undefined) continue;
      const others = jobs.filter((other) => other !== job);
      if (others.length > 0) this.#prefetched[index] = { type, jobs: others };
      else {
        this.#prefetched.splice(index, 1);
        this.#held.add(type, -1);
      }
      this.#settle(this.#unstarted(job), { kind: "cancelled", reason: "requested" });
      return;
    }
  }

  // ── claim ─────────────────────────────────────────────────────────────────

  #wake(): void {
    this.#wakes++;
    this.#lookAgain();
    this.#pumpSoon();
  }

  #lookAgain(): void {
    this.#isDrained = false;
    this.#drained.clear();
  }

  /** One look per turn of the event loop, however many handlers ended in it. */
  #pumpSoon(): void {
    if (this.#isPumpScheduled) return;
    this.#isPumpScheduled = true;
    setImmediate(() => {
      this.#isPumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#state !== "running" || this.#lease === null) return;
    this.#startPrefetched();
    if (this.#isClaiming || this.#settling >= maxSettling) return;
    if (this.#isDrained && !(this.#suspects.awaited !== null && this.#isEmpty())) return;
    const asked = this.#isBusyForSuspect() ? nothing : this.#whatToAskFor();
    if (asked === "later") return;
    if (asked.limit === 0 && this.#taken.total === 0) return this.#sleep(this.#timing.pollMs);
    if (asked.limit === 0 && this.#clock.now() - this.#claimedAt < cancelCheckMs) {
      this.#sleep(cancelCheckMs);
      return;
    }
    void this.#claim({ ...asked, workerId: this.#lease.workerId });
  }

  #startPrefetched(): void {
    if (this.#isAlone()) return;
    const passedOver: Unit[] = [];
    let next = 0;
    while (next < this.#prefetched.length && this.#taken.total < this.#concurrency) {
      const unit = this.#prefetched[next++]!;
      if (this.#taken.of(unit.type) < (this.#typeConcurrency[unit.type] ?? Infinity)) this.#run(unit);
      else passedOver.push(unit);
    }
    if (next > 0) this.#prefetched.splice(0, next, ...passedOver);
  }

  /** One claim of a batch type may have made more batches than it had slots, by keys and weights. */
  #giveBackWhatMayNotWait(): void {
    if (this.#prefetched.length === 0) return;
    const mayWait = (unit: Unit) => this.#mayWaitHere(this.#processors.get(unit.type)!);
    const [waiting, others] = [this.#prefetched.filter(mayWait), this.#prefetched.filter((unit) => !mayWait(unit))];
    this.#prefetched = waiting;
    for (const unit of others) this.#giveBack(unit);
  }

  /**
   * A crash charges what was claimed ahead: a type that has one attempt only would lose jobs that never ran. And what waits here
   * takes its place from other processes where only so many may be processing.
   */
  #mayWaitHere({ definition: { type, retry, concurrency, controls } }: Processor): boolean {
    const isLimited =
      this.#typeConcurrency[type] !== undefined || concurrency !== null || controls !== null || this.#limited.has(type);
    return !isLimited && retry.attempts > 1;
  }

  /**
   * Asks for the free slots, and for what they will run through while the answer is on its way. The store counts jobs and the
   * worker slots: a claim for single jobs and for batches at once would bring too many of one or too few of the other, so each
   * batch type is asked for on its own.
   */
  #whatToAskFor(): Asked | "later" {
    if (this.#suspects.awaited !== null) return this.#askForSuspect(this.#suspects.awaited);
    const free = this.#concurrency - this.#taken.total - this.#prefetched.length;
    // Handlers that stand still have no use for more jobs, however quick they were before.
    const isStuck = this.#taken.total >= this.#concurrency && this.#clock.now() - this.#endedAt >= maxIdleMs;
    let prefetch = 0;
    const limits = new Map<Processor, number>();
    for (const processor of this.#processors.values()) {
      const { type, isGrouped } = processor.definition;
      const batch = batchRulesOf(processor);
      const local = this.#typeConcurrency[type];
      const mayClaimAhead = batch === null && !isStuck && this.#mayWaitHere(processor);
      // Whoever comes to a type whose groups take turns waits for what was claimed ahead: no more than the slots.
      const most = isGrouped ? this.#concurrency : Infinity;
      const ahead = mayClaimAhead ? Math.min(most, this.#pace.prefetchFor(type, this.#concurrency)) : 0;
      const slots = local === undefined ? free + ahead : Math.min(free, local - this.#held.of(type));
      const limit = slots * (batch?.max ?? 1);
      if (ahead > prefetch) prefetch = ahead;
      if (limit > 0) limits.set(processor, limit);
    }

    const groups = this.#groups.filter((group) => group.some((processor) => limits.has(processor)));
    const group = inTurn(groups, this.#turn).find((group) => !this.#drained.has(group)) ?? null;
    const isBatch = group !== null && batchRulesOf(group[0]!) !== null;
    const limit = group === null ? 0 : isBatch ? limits.get(group[0]!)! : Math.max(0, free + prefetch);
    // With fast jobs, one claim for many beats many for one: wait until half of what was claimed ahead is used up.
    if (group !== null && !isBatch && limit < prefetch / 2) return "later";
    // Each group gets to be first in turn, and within it each type. Types of other groups are named for what the store says of them:
    // when the next job is due, and which are limited.
    const types = inTurn([...limits.keys()], Math.floor(this.#turn / this.#groups.length)).map((processor) => {
      const isAskedFor = group?.includes(processor) === true;
      const aged = isAskedFor ? this.#aging.shareOf(processor.definition.type, this.#clock.now()) : 0;
      return { ...typeOf(processor, isAskedFor ? limits.get(processor)! : 0), aged };
    });
    if (limit > 0) this.#turn++;
    return { limit, types, group, groups };
  }

  /** A suspect runs; then nothing else does. */
  #isAlone(): boolean {
    const [first] = this.#running;
    return first !== undefined && isSuspect(first.job);
  }

  /** Nothing is lost that is not the suspect's own if it takes the process with it. */
  #isEmpty(): boolean {
    const { size } = this.#unsent;
    return this.#taken.total === 0 && this.#prefetched.length === 0 && this.#settling === 0 && size === 0;
  }

  #isBusyForSuspect(): boolean {
    return this.#isAlone() || (this.#suspects.awaited !== null && !this.#isEmpty());
  }

  /** It went back to its old place, so it comes first; whatever comes instead is run as ever. */
  #askForSuspect({ type }: ClaimedJob): Asked {
    this.#suspects.stopWaiting();
    const types = [{ ...typeOf(this.#processors.get(type)!, 1), company: null }];
    return { limit: 1, types, group: null, groups: [] };
  }

  async #claim({ group, groups, ...request }: Asked & ClaimRequest): Promise<void> {
    this.#isClaiming = true;
    this.#cancelSleep?.();
    const wakes = this.#wakes;
    const ends = this.#ends;
    const startedAt = this.#clock.now();
    let answer: ClaimAnswer;
    let strays: readonly ClaimedJob[];
    try {
      strays = await this.#findStrays(request.workerId);
      answer = await this.#store.claim(request);
    } catch (error) {
      this.#isClaiming = false;
      this.#trouble("claiming", error);
      // It may have been committed all the same.
      this.#recountedAt = -Infinity;
      // Wait with jitter: many workers may have lost the same store.
      this.#isDrained = true;
      this.#sleep(this.#timing.pollMs * (0.5 + this.#random()));
      this.#tellWhenQuiet();
      return;
    }
    this.#isClaiming = false;
    this.#claimedAt = this.#clock.now();
    if (request.limit > 0) this.#pace.claimTook(this.#claimedAt - startedAt);

    const jobs = [...strays, ...answer.jobs];
    for (const job of jobs) {
      this.#inHand.add(job);
      this.#aging.claimed(job.type, 1);
    }
    if (this.#state !== "running" || this.#lease?.workerId !== request.workerId) {
      for (const job of jobs) this.#settle(this.#unstarted(job), { kind: "interrupted" });
      this.#tellWhenQuiet();
      // Under another id by now: what woke the worker meanwhile found it claiming.
      this.#pumpSoon();
      return;
    }
    const { keep, giveBack } = this.#suspects.sort(jobs, { isEmpty: this.#isEmpty() });
    for (const job of giveBack) this.#settle(this.#unstarted(job), { kind: "interrupted" });
    this.#hold(keep);
    this.#cancel(answer.cancels);
    this.#limited = new Set(answer.limited);

    this.#askedForAll = request.limit > 0 && request.types.length === this.#processors.size;
    const isNewsFree = this.#wakes === wakes && (this.#askedForAll || this.#ends === ends);
    if (isNewsFree && isShort(answer, request)) {
      if (group !== null) this.#drained.add(group);
      this.#isDrained = request.limit === 0 || (group !== null && groups.every((each) => this.#drained.has(each)));
    }
    this.#startPrefetched();
    this.#giveBackWhatMayNotWait();
    this.#pump();
    if (this.#isDrained) this.#sleep(Math.min(answer.nextDueInMs ?? Infinity, this.#timing.pollMs));
    if (this.#prefetched.length > 0) this.#checkIdle();
  }

  #hold(jobs: readonly ClaimedJob[]): void {
    const processorOf = (type: string) => this.#processors.get(type)!;
    const units = formUnits(jobs, processorOf, (during, error) => this.#trouble(during, error));
    for (const { type } of units) this.#held.add(type, 1);
    this.#prefetched.push(...units);
  }

  /** Jobs whose claim was answered to nobody: looked for after a claim that failed, and once in a lease's time. */
  async #findStrays(workerId: string): Promise<readonly ClaimedJob[]> {
    if (this.#clock.now() - this.#recountedAt < this.#timing.leaseMs) return [];
    const isStray = this.#inHand.recount();
    const held = await this.#store.heldBy(workerId);
    this.#recountedAt = this.#clock.now();
    return held.filter(isStray);
  }

  #sleep(ms: number): void {
    this.#cancelSleep?.();
    this.#cancelSleep = this.#clock.setTimer(ms, () => {
      this.#lookAgain();
      this.#pump();
    });
  }

  #checkIdle(): void {
    if (this.#cancelIdleCheck) return;
    const first = this.#prefetched[0];
    this.#cancelIdleCheck = this.#clock.setTimer(maxIdleMs, () => {
      this.#cancelIdleCheck = null;
      if (this.#prefetched[0] === first) this.#releasePrefetched();
      else if (this.#prefetched.length > 0) this.#checkIdle();
    });
  }

  #releasePrefetched(): void {
    this.#cancelIdleCheck?.();
    this.#cancelIdleCheck = null;
    for (const unit of this.#prefetched.splice(0)) this.#giveBack(unit);
  }

  /** What was claimed ahead of a type that should not start now. */
  #giveBackAll(type: string): void {
    const given = this.#prefetched.filter((unit) => unit.type === type);
    this.#prefetched = this.#prefetched.filter((unit) => unit.type !== type);
    for (const unit of given) this.#giveBack(unit);
  }

  #giveBack({ type, jobs }: Unit): void {
    this.#held.add(type, -1);
    for (const job of jobs) this.#settle(this.#unstarted(job), { kind: "interrupted" });
  }

  // ── run ───────────────────────────────────────────────────────────────────

  #run({ type, jobs }: Unit): void {
    const processor = this.#processors.get(type)!;
    const deps = this.#attemptDeps!;
    const startedAt = this.#clock.now();
    this.#taken.add(type, 1);
    if (batchRulesOf(processor) === null) {
      const attempt = new Attempt(jobs[0]!, processor, deps);
      this.#running.add(attempt);
      void attempt.run().then((outcome) => {
        this.#pace.attemptTook(type, this.#clock.now() - startedAt);
        this.#ended(attempt, outcome, startedAt);
        this.#freeSlot(type);
      });
      return;
    }
    const { attempts, ended } = startBatch(jobs, processor as BatchProcessor, {
      deps,
      onEnded: (attempt, outcome) => this.#ended(attempt, outcome, startedAt),
    });
    for (const attempt of attempts) this.#running.add(attempt);
    void ended.then(() => this.#freeSlot(type));
  }

  #started(attempt: Attempt): void {
    const { job, processor } = attempt;
    if (processor.onStart) this.#hook("onStart", () => processor.onStart!(attempt.inHand!));
    if (this.events.hasListener("job.started")) {
      this.events.emit("job.started", { ...about(attempt), waitMs: Math.max(0, job.startedAt - job.runAt) });
    }
  }

  #ended(attempt: Attempt, outcome: Outcome | SettledElsewhere, startedAt: number): void {
    const { job, workerId } = attempt;
    const held = { job, workerId, attempt };
    const runMs = this.#clock.now() - startedAt;
    this.#running.delete(attempt);
    this.#breakers.ended(job, outcome);
    switch (outcome.kind) {
      case "committed":
        this.#settled(held, committed(attempt), "applied", runMs);
        break;
      case "lease_lost":
        this.#inHand.remove(job);
        this.events.emit("job.leaseLost", about(held));
        break;
      default:
        this.#settle(held, outcome, runMs);
    }
  }

  /** A job is processing until its settlement is durable, a slot is taken only until its handler ends. */
  #freeSlot(type: string): void {
    this.#endedAt = this.#clock.now();
    this.#taken.add(type, -1);
    this.#held.add(type, -1);
    // A slot is free for a type that the last claim did not ask for.
    this.#ends++;
    if (!this.#askedForAll) this.#lookAgain();
    this.#pumpSoon();
    this.#tellWhenQuiet();
  }

  // ── settle ────────────────────────────────────────────────────────────────

  #settle(held: HeldJob, outcome: Outcome, runMs = 0): void {
    const { type, retry, maxCrashes } = this.#processors.get(held.job.type)!.definition;
    const isBroken = this.#breakers.isBroken(type);
    this.#send(held, decide(held.job, outcome, { retry, maxCrashes, random: this.#random, isBroken }), runMs);
  }

  #send(held: HeldJob, settlement: Settlement, runMs: number): void {
    this.#settling++;
    this.#settlements.add(settlement).then(
      (result) => {
        this.#settling--;
        this.#settled(held, settlement, result, runMs);
        if (this.#settling === maxSettling - 1 || (this.#settling === 0 && this.#suspects.awaited !== null))
          this.#pumpSoon();
        this.#tellWhenQuiet();
      },
      (error: unknown) => {
        this.#settling--;
        this.#trouble(`settling job ${held.job.id}`, error);
        if (isRetryable(error) || settlement.kind === "fail") this.#sendLater(held, settlement, runMs);
        // A settlement that the store will never take must not leave its job processing for ever.
        else this.#settle(held, { kind: "failed", error: describeError(error), isRetryable: false }, runMs);
        this.#tellWhenQuiet();
      },
    );
  }

  /**
   * While this worker lives, nobody else may end the attempt: it must go on trying. A worker that stops tries once more;
   * what is then still not stored is found by upkeep.
   */
  #sendLater(held: HeldJob, settlement: Settlement, runMs: number): void {
    if (this.#state !== "running") return;
    const send = () => {
      cancelTimer();
      this.#unsent.delete(send);
      if (this.#lease?.workerId === held.workerId) this.#send(held, settlement, runMs);
    };
    const cancelTimer = this.#clock.setTimer(this.#timing.leaseMs / 3, send);
    this.#unsent.add(send);
  }

  /** Tells the subscribers and hooks what is now durable. */
  #settled(held: HeldJob, settlement: Settlement, result: SettleResult, runMs: number): void {
    this.#inHand.remove(held.job);
    this.#rollups.settled(held.job, { settlement, result, runMs });
    announceSettled(this.events, held, { settlement, result, runMs });
    const { attempt } = held;
    if (result !== "applied" || !attempt?.inHand) return;
    const { processor, inHand } = attempt;
    if (settlement.kind === "complete") {
      if (processor.onSuccess) this.#hook("onSuccess", () => processor.onSuccess!(inHand));
    } else if (settlement.kind === "retry") {
      const { error, delayMs } = settlement;
      this.#hook("onRetry", () => processor.onRetry?.(inHand, { error, delayMs }));
    } else if (settlement.kind === "fail") {
      const { error, reason } = settlement;
      this.#hook("onFailure", () => processor.onFailure?.(inHand, { error, reason }));
    }
  }

  // ── helpers ───────────────────────────────────────────────────────────────

  #unstarted(job: ClaimedJob): HeldJob {
    return { job, workerId: this.#lease?.workerId ?? "", attempt: null };
  }

  #hook(name: string, run: () => unknown): void {
    try {
      const running = run();
      if (running instanceof Promise) running.catch((error: unknown) => this.#trouble(`the hook ${name}`, error));
    } catch (error) {
      this.#trouble(`the hook ${name}`, error);
    }
  }

  #trouble(during: string, error: unknown): void {
    this.events.emit("worker.troubled", { during, error });
  }

  /** Resolves when nothing runs, nothing is being claimed and everything that ended is durable. */
  #quiet(): Promise<void> {
    return new Promise((resolve) => {
      this.#quietListeners.push(resolve);
      this.#tellWhenQuiet();
    });
  }

  #tellWhenQuiet(): void {
    if (this.#quietListeners.length === 0) return;
    if (this.#taken.total > 0 || this.#settling > 0 || this.#isClaiming) return;
    for (const tell of this.#quietListeners.splice(0)) tell();
  }
}

/** What the handler's own transaction has settled already. */
function committed({ job: { id, epoch }, children }: Attempt): Settlement {
  return { hold: { id, epoch }, kind: "complete", output: null, children };
}

type Asked = Pick<ClaimRequest, "limit" | "types"> & {
  /** Which group is asked for; null when its answer says nothing of a whole group. */
  readonly group: readonly Processor[] | null;
  /** Those that have slots. */
  readonly groups: readonly (readonly Processor[])[];
};

const nothing: Asked = { limit: 0, types: [], group: null, groups: [] };

function typeOf(processor: Processor, limit: number): ClaimedType {
  const { type, version, concurrency, controls } = processor.definition;
  const batch = batchRulesOf(processor);
  const company = batch === null || batch.min === 1 ? null : { min: batch.min, waitMs: batch.waitMs };
  return { type, limit, maxVersion: version, concurrency, controls, company, aged: 0 };
}

function inTurn<T>(all: readonly T[], turn: number): readonly T[] {
  const first = turn % Math.max(1, all.length);
  if (first === 0) return all;
  return [...all.slice(first), ...all.slice(0, first)];
}

function inGroups(processors: readonly Processor[]): readonly (readonly Processor[])[] {
  const single = processors.filter((processor) => batchRulesOf(processor) === null);
  const batches = processors.filter((processor) => batchRulesOf(processor) !== null).map((processor) => [processor]);
  return single.length === 0 ? batches : [single, ...batches];
}

/** Counts by type, and in all. */
class Counts {
  readonly #counts = new Map<string, number>();
  total = 0;

  of(type: string): number {
    return this.#counts.get(type) ?? 0;
  }

  add(type: string, count: number): void {
    this.#counts.set(type, this.of(type) + count);
    this.total += count;
  }
}

/** The store gave less than asked for, and not because a limit of ours cut it short. */
function isShort({ jobs }: ClaimAnswer, { limit, types }: ClaimRequest): boolean {
  if (jobs.length >= limit) return limit === 0;
  const taken = new Map<string, number>();
  for (const { type } of jobs) taken.set(type, (taken.get(type) ?? 0) + 1);
  return types.every(({ type, limit: typeLimit }) => typeLimit === 0 || (taken.get(type) ?? 0) < typeLimit);
}

function byType(processors: readonly Processor[]): ReadonlyMap<string, Processor> {
  const map = new Map<string, Processor>();
  for (const processor of processors) {
    const { type } = processor.definition;
    if (map.has(type)) {
      throw new JobsError("DUPLICATE_PROCESSOR", `Two processors were given for job type "${type}". Keep one.`, {
        type,
      });
    }
    map.set(type, processor);
  }
  return map;
}

function checkCount(option: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= 10_000) return value;
  throw new JobsError("INVALID_OPTIONS", `${option} is ${value}. Give a whole number from 1 to 10000.`, {
    option,
    value,
  });
}

function checkMs(option: string, value: number, least: number): number {
  if (Number.isFinite(value) && value >= least) return value;
  throw new JobsError("INVALID_OPTIONS", `${option} is ${value}. Give milliseconds from ${least}.`, { option, value });
}
