/**
 * The loop: claim → attempt → settle. Owns the slots, the prefetched jobs and the lease; policy is in settlement.ts,
 * running one handler is in attempt.ts.
 */
import { about, announceSettled } from "./announce.js";
import { Attempt, describeError, type AttemptDeps, type SettledElsewhere } from "./attempt.js";
import { Batcher } from "./batcher.js";
import { systemClock, type Clock } from "./clock.js";
import type { AnyDefinition } from "./definition.js";
import { isRetryable, JobsError } from "./errors.js";
import { Events } from "./events.js";
import { idSource } from "./ids.js";
import type { Hold } from "./job.js";
import { InHand } from "./in-hand.js";
import { Lease } from "./lease.js";
import { Pace } from "./pace.js";
import type { Middleware, Processor } from "./processor.js";
import { decide, type Outcome } from "./settlement.js";
import type { ClaimAnswer, ClaimedJob, ClaimRequest, SettleResult, Settlement, Store, WorkedType } from "./store.js";
import { Upkeep } from "./upkeep.js";

export interface WorkerOptions<Tx> {
  readonly store: Store<Tx>;
  readonly processors: readonly Processor<AnyDefinition, NoInfer<Tx>>[];
  /** Handlers running at once, all types together. Default 10. */
  readonly concurrency?: number;
  /** Handlers of one type running at once in this worker. Default: the whole concurrency. */
  readonly typeConcurrency?: Readonly<Record<string, number>>;
  /** How long the worker may be silent before its jobs are given to others. Default 15,000; renewed every third of it. */
  readonly leaseMs?: number;
  /** The lease is not renewed while the event loop has been blocked for longer than this. Default 60,000. */
  readonly stuckAfterMs?: number;
  /** The longest sleep between looks at the store when nothing wakes the worker. Default 1,000. */
  readonly pollMs?: number;
  /** How long a handler may take to end after its signal fired, before its slot is freed without it. Default 5,000. */
  readonly abortGraceMs?: number;
  /** How long completed and cancelled jobs are kept. Default 7 days. */
  readonly retentionMs?: number;
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
  readonly #concurrency: number;
  readonly #typeConcurrency: Readonly<Record<string, number>>;
  readonly #timing: { leaseMs: number; stuckAfterMs: number; pollMs: number; abortGraceMs: number };
  readonly #middleware: Middleware[] = [];
  readonly #pace = new Pace();
  readonly #settlements: Batcher<Settlement, SettleResult>;
  readonly #upkeep: Upkeep;

  #state: "new" | "running" | "stopping" | "stopped" = "new";
  #starting: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | null = null;
  #lease: Lease | null = null;
  #attemptDeps: AttemptDeps | null = null;
  #unsubscribe: (() => void) | null = null;

  /** Claimed and not started. */
  #prefetched: ClaimedJob[] = [];
  /** Attempts, not jobs: after a lost lease an old attempt may linger while a new one of the same job runs. */
  readonly #running = new Set<Attempt>();
  /** Prefetched and running, by type. */
  readonly #held = new Map<string, number>();
  readonly #inHand = new InHand();
  #recountedAt = 0;
  #settling = 0;
  /** Settlements that the store could not take; calling one sends it again. */
  readonly #unsent = new Set<() => void>();
  #isClaiming = false;
  #isPumpScheduled = false;
  /** The store had nothing more when last asked, and nothing has woken the worker since. */
  #isDrained = false;
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
    this.#concurrency = checkCount("concurrency", options.concurrency ?? 10);
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
    this.#upkeep = new Upkeep({
      store: this.#store,
      clock: this.#clock,
      events: this.events,
      random: this.#random,
      retryOf: (type) => this.#processors.get(type)?.definition.retry,
      rescueEveryMs: Math.min(this.#timing.leaseMs / 3, 2_000),
      retentionMs: checkMs("retentionMs", options.retentionMs ?? 7 * 24 * 60 * 60 * 1_000, 0),
    });
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
    this.#unsubscribe = this.#store.subscribe((hint) => {
      if (hint.work || (hint.ended && this.#limited.size > 0)) this.#wake();
    });
    this.#upkeep.start();
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
      this.#releasePrefetched();
      for (const send of this.#unsent) send();
      const cancelGrace = this.#clock.setTimer(graceMs, () => {
        for (const attempt of this.#running) attempt.abort("shutdown");
      });
      await this.#quiet();
      cancelGrace();
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
    return [...this.#processors.values()].map(({ definition: { type, version, concurrency } }) => {
      const slots = Math.min(this.#concurrency, this.#typeConcurrency[type] ?? Infinity);
      return { type, version, concurrency, slots };
    });
  }

  /** Fences itself: everything in hand belongs to others now. Goes on under a new id. */
  #lostLease(workerId: string): void {
    this.events.emit("worker.leaseLost", { workerId });
    this.#lease = null;
    for (const job of this.#prefetched.splice(0)) {
      this.#letGo(job.type);
      this.#inHand.remove(job);
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
      const index = this.#prefetched.findIndex((job) => job.id === id && job.epoch === epoch);
      if (index >= 0) {
        const [job] = this.#prefetched.splice(index, 1);
        this.#letGo(job!.type);
        this.#settle(this.#unstarted(job!), { kind: "cancelled", reason: "requested" });
      }
    }
  }

  // ── claim ─────────────────────────────────────────────────────────────────

  #wake(): void {
    this.#wakes++;
    this.#isDrained = false;
    this.#pumpSoon();
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
    let next = 0;
    while (next < this.#prefetched.length && this.#running.size < this.#concurrency)
      this.#run(this.#prefetched[next++]!);
    if (next > 0) this.#prefetched.splice(0, next);

    if (this.#isClaiming || this.#isDrained || this.#settling >= maxSettling) return;
    const request = this.#claimRequest(this.#lease.workerId);
    if (request === "later") return;
    if (request.limit === 0 && this.#clock.now() - this.#claimedAt < cancelCheckMs) {
      this.#sleep(cancelCheckMs);
      return;
    }
    void this.#claim(request);
  }

  /** Asks for the free slots, and for what they will run through while the answer is on its way. */
  #claimRequest(workerId: string): ClaimRequest | "later" {
    const free = this.#concurrency - this.#running.size - this.#prefetched.length;
    // Handlers that stand still have no use for more jobs, however quick they were before.
    const isStuck = this.#running.size >= this.#concurrency && this.#clock.now() - this.#endedAt >= maxIdleMs;
    let prefetch = 0;
    const types = [];
    for (const { definition } of this.#inTurn()) {
      const { type, retry, concurrency } = definition;
      const local = this.#typeConcurrency[type];
      // A crash charges what was claimed ahead: a type that has one attempt only would lose jobs that never ran. And what waits here
      // takes its place from other processes where only so many may be processing.
      const isLimited = local !== undefined || concurrency !== null || this.#limited.has(type);
      const mayClaimAhead = !isLimited && retry.attempts > 1 && !isStuck;
      const ahead = mayClaimAhead ? this.#pace.prefetchFor(type, this.#concurrency) : 0;
      const limit = local === undefined ? free + ahead : Math.min(free, local - (this.#held.get(type) ?? 0));
      if (ahead > prefetch) prefetch = ahead;
      if (limit > 0) types.push({ type, limit, maxVersion: definition.version, concurrency });
    }
    const limit = types.length === 0 ? 0 : Math.max(0, free + prefetch);
    // With fast jobs, one claim for many beats many for one: wait until half of what was claimed ahead is used up.
    if (limit > 0 && limit < prefetch / 2) return "later";
    if (limit === 0 && this.#running.size === 0) return "later";
    if (limit > 0) this.#turn++;
    return { workerId, limit, types };
  }

  /** Each type gets to be first in turn. */
  #inTurn(): readonly Processor[] {
    const processors = [...this.#processors.values()];
    const first = this.#turn % processors.length;
    return [...processors.slice(first), ...processors.slice(0, first)];
  }

  async #claim(request: ClaimRequest): Promise<void> {
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

    for (const job of [...strays, ...answer.jobs]) {
      this.#held.set(job.type, (this.#held.get(job.type) ?? 0) + 1);
      this.#inHand.add(job);
      this.#prefetched.push(job);
    }
    if (this.#state !== "running" || this.#lease?.workerId !== request.workerId) {
      this.#releasePrefetched();
      this.#tellWhenQuiet();
      // Under another id by now: what woke the worker meanwhile found it claiming.
      this.#pumpSoon();
      return;
    }
    this.#cancel(answer.cancels);
    this.#limited = new Set(answer.limited);

    this.#askedForAll = request.limit > 0 && request.types.length === this.#processors.size;
    const isNewsFree = this.#wakes === wakes && (this.#askedForAll || this.#ends === ends);
    this.#isDrained = isNewsFree && isShort(answer, request);
    this.#pump();
    if (this.#isDrained) this.#sleep(Math.min(answer.nextDueInMs ?? Infinity, this.#timing.pollMs));
    if (this.#prefetched.length > 0) this.#checkIdle();
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
      this.#isDrained = false;
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
    for (const job of this.#prefetched.splice(0)) {
      this.#letGo(job.type);
      this.#settle(this.#unstarted(job), { kind: "interrupted" });
    }
  }

  // ── run ───────────────────────────────────────────────────────────────────

  #run(job: ClaimedJob): void {
    const attempt = new Attempt(job, this.#processors.get(job.type)!, this.#attemptDeps!);
    const startedAt = this.#clock.now();
    this.#running.add(attempt);
    void attempt.run().then((outcome) => this.#ended(attempt, outcome, startedAt));
  }

  #started(attempt: Attempt): void {
    const { job, processor } = attempt;
    if (processor.onStart) this.#hook("onStart", () => processor.onStart!(attempt.inHand!));
    if (this.events.hasListener("job.started")) {
      this.events.emit("job.started", { ...about(attempt), waitMs: Math.max(0, job.startedAt - job.runAt) });
    }
  }

  /** Frees the slot: a job is processing until its settlement is durable, a slot only until its handler ends. */
  #ended(attempt: Attempt, outcome: Outcome | SettledElsewhere, startedAt: number): void {
    const { job, workerId } = attempt;
    const held = { job, workerId, attempt };
    this.#endedAt = this.#clock.now();
    const runMs = this.#endedAt - startedAt;
    this.#running.delete(attempt);
    this.#letGo(job.type);
    this.#pace.attemptTook(job.type, runMs);
    switch (outcome.kind) {
      case "committed":
        this.#settled(held, committed(job), "applied", runMs);
        break;
      case "lease_lost":
        this.#inHand.remove(job);
        this.events.emit("job.leaseLost", about(held));
        break;
      default:
        this.#settle(held, outcome, runMs);
    }
    // A slot is free for a type that the last claim did not ask for.
    this.#ends++;
    if (!this.#askedForAll) this.#isDrained = false;
    this.#pumpSoon();
    this.#tellWhenQuiet();
  }

  // ── settle ────────────────────────────────────────────────────────────────

  #settle(held: HeldJob, outcome: Outcome, runMs = 0): void {
    const { retry } = this.#processors.get(held.job.type)!.definition;
    this.#send(held, decide(held.job, outcome, { retry, random: this.#random }), runMs);
  }

  #send(held: HeldJob, settlement: Settlement, runMs: number): void {
    this.#settling++;
    this.#settlements.add(settlement).then(
      (result) => {
        this.#settling--;
        this.#settled(held, settlement, result, runMs);
        if (this.#settling === maxSettling - 1) this.#pumpSoon();
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

  #letGo(type: string): void {
    this.#held.set(type, (this.#held.get(type) ?? 1) - 1);
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
    if (this.#running.size > 0 || this.#settling > 0 || this.#isClaiming) return;
    for (const tell of this.#quietListeners.splice(0)) tell();
  }
}

/** What the handler's own transaction has settled already. */
function committed({ id, epoch }: ClaimedJob): Settlement {
  return { hold: { id, epoch }, kind: "complete", output: null, children: [] };
}

/** The store gave less than asked for, and not because a limit of ours cut it short. */
function isShort({ jobs }: ClaimAnswer, { limit, types }: ClaimRequest): boolean {
  if (jobs.length >= limit) return limit === 0;
  const taken = new Map<string, number>();
  for (const { type } of jobs) taken.set(type, (taken.get(type) ?? 0) + 1);
  return types.every(({ type, limit: typeLimit }) => (taken.get(type) ?? 0) < typeLimit);
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
