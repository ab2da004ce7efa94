/**
 * The port in plain TypeScript: no speed, no durability. The conformance suite and the model tests hold the other stores against
 * it. Each method does its work before its first await, so each is atomic; what enqueue, settle and amend do to a job is moves.ts.
 * Read downwards: enqueue, claim, settle, then what surrounds them.
 */
import type { Clock } from "../../clock.js";
import { JobsError } from "../../errors.js";
import type { Hold, JobId, JobRecord } from "../../job.js";
import type {
  AmendAnswer,
  AuditQuery,
  AuditRecord,
  BeatAnswer,
  ClaimAnswer,
  ClaimedJob,
  ClaimedType,
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
  Standing,
  Step,
  StepResult,
  StepWrite,
  Store,
  TypeCounts,
  WakeHint,
  WorkerBeat,
  WorkerRecord,
} from "../../store.js";
import { agedAfterMs } from "../../aging.js";
import { admit, companyUntil, gateOf, isLimited } from "../../admission.js";
import { amendOne, enqueueOne, giveBackKey, held, hold, move, replan, settleOne, toRecord } from "../../moves.js";
import { changeSettings, doesReplan } from "../../settings.js";
import type { SettingsAnswer, SettingsChange, SettingsRecord, TypeSettings } from "../../settings.js";
import { MemoryBlobs } from "./memory-blobs.js";
import { MemoryBook } from "./memory-book.js";
import { countByState, pageOf } from "./memory-reading.js";
import { byAge, byTurn, toClaimed } from "./memory-rows.js";
import type { MemoryRow } from "./memory-rows.js";
import { standing } from "./memory-standing.js";
import { MemoryWorkers } from "./memory-workers.js";

const keptLines = 1_000;

export class MemoryStore implements Store {
  readonly name = "memory";
  readonly capabilities = { transactions: "none", sharedAcrossProcesses: false } as const;
  readonly blobs = new MemoryBlobs();

  readonly #clock: Clock;
  readonly #book = new MemoryBook(this.blobs);
  readonly #workers = new MemoryWorkers();
  readonly #settingsHistory: SettingsRecord[] = [];
  readonly #listeners = new Set<(hint: WakeHint) => void>();
  #isClosed = false;

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  // ── enqueue ───────────────────────────────────────────────────────────────

  async enqueue(jobs: readonly NewJob[]): Promise<readonly EnqueueResult[]> {
    this.#open();
    const results = jobs.map((job) => enqueueOne(this.#book, job));
    this.#announce();
    return results;
  }

  // ── claim ─────────────────────────────────────────────────────────────────

  async claim(request: ClaimRequest): Promise<ClaimAnswer> {
    const now = this.#open();
    const types = new Set(request.types.map(({ type }) => type));
    this.#promote(types, now);

    const jobs: ClaimedJob[] = [];
    const nextAts: number[] = [];
    const isLost = this.#workers.isLost(request.workerId);
    for (const wanted of request.types) {
      const limit = isLost ? 0 : Math.min(wanted.limit, request.limit - jobs.length);
      const { started, nextAt } = this.#claimOf(wanted, limit, now);
      for (const row of started) jobs.push(this.#start(row, request.workerId, now));
      if (nextAt !== null) nextAts.push(nextAt);
    }

    this.#announce();
    return {
      jobs,
      nextDueInMs: this.#nextDueInMs(types, nextAts, now),
      cancels: this.#cancelsOf(request.workerId),
      limited: request.types
        .filter((wanted) => isLimited(this.#book.settingsOf(wanted.type), wanted))
        .map(({ type }) => type),
    };
  }

  /** Those in turn that may start; those that may not are put where they wait. */
  #claimOf(wanted: ClaimedType, limit: number, now: number) {
    const { type, maxVersion } = wanted;
    const processing = this.#book.select(({ job }) => job.state === "processing" && job.type === type);
    const gate = gateOf(this.#book.settingsOf(type), wanted, { now, processing: () => processing.length });
    gate.spent = this.#book.spent;
    for (const { job } of processing) {
      const key = job.controls?.concurrencyKey;
      if (key != null) gate.processing.set(key, (gate.processing.get(key) ?? 0) + 1);
    }
    const started: MemoryRow[] = [];
    const candidates = this.#book
      .select(({ job }) => job.state === "pending" && job.type === type && job.version <= maxVersion)
      .sort(byTurn);
    const most = Math.max(0, Math.min(limit, gate.room, candidates.length));
    const until =
      candidates.length === 0
        ? null
        : companyUntil(wanted.company, { jobs: most, firstDueAt: candidates[0]!.job.runAt }, now);
    if (until !== null) return { started, nextAt: until };
    candidates.unshift(...takeAged(candidates, wanted.aged, now));
    for (const row of limit > 0 ? candidates : []) {
      if (started.length === limit) break;
      const verdict = admit(gate, type, row.job);
      if (verdict === "wait") break;
      if (verdict === "start") started.push(row);
      else hold(this.#book, row, verdict === "block" ? "concurrency_key" : verdict);
    }
    return { started, nextAt: gate.nextAt };
  }

  /** Scheduled and retrying jobs whose time has come become pending, in the place that their due time gives them. */
  #promote(types: ReadonlySet<string>, now: number): void {
    for (const row of this.#book.select(({ job }) => isTimed(job) && types.has(job.type) && job.runAt <= now)) {
      move(this.#book, row, "pending", row.job.runAt);
    }
  }

  #start(row: MemoryRow, workerId: string, now: number): ClaimedJob {
    move(this.#book, row, "processing");
    row.job.workerId = workerId;
    row.job.startedAt = now;
    row.job.attempt += 1;
    row.job.epoch += 1;
    if (row.unique?.holdWhile === "pending") giveBackKey(this.#book, row);
    return toClaimed(row);
  }

  #nextDueInMs(types: ReadonlySet<string>, nextAts: readonly number[], now: number): number | null {
    const dues = this.#book.select(({ job }) => isTimed(job) && types.has(job.type)).map(({ job }) => job.runAt);
    const next = Math.min(...dues, ...nextAts);
    return next === Infinity ? null : Math.max(0, next - now);
  }

  #cancelsOf(workerId: string): readonly Hold[] {
    return this.#book
      .select(({ job }) => isHeldBy(job, workerId) && job.isCancelRequested)
      .map(({ job }) => ({
        id: job.id,
        epoch: job.epoch,
      }));
  }

  // ── settle ────────────────────────────────────────────────────────────────

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    this.#open();
    const results = settlements.map((settlement) => settleOne(this.#book, settlement));
    this.#announce();
    return results;
  }

  // ── steps and notes ───────────────────────────────────────────────────────

  async remember(steps: readonly StepWrite[]): Promise<readonly StepResult[]> {
    this.#open();
    return steps.map(({ hold, name, output }) => {
      const row = held(this.#book, hold);
      if (row === undefined) return { result: "lease_lost" };
      const known = row.steps.find((step) => step.name === name);
      if (known !== undefined) return { result: "known", output: known.output };
      row.steps.push({ name, output });
      return { result: "remembered" };
    });
  }

  async recall(id: JobId): Promise<readonly Step[]> {
    this.#open();
    return structuredClone(this.#book.rows.get(id)?.steps ?? []);
  }

  async annotate(notes: readonly Note[]): Promise<readonly ("applied" | "lease_lost")[]> {
    this.#open();
    return notes.map(({ hold, progress, lines }) => {
      const row = held(this.#book, hold);
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

  async heldBy(workerId: string): Promise<readonly ClaimedJob[]> {
    this.#open();
    return this.#heldBy(workerId).sort(byAge).map(toClaimed);
  }

  async findLost({ limit }: { readonly limit: number }): Promise<LostAnswer> {
    const now = this.#open();
    const workers = this.#workers.loseExpired(now);
    const jobs = this.#book
      .select(({ job }) => job.state === "processing" && this.#workers.isLost(job.workerId))
      .sort(byAge)
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

  #heldBy(workerId: string): MemoryRow[] {
    return this.#book.select(({ job }) => isHeldBy(job, workerId));
  }

  // ── operators ─────────────────────────────────────────────────────────────

  async amend(command: OperatorCommand): Promise<AmendAnswer> {
    this.#open();
    const { target } = command;
    const { ids, next } = "ids" in target ? { ids: target.ids, next: null } : this.#idsOf(target);
    const results = ids.map((id) => amendOne(this.#book, id, command));
    this.#announce();
    return { results, next };
  }

  #idsOf(query: ListQuery): { readonly ids: readonly JobId[]; readonly next: JobId | null } {
    const { rows, next } = pageOf(this.#book.rows.values(), query);
    return { ids: rows.map(({ job }) => job.id), next };
  }

  async settings(): Promise<readonly TypeSettings[]> {
    this.#open();
    return structuredClone([...this.#book.settings.values()].sort((a, b) => (a.type < b.type ? -1 : 1)));
  }

  async setType(change: SettingsChange): Promise<SettingsAnswer> {
    const now = this.#open();
    const { type } = change;
    const before = this.#book.settingsOf(type);
    const changed = changeSettings(before, change, now);
    if (changed === null) return { outcome: "stale", settings: structuredClone(before) };
    this.#book.settings.set(type, changed.settings);
    this.#settingsHistory.push(changed.record);
    if (doesReplan(changed.record)) this.#replan(type, now);
    this.#book.hintWork();
    this.#announce();
    return { outcome: "applied", settings: structuredClone(changed.settings) };
  }

  /** What the old limits have put aside is looked at by the next claim, with the new ones. */
  #replan(type: string, now: number): void {
    for (const row of this.#book.select(({ job }) => job.type === type)) replan(this.#book, row);
    for (const [name, until] of this.#book.spent) {
      if (name === type || name.startsWith(`${type} `)) this.#book.spent.set(name, Math.min(until, now));
    }
  }

  async settingsHistory({ type, limit }: { readonly type?: string; readonly limit: number }) {
    this.#open();
    const records = this.#settingsHistory.filter(({ after }) => type === undefined || after.type === type);
    return structuredClone(records.reverse().slice(0, limit));
  }

  // ── reading ───────────────────────────────────────────────────────────────

  async get(ids: readonly JobId[]): Promise<readonly (JobRecord | null)[]> {
    this.#open();
    return ids.map((id) => this.#book.recordOf(id));
  }

  async history(id: JobId): Promise<JobHistory> {
    this.#open();
    const { attempts, lines } = this.#book.rows.get(id) ?? { attempts: [], lines: [] };
    return structuredClone({ attempts, lines });
  }

  async list(query: ListQuery): Promise<ListPage> {
    this.#open();
    const { rows, next } = pageOf(this.#book.rows.values(), query);
    return { jobs: rows.map(toRecord), next };
  }

  async counts({ types }: { readonly types?: readonly string[] } = {}): Promise<readonly TypeCounts[]> {
    this.#open();
    const wanted = [...this.#book.typesSeen].filter((type) => types === undefined || types.includes(type));
    return countByState(this.#book.rows.values(), wanted);
  }

  async standing(ids: readonly JobId[]): Promise<Standing> {
    this.#open();
    return standing(this.#book, ids);
  }

  async audit({ jobId, limit }: AuditQuery): Promise<readonly AuditRecord[]> {
    this.#open();
    const records = this.#book.audit.filter((record) => jobId === undefined || record.jobId === jobId);
    return structuredClone(records.reverse().slice(0, limit));
  }

  // ── hints and upkeep ──────────────────────────────────────────────────────

  subscribe(listener: (hint: WakeHint) => void): () => void {
    // Wrapped, so that one function subscribed twice is two subscriptions.
    const entry = (hint: WakeHint) => listener(hint);
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Tells the listeners what this call has changed, after its answer is on its way. */
  #announce(): void {
    const hint = this.#book.takeHint();
    if (!hint.work && !hint.ended) return;
    for (const listener of this.#listeners) {
      queueMicrotask(() => this.#listeners.has(listener) && listener(hint));
    }
  }

  async prune({ retentionMs, limit }: { readonly retentionMs: number; readonly limit: number }) {
    const now = this.#open();
    const old = this.#book
      .select(({ job }) => isPrunable(job) && now - (job.finishedAt ?? now) > retentionMs)
      .filter((row) => !this.#book.keys.isKeeping(row, now))
      .sort((a, b) => (a.job.finishedAt ?? 0) - (b.job.finishedAt ?? 0) || a.insertion - b.insertion)
      .slice(0, limit);
    for (const row of old) {
      this.#book.rows.delete(row.job.id);
      this.#book.keys.forget(row);
      this.blobs.removeNow(row.blob);
    }
    this.#book.dropExpiredKeys();
    this.#freeStuckKeys();
    return { pruned: old.length };
  }

  /** Where a place was left while nobody looked (a job of an unknown version stood in it), one more goes on. */
  #freeStuckKeys(): void {
    const keysOf = (rows: readonly MemoryRow[]) => new Set(rows.map(({ job }) => job.controls?.concurrencyKey ?? ""));
    const processing = keysOf(this.#book.select(({ job }) => job.state === "processing"));
    const waiting = keysOf(this.#book.select(({ job }) => job.heldBy === "concurrency_key"));
    for (const key of waiting) if (!processing.has(key)) this.#book.freeKey(key);
  }

  async migrate(): Promise<void> {
    this.#open();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
  }

  /** The present, for this call and the book, as long as the store is open. */
  #open(): number {
    if (this.#isClosed) throw new JobsError("STORE_CLOSED", "The memory store was closed. Open a new one.");
    this.#book.now = Math.floor(this.#clock.now());
    return this.#book.now;
  }
}

/** When the first of them became pending, or was due. */
/** Takes out those of the lowest priority that have waited for long. @param candidates In turn. */
function takeAged(candidates: MemoryRow[], most: number, now: number): readonly MemoryRow[] {
  const lowest = candidates.at(-1)?.job.priority;
  if (most === 0 || lowest === candidates[0]?.job.priority) return [];
  const first = candidates.findIndex(({ job }) => job.priority === lowest);
  return candidates[first]!.job.runAt <= now - agedAfterMs ? candidates.splice(first, most) : [];
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
