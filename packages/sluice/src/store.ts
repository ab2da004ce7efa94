/**
 * The port: everything the core asks of a database, and nothing a database should decide.
 *
 * The contract, which the conformance suite (testing/conformance) checks on every store:
 * - Calls take arrays and answer in the same order.
 * - A resolved promise means durable. A rejected one with STORE_UNAVAILABLE means unknown: the same call may be sent again
 *   (a job id that exists already counts as created; a settlement that was applied answers `lease_lost`).
 * - Each call is atomic, and each element of it judges the state that the elements before it left.
 * - Every move is one of `transitions` (job.ts) and is fenced: a `Hold` is good while the job is `processing` with the same epoch.
 * - Instants are milliseconds on the store's clock. Durations go in, instants come out.
 * - Text that is not JSON (log lines, reasons, actors) may come back with U+FFFD in place of NUL.
 */
import type { TypeControls } from "./admission.js";
import type { IntakeDefaults, Refusal } from "./intake.js";
import type { Rate } from "./rate.js";
import type {
  AttemptError,
  AttemptRecord,
  Controls,
  Correlation,
  FailReason,
  Hold,
  JobId,
  JobRecord,
  JobState,
  Progress,
  TraceCarrier,
} from "./job.js";
import type { SettingsAnswer, SettingsChange, SettingsRecord, TypeSettings } from "./settings.js";

/** Only a type, to tell a transaction that cannot wait: nothing has such a property. */
declare const synchronous: unique symbol;

/** What the transactions of a store extend that runs them without waiting: work in one may not return a promise. */
export interface SynchronousTx {
  readonly [synchronous]?: never;
}

/** What work in a transaction may return. */
export type Returned<Tx, T> = typeof synchronous extends keyof Tx
  ? T extends PromiseLike<unknown>
    ? "The transactions of this store are synchronous: their work may not return a promise."
    : T
  : T;

export interface Store<Tx = never> {
  /** For messages: "memory", "sqlite". */
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly blobs: BlobStore;

  /**
   * Adds jobs. With a future due time a job becomes `scheduled`, otherwise `pending`; a unique key that another job holds
   * decides by `onConflict` (see `UniqueClaim`).
   * A job that its type's intake refuses (`takeIn`, intake.ts) is answered `refused` and leaves nothing; children of a completed
   * job are never refused. A job with a group takes the place that `placeOf` (fairness.ts) gives it.
   * Before all that, an idempotency key that is known decides (see `Idempotency`). Of two calls that use one key at the same moment, in
   * whichever processes, the second waits until the first is committed or undone.
   * With `tx`, a refusal is thrown as ENQUEUE_REFUSED, a key that stands for something else as IDEMPOTENCY_KEY_REUSED and one whose job
   * is gone as JOB_GONE, and it runs inside the caller's transaction: the jobs exist when and if that commits. A store whose transactions are
   * synchronous does everything before it returns, and throws instead of rejecting.
   */
  enqueue(jobs: readonly NewJob[], tx?: Tx): Promise<readonly EnqueueResult[]>;

  /**
   * First makes `pending` what is due, then hands over up to `limit` pending jobs: highest priority first, then longest pending;
   * per type at most its own limit, and only versions the worker knows. Each becomes `processing`, its attempt and epoch grow by one.
   * Of a paused type nothing is handed over; of a type with a concurrency, so many that no more than that are processing, in all
   * processes, whoever claims at the same moment. Of a type with rates or a concurrency per key, what `admit` (admission.ts) lets in;
   * a job that it blocks or gives an instant to moves there in the same transaction.
   */
  claim(request: ClaimRequest): Promise<ClaimAnswer>;

  /** Ends attempts. See `Settlement` for each effect; a hold that is no longer good answers `lease_lost` and changes nothing. */
  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]>;

  /**
   * Runs the application's `work` in a transaction together with a settlement or a step: all of it commits, or none.
   * A lost hold rolls back and answers `lease_lost`; what `work` throws rolls back and rejects.
   */
  transact?<T>(work: (tx: Tx) => T, outcome: (value: Awaited<T>) => FencedWrite): Promise<TransactResult<Awaited<T>>>;

  /** Remembers step results under the hold; the first result for a name wins and is answered. */
  remember(steps: readonly StepWrite[]): Promise<readonly StepResult[]>;
  /** The steps a job has finished in any attempt. */
  recall(id: JobId): Promise<readonly Step[]>;
  /** Keeps progress and log lines, under the hold. Progress overwrites; the newest 1,000 lines of a job are kept. */
  annotate(notes: readonly Note[]): Promise<readonly ("applied" | "lease_lost")[]>;

  /** Registers a worker or renews its lease. `lost`: it was declared lost and must stop; only a new worker id helps. */
  heartbeat(beat: WorkerBeat): Promise<BeatAnswer>;
  /** Renews from a thread of the store's own, so that a blocked event loop keeps its jobs. Stores without one leave it out. */
  keepLease?(order: KeepLeaseOrder): () => void;
  /** Removes a worker that stopped in good order. */
  retire(workerId: string): Promise<void>;
  /** The jobs that this worker holds, as they were claimed; oldest first. */
  heldBy(workerId: string): Promise<readonly ClaimedJob[]>;
  /** Declares workers with expired leases lost, for good, and lists jobs they hold, oldest first. Changes no job. */
  findLost(request: { readonly limit: number }): Promise<LostAnswer>;

  /** Applies an operator's command and writes it to the audit, in one transaction. */
  amend(command: OperatorCommand): Promise<AmendAnswer>;

  /** The settings of types that somebody has changed, by name. */
  settings(): Promise<readonly TypeSettings[]>;
  /** Changes the settings of a type and keeps who did it and why, in one transaction (`changeSettings`); wakes the workers. */
  setType(change: SettingsChange): Promise<SettingsAnswer>;
  /** Changes of settings, newest first. */
  settingsHistory(query: { readonly type?: string; readonly limit: number }): Promise<readonly SettingsRecord[]>;

  get(ids: readonly JobId[]): Promise<readonly (JobRecord | null)[]>;
  /** Attempts that did not complete the job, oldest first, and its log lines. */
  history(id: JobId): Promise<JobHistory>;
  /** Newest id first. */
  list(query: ListQuery): Promise<ListPage>;
  counts(query?: { readonly types?: readonly string[] }): Promise<readonly TypeCounts[]>;
  workers(): Promise<readonly WorkerRecord[]>;
  /**
   * Where jobs stand, for whoever asks why they do not run (waiting.ts). A fixed number of statements for a page, which look at a
   * bounded number of rows for each job and type, however many are pending.
   */
  standing(ids: readonly JobId[]): Promise<Standing>;
  /** Newest first. */
  audit(query: AuditQuery): Promise<readonly AuditRecord[]>;

  /** A hint that something may have changed, from this process or another. Polling alone stays correct. */
  subscribe(listener: (hint: WakeHint) => void): () => void;
  /** Work that keeps the store quick and that no caller waits for: called every few seconds by some process. */
  tidy?(): Promise<void>;
  /**
   * Deletes completed and cancelled jobs that ended longer ago than `retentionMs`, with all that belongs to them; first ended,
   * first deleted. A store that lets go of whole days may keep a job until its day is over, and drop more than the limit. A blob that cannot be deleted now is tried again at the next prune.
   * Idempotency keys whose period is over go as well, a bounded number at a time.
   */
  prune(request: { readonly retentionMs: number; readonly limit: number }): Promise<{ readonly pruned: number }>;
  /** Brings the schema up to date. Safe to run twice and from two processes at once. */
  migrate(): Promise<void>;
  /** Waits for calls under way, then lets go. Later calls reject with STORE_CLOSED. */
  close(): Promise<void>;
}

export interface StoreCapabilities {
  /** `transact`, and `enqueue` inside a caller's transaction. */
  readonly transactions: "none" | "synchronous" | "asynchronous";
  /** Several processes may share it. */
  readonly sharedAcrossProcesses: boolean;
}

// ── enqueue ─────────────────────────────────────────────────────────────────

export interface NewJob {
  readonly id: JobId;
  readonly type: string;
  readonly version: number;
  /** JSON text. Stores never read it. */
  readonly payload: string;
  readonly correlation: Correlation | null;
  readonly priority: number;
  /** When it may first run: at once, after a delay from the store's present, or at an instant. */
  readonly due: { readonly afterMs: number } | { readonly at: number } | null;
  readonly maxAttempts: number;
  readonly unique: UniqueClaim | null;
  readonly trace: TraceCarrier | null;
  /** A blob that belongs to the job and is deleted with it. */
  readonly blob: string | null;
  readonly controls: Controls | null;
  /** What must be asked before it is taken in; null: only the settings of its type. */
  readonly intake: IntakeDefaults | null;
  /** Who enqueues it, where callers have limits of their own. */
  readonly caller: string | null;
  /** Of a child it is not looked at: that it is added once is ensured by the hold. */
  readonly idempotency: Idempotency | null;
}

/**
 * The key of a request, which adds at most one job within `periodMs`, however often and wherever it is sent. The job that the first
 * enqueue under the key was answered with (created, duplicate, replaced) is the one the key stands for; one that was refused leaves
 * the key free. Until its period is over, `repeated` answers the same fingerprint and `key_reused` another one; nothing is added. A job
 * id that exists counts as created here, too: the call that is sent again after an unknown outcome hears what it would have heard.
 */
export interface Idempotency {
  /** Holds for all types and callers alike: who has keys of their own is part of it. */
  readonly key: string;
  /** Tells whether the key is used for the same thing. */
  readonly fingerprint: string;
  /** From the first enqueue on. */
  readonly periodMs: number;
}

/**
 * The claim to a unique key. `holdWhile`: `pending` gives the key back when the job is claimed, and takes it again when the job
 * goes back to waiting and nobody else has it by then; `active` gives it back when the job ends; `period` `periodMs` after it
 * was created. When another job holds the key:
 * - `keep`: nothing is added.
 * - `replace`: a holder that waits (scheduled, pending, retrying) takes the new payload; otherwise keep.
 * - `rerun`: a holder that waits takes the new payload; behind one in flight, exactly one job waits as `blocked` and becomes
 *   runnable in the transaction that ends the holder; asked again, that one takes the newest payload, whatever has become of
 *   the holder or its period.
 *
 * A job that takes another payload starts afresh: steps and progress are gone, attempt and crashes are 0, and correlation,
 * trace and maxAttempts are the new job's; id, age, epoch and history stay. Version, priority, due time and blob are always taken.
 */
export interface UniqueClaim {
  /** Begins with the job's type; never with `>`, which stores may use for keys of their own. */
  readonly key: string;
  readonly holdWhile: "pending" | "active" | "period";
  readonly periodMs: number | null;
  readonly onConflict: "keep" | "replace" | "rerun";
}

export type EnqueueResult =
  | {
      readonly outcome: "created";
      readonly state: "scheduled" | "pending" | "blocked";
      readonly createdAt: number;
      readonly runAt: number;
    }
  | { readonly outcome: "duplicate" | "replaced"; readonly job: JobRecord }
  /** `id`: the job that the idempotency key stands for. `job` null: it has been deleted since. */
  | { readonly outcome: "repeated"; readonly id: JobId; readonly job: JobRecord | null }
  | { readonly outcome: "key_reused" }
  | Refusal;

// ── claim and settle ────────────────────────────────────────────────────────

export interface ClaimRequest {
  readonly workerId: string;
  /** In all. 0 claims nothing and still answers what is due next and which cancellations are requested. */
  readonly limit: number;
  /** Served in this order while the limit lasts. `maxVersion`: newer jobs are left for a newer worker. */
  readonly types: readonly ClaimedType[];
}

export interface ClaimedType {
  readonly type: string;
  readonly limit: number;
  readonly maxVersion: number;
  /** How many may be processing at once where the type's settings do not say; null: any number. */
  readonly concurrency: number | null;
  /** What else the type's definition limits; null: nothing. */
  readonly controls: TypeControls | null;
  /**
   * So many of them, before all others, are for jobs of the lowest priority that is pending, if another is pending, too, and the
   * first of the lowest has been due for `agedAfterMs` (aging.ts).
   */
  readonly aged: number;
  /**
   * Fewer than `min` are handed over only when the first of them in turn has been due for `waitMs`; null: each as it comes. What
   * counts is what this claim could hand over by its limits and the room there is.
   */
  readonly company: { readonly min: number; readonly waitMs: number } | null;
}

/** What a worker needs to run a job, and no more: this crosses a thread for every job. */
export interface ClaimedJob {
  readonly id: JobId;
  readonly epoch: number;
  readonly type: string;
  readonly version: number;
  readonly payload: string;
  readonly correlation: Correlation | null;
  readonly priority: number;
  readonly createdAt: number;
  readonly runAt: number;
  readonly startedAt: number;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly crashes: number;
  readonly trace: TraceCarrier | null;
}

export interface ClaimAnswer {
  readonly jobs: readonly ClaimedJob[];
  /**
   * Until the next scheduled or retrying job of these types is due, a rate lets the next one start, or one has waited for company
   * for long enough; null when there is none.
   */
  readonly nextDueInMs: number | null;
  /** Jobs of this worker that somebody asked to cancel. */
  readonly cancels: readonly Hold[];
  /** Those of the types that have a concurrency or a rate: what is claimed of them must start at once. */
  readonly limited: readonly string[];
}

/**
 * How an attempt ended, as decided by settlement.ts.
 * - `complete`: completed, with its output; `children` are enqueued in the same transaction.
 * - `retry`: retrying, due after `delayMs`; the error joins the attempts.
 * - `fail`: failed with a reason.
 *   Of both, `isCharged` false gives the attempt back.
 * - `snooze`: scheduled after `delayMs`; the attempt is given back.
 * - `cancel`: cancelled with a reason.
 * - `release`: pending again, at its old place; the attempt is given back, the epoch is not.
 *
 * `hasCrashed` adds to the job's crashes. A retry, snooze or release of a job that somebody asked to cancel ends it as cancelled instead.
 */
export type Settlement = { readonly hold: Hold } & (
  | { readonly kind: "complete"; readonly output: string | null; readonly children: readonly NewJob[] }
  | {
      readonly kind: "retry";
      readonly delayMs: number;
      readonly error: AttemptError;
      readonly hasCrashed: boolean;
      readonly isCharged: boolean;
    }
  | {
      readonly kind: "fail";
      readonly reason: FailReason;
      readonly error: AttemptError;
      readonly hasCrashed: boolean;
      readonly isCharged: boolean;
    }
  | { readonly kind: "snooze"; readonly delayMs: number }
  | { readonly kind: "cancel"; readonly reason: string }
  | { readonly kind: "release" }
);

/** `cancelled`: the hold was good, but a requested cancellation took the place of going back to the queue. */
export type SettleResult = "applied" | "cancelled" | "lease_lost";

export type FencedWrite =
  | { readonly write: "settle"; readonly settlement: Settlement }
  | { readonly write: "remember"; readonly step: StepWrite };

export type TransactResult<T> = { readonly result: "applied"; readonly value: T } | { readonly result: "lease_lost" };

// ── steps and notes ─────────────────────────────────────────────────────────

export interface Step {
  readonly name: string;
  /** JSON text; null for undefined. */
  readonly output: string | null;
}

export type StepWrite = Step & { readonly hold: Hold };

export type StepResult =
  | { readonly result: "remembered" }
  | { readonly result: "known"; readonly output: string | null }
  | { readonly result: "lease_lost" };

export interface LogLine {
  readonly at: number;
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
}

export interface Note {
  readonly hold: Hold;
  readonly progress: Progress | null;
  readonly lines: readonly LogLine[];
}

// ── workers ─────────────────────────────────────────────────────────────────

export interface WorkerBeat {
  readonly workerId: string;
  readonly leaseMs: number;
  readonly host: string;
  readonly pid: number;
  readonly types: readonly WorkedType[];
  /** Handlers running at once, all types together. */
  readonly concurrency: number;
}

/** What a worker says of a type that it works on. An older version of Sluice, still running beside this one, names the type only. */
export interface WorkedType {
  readonly type: string;
  /** The newest version of a payload that it knows; null: it did not say. */
  readonly version: number | null;
  /** How many may be processing at once in all processes where the type's settings do not say; null: any number, or it did not say. */
  readonly concurrency: number | null;
  /** How many of them it runs at once; null: it did not say, and its concurrency is all there is to know. */
  readonly slots: number | null;
  /** How many of them may start in a time where the type's settings do not say; null: any number, or it did not say. */
  readonly rate: Rate | null;
}

export interface BeatAnswer {
  readonly lease: "held" | "lost";
  readonly cancels: readonly Hold[];
}

export interface KeepLeaseOrder {
  readonly beat: WorkerBeat;
  readonly everyMs: number;
  /** Stops renewing when the caller's event loop has been stuck this long: a worker that is gone in all but name. */
  readonly stuckAfterMs: number;
  /** Called on the caller's thread after each renewal; with the error when one failed. */
  readonly onBeat: (answer: BeatAnswer | Error) => void;
}

export interface WorkerRecord extends WorkerBeat {
  readonly startedAt: number;
  readonly leaseExpiresAt: number;
  readonly isLost: boolean;
  /** Jobs it holds now. */
  readonly processing: number;
}

export interface LostAnswer {
  /** Those that this call declared lost. */
  readonly workers: readonly string[];
  readonly jobs: readonly LostJob[];
}

export interface LostJob extends ClaimedJob {
  /** Whose attempt was lost. */
  readonly workerId: string;
}

// ── operators ───────────────────────────────────────────────────────────────

/**
 * - `cancel`: a waiting job is cancelled; one in flight is asked to stop (`requested`).
 * - `retry`: a failed job becomes pending with a fresh attempt budget (its epoch and steps stay), a retrying one is due now.
 * - `edit`: takes a new payload and version, then as retry for a failed job; allowed while it waits or has failed. The old
 *   payload goes to the audit; with another one, the steps, the progress and the spent attempts go as well.
 * - `discard`: a failed job becomes cancelled.
 * - `release`: a job that its type's rollout keeps blocked may run.
 */
export type OperatorCommand = {
  readonly target: { readonly ids: readonly JobId[] } | { readonly filter: JobFilter; readonly page: Page };
  readonly actor: string;
  readonly reason: string | null;
} & (
  | { readonly action: "cancel" | "retry" | "discard" | "release" }
  | { readonly action: "edit"; readonly payload: string; readonly version: number; readonly controls: Controls | null }
);

/** `key_taken`: the job's unique key belongs to another job by now. */
export type AmendOutcome = "applied" | "requested" | "not_found" | "wrong_state" | "key_taken";

export interface AmendAnswer {
  readonly results: readonly {
    readonly id: JobId;
    readonly outcome: AmendOutcome;
    readonly state: JobState | null;
  }[];
  /** Where the next page of a filter begins; null when nothing is left. */
  readonly next: JobId | null;
}

export interface AuditRecord {
  readonly at: number;
  readonly actor: string;
  readonly action: OperatorCommand["action"];
  readonly jobId: JobId;
  readonly jobType: string;
  readonly stateBefore: JobState;
  readonly stateAfter: JobState;
  /** For `edit`: the payload it had. */
  readonly payloadBefore: string | null;
  readonly reason: string | null;
}

export interface AuditQuery {
  readonly jobId?: JobId;
  readonly limit: number;
}

// ── reading ─────────────────────────────────────────────────────────────────

/** All given conditions must hold. */
export interface JobFilter {
  readonly types?: readonly string[];
  readonly states?: readonly JobState[];
  readonly failReasons?: readonly FailReason[];
  readonly correlation?: Correlation;
  readonly createdAfter?: number;
  readonly createdBefore?: number;
}

/** Keyset: ids smaller than `before`, newest first. */
export interface Page {
  readonly before: JobId | null;
  readonly limit: number;
}

export interface ListQuery {
  readonly filter: JobFilter;
  readonly page: Page;
}

export interface ListPage {
  readonly jobs: readonly JobRecord[];
  readonly next: JobId | null;
}

export interface TypeCounts {
  readonly type: string;
  readonly counts: Readonly<Record<JobState, number>>;
}

export interface Standing {
  /** The store's present. */
  readonly now: number;
  /** In the order of the ids; null: no such job. */
  readonly jobs: readonly (WaitingJob | null)[];
  /** One for each type of a job among them that is due and not claimed; in no order. */
  readonly types: readonly TypeStanding[];
}

/** As much of a job as says why it waits. */
export interface WaitingJob extends Pick<
  JobRecord,
  "id" | "type" | "version" | "state" | "runAt" | "attempt" | "error" | "controls" | "heldBy"
> {
  /**
   * Of a job that is pending, or due and not yet made so: pending jobs of its type, of any version, whose turn comes before its own.
   * Counted up to 1,001, which stands for more than 1,000. Null for every other.
   */
  readonly ahead: number | null;
  /** Of a blocked job: the one that holds its unique key. Null when that is not known, and for every other. */
  readonly holder: JobId | null;
}

export interface TypeStanding {
  readonly type: string;
  /** Jobs of the type that are processing now, in all processes. */
  readonly processing: number;
  /** Until when the rate of the type is spent (`spend`, rate.ts); null where none was used. */
  readonly spentUntil: number | null;
  /** How long completed jobs of the type ran in their last attempt: at most 50, of those that a bounded look at the last ones finds. */
  readonly runMs: readonly number[];
}

export interface JobHistory {
  readonly attempts: readonly AttemptRecord[];
  readonly lines: readonly LogLine[];
}

export interface WakeHint {
  /** Jobs may have become runnable, or cancellations requested. */
  readonly work: boolean;
  /** Jobs may have ended. */
  readonly ended: boolean;
}

// ── blobs ───────────────────────────────────────────────────────────────────

/** Bytes too large for a row: streamed in, streamed out, never held in memory whole. */
export interface BlobStore {
  /** Durable when it resolves. A source that throws leaves nothing behind. */
  put(source: AsyncIterable<Uint8Array>): Promise<BlobRef>;
  /** Streams from byte `from` (default 0). @throws {JobsError} BLOB_NOT_FOUND */
  get(id: string, from?: number): AsyncIterable<Uint8Array>;
  /** Removing twice is fine. */
  remove(ids: readonly string[]): Promise<void>;
}

export interface BlobRef {
  readonly id: string;
  readonly bytes: number;
}
