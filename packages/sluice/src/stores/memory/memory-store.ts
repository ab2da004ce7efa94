/**
 * The port in plain TypeScript: no speed, no durability, every rule where it can be read. The conformance suite and the
 * model tests hold the other stores against it. Each method does its work before its first await, so each is atomic.
 * Read downwards: enqueue, claim, settle, then what surrounds them.
 */
import type { Clock } from "../../clock.js";
import { JobsError } from "../../errors.js";
import { canMove, hasEnded } from "../../job.js";
import type { Hold, JobId, JobRecord, JobState } from "../../job.js";
import type {
  AmendAnswer,
  AuditQuery,
  AuditRecord,
  BeatAnswer,
  ClaimAnswer,
  ClaimedJob,
  ClaimRequest,
  EnqueueResult,
  JobHistory,
  ListPage,
  ListQuery,
  LostAnswer,
  NewJob,
  Note,
  OperatorCommand,
  Settlement,
  SettleResult,
  Step,
  StepResult,
  StepWrite,
  Store,
  TypeCounts,
  WakeHint,
  WorkerBeat,
  WorkerRecord,
} from "../../store.js";
import { amendMove, conflictMove, firstState, settledState } from "../../transition.js";
import { MemoryBlobs } from "./memory-blobs.js";
import { MemoryKeys } from "./memory-keys.js";
import { countByState, pageOf } from "./memory-reading.js";
import { byTurn, dueAt, newRow, toClaimed, toRecord } from "./memory-rows.js";
import type { Row } from "./memory-rows.js";
import { MemoryWorkers } from "./memory-workers.js";

const keptLines = 1_000;

type AmendResult = AmendAnswer["results"][number];

export class MemoryStore implements Store {
  readonly name = "memory";
  readonly capabilities = { transactions: "none", sharedAcrossProcesses: false } as const;
  readonly blobs = new MemoryBlobs();

  readonly #clock: Clock;
  readonly #rows = new Map<JobId, Row>();
  readonly #keys = new MemoryKeys();
  readonly #workers = new MemoryWorkers();
  readonly #typesSeen = new Set<string>();
  readonly #audit: AuditRecord[] = [];
  readonly #listeners = new Set<(hint: WakeHint) => void>();
  #insertions = 0;
  #hint = { work: false, ended: false };
  #isClosed = false;

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  // ── enqueue ───────────────────────────────────────────────────────────────

  async enqueue(jobs: readonly NewJob[]): Promise<readonly EnqueueResult[]> {
    const now = this.#open();
    const results = jobs.map((job) => this.#enqueueOne(job, now));
    this.#announce();
    return results;
  }

  #enqueueOne(job: NewJob, now: number): EnqueueResult {
    const sentBefore = this.#rows.get(job.id);
    if (sentBefore !== undefined) return created(sentBefore);

    const state = firstState(dueAt(job, now), now);
    // Also when the holder waits again (a retry), and when its period is over: the newest payload must be the one that runs last.
    const successor = job.unique?.onConflict === "rerun" ? this.#keys.successor(job.unique.key) : undefined;
    if (successor !== undefined) return this.#replace(successor, job, now);

    const holder = job.unique === null ? undefined : this.#keys.holder(job.unique.key, now);
    if (job.unique === null || holder === undefined) {
      const row = this.#insert(job, state, now);
      this.#keys.take(row);
      return created(row);
    }

    switch (conflictMove(job.unique.onConflict, holder.job.state)) {
      case "keep":
        return { outcome: "duplicate", job: toRecord(holder) };
      case "replace":
        return this.#replace(holder, job, now);
      case "block": {
        const row = this.#insert(job, "blocked", now);
        this.#keys.wait(row);
        return created(row);
      }
    }
  }

  #insert(job: NewJob, state: JobState, now: number): Row {
    const row = newRow(job, { state, now, insertion: this.#insertions });
    this.#insertions += 1;
    this.#rows.set(job.id, row);
    this.#typesSeen.add(job.type);
    this.#note(state);
    return row;
  }

  /**
   * The waiting job takes what the new one brings, and keeps its id, its age, its epoch and its place among equals. With the
   * payload it has already, it also keeps what was done and spent on that.
   */
  #replace(row: Row, newer: NewJob, now: number): EnqueueResult {
    const due = dueAt(newer, now);
    const isOtherPayload = row.job.payload !== newer.payload;
    row.job.version = newer.version;
    row.job.payload = newer.payload;
    row.job.priority = newer.priority;
    row.job.runAt = due ?? now;
    if (row.blob !== newer.blob) this.blobs.removeNow(row.blob);
    row.blob = newer.blob;

    const state = firstState(due, now);
    if (row.job.state !== "blocked" && row.job.state !== state) this.#move(row, state, now);
    if (isOtherPayload) {
      startAfresh(row);
      row.job.maxAttempts = newer.maxAttempts;
      row.job.correlation = structuredClone(newer.correlation);
      row.job.trace = structuredClone(newer.trace);
    }
    this.#note(row.job.state);
    return { outcome: "replaced", job: toRecord(row) };
  }

  // ── claim ─────────────────────────────────────────────────────────────────

  async claim(request: ClaimRequest): Promise<ClaimAnswer> {
    const now = this.#open();
    const types = new Set(request.types.map(({ type }) => type));
    this.#promote(types, now);

    const jobs: ClaimedJob[] = [];
    for (const { type, limit, maxVersion } of this.#workers.isLost(request.workerId) ? [] : request.types) {
      const turns = this.#select(({ job }) => job.state === "pending" && job.type === type && job.version <= maxVersion)
        .sort(byTurn)
        .slice(0, Math.max(0, Math.min(limit, request.limit - jobs.length)));
      for (const row of turns) jobs.push(this.#start(row, request.workerId, now));
    }

    this.#announce();
    return { jobs, nextDueInMs: this.#nextDueInMs(types, now), cancels: this.#cancelsOf(request.workerId) };
  }

  /** Scheduled and retrying jobs whose time has come become pending, in the place that their due time gives them. */
  #promote(types: ReadonlySet<string>, now: number): void {
    for (const row of this.#select(({ job }) => isTimed(job) && types.has(job.type) && job.runAt <= now)) {
      this.#move(row, "pending", now, row.job.runAt);
    }
  }

  #start(row: Row, workerId: string, now: number): ClaimedJob {
    this.#move(row, "processing", now);
    row.job.workerId = workerId;
    row.job.startedAt = now;
    row.job.attempt += 1;
    row.job.epoch += 1;
    if (row.unique?.holdWhile === "pending") this.#giveBackKey(row, now);
    return toClaimed(row);
  }

  #nextDueInMs(types: ReadonlySet<string>, now: number): number | null {
    const waits = this.#select(({ job }) => isTimed(job) && types.has(job.type)).map(({ job }) => job.runAt - now);
    return waits.length === 0 ? null : Math.min(...waits);
  }

  #cancelsOf(workerId: string): readonly Hold[] {
    return this.#select(({ job }) => isHeldBy(job, workerId) && job.isCancelRequested).map(({ job }) => ({
      id: job.id,
      epoch: job.epoch,
    }));
  }

  // ── settle ────────────────────────────────────────────────────────────────

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const now = this.#open();
    const results = settlements.map((settlement) => this.#settleOne(settlement, now));
    this.#announce();
    return results;
  }

  #settleOne(settlement: Settlement, now: number): SettleResult {
    const row = this.#held(settlement.hold);
    if (row === undefined) return "lease_lost";

    const { job } = row;
    this.#recordAttempt(row, settlement, now);
    const { state, result } = settledState(settlement.kind, job.isCancelRequested);
    switch (settlement.kind) {
      case "complete":
        job.output = settlement.output;
        break;
      case "fail":
        job.failReason = settlement.reason;
        if (!settlement.isCharged) job.attempt -= 1;
        break;
      case "cancel":
        // The reason that somebody gave for the cancellation says more than that the handler obeyed.
        job.cancelReason ??= settlement.reason;
        break;
      case "retry":
        if (state === "retrying") job.runAt = now + settlement.delayMs;
        break;
      case "snooze":
        job.attempt -= 1;
        if (state === "scheduled") job.runAt = now + settlement.delayMs;
        break;
      case "release":
        job.attempt -= 1;
        break;
    }

    this.#move(row, state, now, settlement.kind === "release" ? row.rank : now);
    // It waits again. If another job has the key by now, both wait: turning one away now would lose it.
    if (!hasEnded(state) && row.unique?.holdWhile === "pending") this.#keys.takeIfFree(row, now);
    // After the move: a child may take over the key that its parent has just given back.
    if (settlement.kind === "complete") for (const child of settlement.children) this.#enqueueOne(child, now);
    return result;
  }

  /** The row, while the hold is good. */
  #held({ id, epoch }: Hold): Row | undefined {
    const row = this.#rows.get(id);
    return row?.job.state === "processing" && row.job.epoch === epoch ? row : undefined;
  }

  /** An attempt that ends with an error joins the history. */
  #recordAttempt({ job, attempts }: Row, settlement: Settlement, now: number): void {
    if (settlement.kind !== "retry" && settlement.kind !== "fail") return;
    if (settlement.hasCrashed) job.crashes += 1;
    job.error = structuredClone(settlement.error);
    attempts.push({
      attempt: job.attempt,
      epoch: job.epoch,
      workerId: job.workerId ?? "",
      startedAt: job.startedAt ?? now,
      endedAt: now,
      crashed: settlement.hasCrashed,
      error: job.error,
    });
  }

  // ── the one place where a job changes its state ───────────────────────────

  /** @param rank The instant that decides its turn if it becomes pending: not always the present. */
  #move(row: Row, to: JobState, now: number, rank = now): void {
    const { job } = row;
    if (!canMove(job.state, to))
      throw new TypeError(`The memory store tried to move a job from ${job.state} to ${to}.`);

    job.state = to;
    if (to === "pending") row.rank = rank;
    if (to !== "processing" && to !== "completed") job.workerId = null;
    job.isCancelRequested = false;
    if (to !== "cancelled") job.cancelReason = null;
    job.finishedAt = hasEnded(to) ? now : null;
    if (hasEnded(to)) this.#giveBackKey(row, now);
    this.#note(to);
  }

  /** In the same step, the job that waits for the key becomes runnable. */
  #giveBackKey(row: Row, now: number): void {
    const successor = this.#keys.giveBack(row);
    if (successor !== undefined) this.#move(successor, firstState(successor.job.runAt, now), now);
  }

  // ── steps and notes ───────────────────────────────────────────────────────

  async remember(steps: readonly StepWrite[]): Promise<readonly StepResult[]> {
    this.#open();
    return steps.map(({ hold, name, output }) => {
      const row = this.#held(hold);
      if (row === undefined) return { result: "lease_lost" };
      const known = row.steps.find((step) => step.name === name);
      if (known !== undefined) return { result: "known", output: known.output };
      row.steps.push({ name, output });
      return { result: "remembered" };
    });
  }

  async recall(id: JobId): Promise<readonly Step[]> {
    this.#open();
    return structuredClone(this.#rows.get(id)?.steps ?? []);
  }

  async annotate(notes: readonly Note[]): Promise<readonly ("applied" | "lease_lost")[]> {
    this.#open();
    return notes.map(({ hold, progress, lines }) => {
      const row = this.#held(hold);
      if (row === undefined) return "lease_lost";
      if (progress !== null) row.job.progress = { ...progress };
      row.lines.push(...structuredClone(lines));
      row.lines.splice(0, row.lines.length - keptLines);
      return "applied";
    });
  }

  // ── workers ───────────────────────────────────────────────────────────────

  async heartbeat(beat: WorkerBeat): Promise<BeatAnswer> {
    const now = this.#open();
    return { lease: this.#workers.beat(beat, now), cancels: this.#cancelsOf(beat.workerId) };
  }

  async retire(workerId: string): Promise<void> {
    this.#open();
    this.#workers.retire(workerId, { isHoldingJobs: this.#heldBy(workerId).length > 0 });
  }

  async findLost({ limit }: { readonly limit: number }): Promise<LostAnswer> {
    const now = this.#open();
    const workers = this.#workers.loseExpired(now);
    const jobs = this.#select(({ job }) => job.state === "processing" && this.#workers.isLost(job.workerId))
      .sort((a, b) => (a.job.startedAt ?? 0) - (b.job.startedAt ?? 0) || a.insertion - b.insertion)
      .slice(0, limit)
      .map((row) => ({ ...toClaimed(row), workerId: row.job.workerId ?? "" }));
    return { workers, jobs };
  }

  async workers(): Promise<readonly WorkerRecord[]> {
    this.#open();
    return [...this.#workers.all()].map((worker) =>
      structuredClone({ ...worker, processing: this.#heldBy(worker.workerId).length }),
    );
  }

  #heldBy(workerId: string): readonly Row[] {
    return this.#select(({ job }) => isHeldBy(job, workerId));
  }

  // ── operators ─────────────────────────────────────────────────────────────

  async amend(command: OperatorCommand): Promise<AmendAnswer> {
    const now = this.#open();
    const { target } = command;
    const { ids, next } = "ids" in target ? { ids: target.ids, next: null } : this.#idsOf(target);
    const results = ids.map((id) => this.#amendOne(id, command, now));
    this.#announce();
    return { results, next };
  }

  #idsOf(query: ListQuery): { readonly ids: readonly JobId[]; readonly next: JobId | null } {
    const { rows, next } = pageOf(this.#rows.values(), query);
    return { ids: rows.map(({ job }) => job.id), next };
  }

  #amendOne(id: JobId, command: OperatorCommand, now: number): AmendResult {
    const row = this.#rows.get(id);
    if (row === undefined) return { id, outcome: "not_found", state: null };

    const { job } = row;
    const { state, payload } = job;
    const move = amendMove(command.action, state);
    if (move === "wrong_state") return { id, outcome: move, state };

    const isRevived = state === "failed" && typeof move === "object" && move.to === "pending";
    if (isRevived && !this.#startOver(row, now)) return { id, outcome: "key_taken", state };

    if (command.action === "edit") {
      if (command.payload !== payload) startAfresh(row);
      job.payload = command.payload;
      job.version = command.version;
    }
    if (move === "request_cancel") {
      job.isCancelRequested = true;
      job.cancelReason = command.reason;
      this.#hint.work = true;
    } else if (move !== "edit_in_place") {
      if (move.to === "pending") job.runAt = now;
      if (move.to === "cancelled") job.cancelReason = command.reason;
      this.#move(row, move.to, now);
    }

    this.#audit.push({
      at: now,
      actor: command.actor,
      action: command.action,
      jobId: id,
      jobType: job.type,
      stateBefore: state,
      stateAfter: job.state,
      payloadBefore: command.action === "edit" ? payload : null,
      reason: command.reason,
    });
    return { id, outcome: move === "request_cancel" ? "requested" : "applied", state: job.state };
  }

  /**
   * A fresh budget, and its key again; false when one that it must hold belongs to another job by now. Epoch, steps and history stay.
   */
  #startOver(row: Row, now: number): boolean {
    const holdWhile = row.unique?.holdWhile ?? "period";
    if (holdWhile !== "period" && !this.#keys.takeIfFree(row, now) && holdWhile === "active") return false;
    Object.assign(row.job, { attempt: 0, crashes: 0, error: null, failReason: null });
    return true;
  }

  // ── reading ───────────────────────────────────────────────────────────────

  async get(ids: readonly JobId[]): Promise<readonly (JobRecord | null)[]> {
    this.#open();
    return ids.map((id) => {
      const row = this.#rows.get(id);
      return row === undefined ? null : toRecord(row);
    });
  }

  async history(id: JobId): Promise<JobHistory> {
    this.#open();
    const { attempts, lines } = this.#rows.get(id) ?? { attempts: [], lines: [] };
    return structuredClone({ attempts, lines });
  }

  async list(query: ListQuery): Promise<ListPage> {
    this.#open();
    const { rows, next } = pageOf(this.#rows.values(), query);
    return { jobs: rows.map(toRecord), next };
  }

  async counts({ types }: { readonly types?: readonly string[] } = {}): Promise<readonly TypeCounts[]> {
    this.#open();
    const wanted = [...this.#typesSeen].filter((type) => types === undefined || types.includes(type));
    return countByState(this.#rows.values(), wanted);
  }

  async audit({ jobId, limit }: AuditQuery): Promise<readonly AuditRecord[]> {
    this.#open();
    const records = this.#audit.filter((record) => jobId === undefined || record.jobId === jobId);
    return structuredClone(records.reverse().slice(0, limit));
  }

  #select(isWanted: (row: Row) => boolean): Row[] {
    return [...this.#rows.values()].filter(isWanted);
  }

  // ── hints and upkeep ──────────────────────────────────────────────────────

  subscribe(listener: (hint: WakeHint) => void): () => void {
    // Wrapped, so that one function subscribed twice is two subscriptions.
    const entry = (hint: WakeHint) => listener(hint);
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  #note(state: JobState): void {
    if (state === "pending" || state === "scheduled" || state === "retrying") this.#hint.work = true;
    if (hasEnded(state)) this.#hint.ended = true;
  }

  /** Tells the listeners what this call has changed, after its answer is on its way. */
  #announce(): void {
    const hint = this.#hint;
    if (!hint.work && !hint.ended) return;
    this.#hint = { work: false, ended: false };
    for (const listener of this.#listeners) {
      queueMicrotask(() => this.#listeners.has(listener) && listener(hint));
    }
  }

  async prune({ retentionMs, limit }: { readonly retentionMs: number; readonly limit: number }) {
    const now = this.#open();
    const old = this.#select(({ job }) => isPrunable(job) && now - (job.finishedAt ?? now) > retentionMs)
      .filter((row) => !this.#keys.isKeeping(row, now))
      .sort((a, b) => (a.job.finishedAt ?? 0) - (b.job.finishedAt ?? 0) || a.insertion - b.insertion)
      .slice(0, limit);
    for (const row of old) {
      this.#rows.delete(row.job.id);
      this.#keys.forget(row);
      this.blobs.removeNow(row.blob);
    }
    return { pruned: old.length };
  }

  async migrate(): Promise<void> {
    this.#open();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
  }

  /** The present, as long as the store is open. */
  #open(): number {
    if (this.#isClosed) throw new JobsError("STORE_CLOSED", "The memory store was closed. Open a new one.");
    return this.#clock.now();
  }
}

/** A waiting or failed job takes another payload: what was done and spent on the old one is not the new one's. */
function startAfresh({ job, steps }: Row): void {
  steps.length = 0;
  // A job that waits for its backoff still shows what it waits after.
  Object.assign(job, { attempt: 0, crashes: 0, progress: null, error: job.state === "retrying" ? job.error : null });
}

function created({ job }: Row): EnqueueResult {
  const { state, createdAt, runAt } = job;
  // A job that was sent before may have moved on; it was runnable once.
  const first = state === "scheduled" || state === "blocked" ? state : "pending";
  return { outcome: "created", state: first, createdAt, runAt };
}

function isTimed({ state }: JobRecord): boolean {
  return state === "scheduled" || state === "retrying";
}

function isHeldBy({ state, workerId }: JobRecord, worker: string): boolean {
  return state === "processing" && workerId === worker;
}

function isPrunable({ state }: JobRecord): boolean {
  return state === "completed" || state === "cancelled";
}
