/**
 * The store on the calling thread. Almost everything is a message to the store thread; what must happen inside the application's
 * own transaction (`transact`, `enqueue` with a transaction) runs the same code on the calling thread's connection.
 */
import type { NewAccessKey } from "../../access.js";
import type { AuditEntry, AuditQuery, Origin } from "../../audit.js";
import type { Clock } from "../../clock.js";
import { JobsError } from "../../errors.js";
import type { JobId } from "../../job.js";
import type { ExportingStore, ExportLimits } from "../../snapshot.js";
import { refuseAny } from "../../intake.js";
import type { NewRollup } from "../../rollup.js";
import type { SettingsChange } from "../../settings.js";
import type {
  ClaimAnswer,
  ClaimRequest,
  EnqueueResult,
  FencedWrite,
  KeepLeaseOrder,
  ListQuery,
  LostAnswer,
  NewJob,
  Note,
  OperatorCommand,
  RollupQuery,
  Settlement,
  SettleResult,
  StepWrite,
  Store,
  TransactResult,
  WakeHint,
  WorkerBeat,
} from "../../store.js";
import { refuseOldSqlite, retryBusyAsync, toStoreError } from "./engine.js";
import type { Connection, Database } from "./engine.js";
import { enqueue } from "./enqueue.js";
import type { FileBlobs } from "./file-blobs.js";
import { migrate } from "./migrations.js";
import { remember } from "./progress.js";
import { packSettlements, unpackEnqueued, unpackResults } from "./protocol.js";
import { unpackClaimed } from "./rows.js";
import { Session } from "./session.js";
import type { Effects } from "./session.js";
import { settle } from "./settle.js";
import type { StoreThread } from "./store-thread.js";

export interface SqliteParts {
  readonly path: string;
  readonly clock: Clock;
  readonly connection: Database;
  readonly blobs: FileBlobs;
  /** Whether to bring the schema up to date, or to take it as it is. */
  readonly isMigrating: boolean;
  readonly startThread: (onHint: (hint: WakeHint) => void) => Promise<StoreThread>;
}

/** How a transaction ends; `effects` null: nothing is to be committed. */
interface Ending<R> {
  readonly result: R;
  readonly effects: Effects | null;
}

const noEffects: Effects = { hint: { work: false, ended: false }, freedBlobs: [] };

/** A store in one SQLite file. Several processes on one machine may share it. */
export class SqliteStore implements Store<Connection>, ExportingStore {
  readonly name = "sqlite";
  readonly capabilities = { transactions: "synchronous", sharedAcrossProcesses: true } as const;
  readonly blobs: FileBlobs;
  /**
   * The calling thread's connection, for the application's own tables. A transaction on it blocks every other writer:
   * keep it short and never await inside one; better, use `transact`.
   */
  readonly connection: Connection;
  readonly keepLease?: (order: KeepLeaseOrder) => () => void;

  readonly #path: string;
  readonly #clock: Clock;
  readonly #database: Database;
  readonly #session: Session;
  readonly #foreignSessions = new WeakMap<Connection, Session>();
  readonly #listeners = new Set<(hint: WakeHint) => void>();
  readonly #transactions = new Set<Promise<unknown>>();
  #thread!: StoreThread;
  /** During `transact`: what enqueues inside it leave to do once it is committed. The watch sees the application's own commits. */
  #uncommitted: Effects[] | null = null;
  #closing: Promise<void> | null = null;

  private constructor({ path, clock, connection, blobs }: SqliteParts) {
    this.#path = path;
    this.#clock = clock;
    this.#database = connection;
    this.connection = connection;
    this.blobs = blobs;
    this.#session = new Session(connection, () => clock.now());
    this.#foreignSessions.set(connection, this.#session);
    // A clock that does not move by itself has no use for a timer in a thread.
    if (clock.sharedNow === undefined) this.keepLease = (order) => this.#open().keepLease(order);
  }

  static async open(parts: SqliteParts): Promise<SqliteStore> {
    const store = new SqliteStore(parts);
    if (parts.isMigrating) await store.migrate();
    store.#thread = await parts.startThread((hint) => store.#announce(hint));
    return store;
  }

  // ── the life of a job ─────────────────────────────────────────────────────

  enqueue(jobs: readonly NewJob[], tx?: Connection): Promise<readonly EnqueueResult[]> {
    if (tx !== undefined) return Promise.resolve(this.#enqueueWithin(tx, jobs));
    return this.#call((thread) => thread.call("enqueue", jobs)).then(unpackEnqueued);
  }

  /** Synchronous, so that it can neither outlive the caller's transaction nor hold it open. */
  #enqueueWithin(tx: Connection, jobs: readonly NewJob[]): readonly EnqueueResult[] {
    this.#open();
    const session = this.#sessionOf(tx);
    try {
      const { value, effects } = session.atomically(() => refuseAny(jobs, enqueue(session, jobs)));
      if (session === this.#session) this.#uncommitted?.push(effects);
      return value;
    } catch (error) {
      throw error instanceof JobsError ? error : toStoreError(error, this.#path);
    }
  }

  async claim(request: ClaimRequest): Promise<ClaimAnswer> {
    const { jobs, ...answer } = await this.#call((thread) => thread.call("claim", request));
    return { ...answer, jobs: unpackClaimed(jobs) };
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    return unpackResults(await this.#call((thread) => thread.call("settle", packSettlements(settlements))));
  }

  // ── the application's transaction ─────────────────────────────────────────

  async transact<T>(
    work: (tx: Connection) => T,
    outcome: (value: Awaited<T>) => FencedWrite,
  ): Promise<TransactResult<Awaited<T>>> {
    return this.#whenFree(() => {
      const value = synchronous(work(this.#database));
      return this.#writeFenced(outcome(value), value);
    });
  }

  /**
   * A transaction of the application's own, on the calling thread's connection: waits its turn, runs `work`, commits. What
   * `work` throws rolls back and rejects. `work` must be synchronous. Enqueue inside it with `{ tx }`.
   * @throws {JobsError} TRANSACTION_NOT_SYNCHRONOUS, STORE_UNAVAILABLE
   */
  async write<T>(work: (tx: Connection) => T): Promise<Awaited<T>> {
    return this.#whenFree(() => ({ result: synchronous(work(this.#database)), effects: noEffects }));
  }

  async #whenFree<R>(run: () => Ending<R>): Promise<R> {
    this.#open();
    const running = retryBusyAsync(this.#path, () => this.#transactNow(run));
    this.#transactions.add(running);
    try {
      return (await running)();
    } finally {
      this.#transactions.delete(running);
    }
  }

  /** Answers with the result as a function, so that only the wait for the lock is ever repeated, not the work. */
  #transactNow<R>(run: () => Ending<R>): () => R {
    this.#database.exec("begin immediate");
    this.#uncommitted = [];
    try {
      const { result, effects } = run();
      if (effects === null) {
        this.#database.exec("rollback");
        return () => result;
      }
      this.#database.exec("commit");
      this.#afterCommit([...this.#uncommitted, effects]);
      return () => result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("rollback");
      return () => {
        throw toStoreError(error, this.#path);
      };
    }
  }

  #writeFenced<T>(fenced: FencedWrite, value: T): Ending<TransactResult<T>> {
    const session = this.#session;
    switch (fenced.write) {
      case "settle": {
        const { value: results, effects } = session.begin(() => settle(session, [fenced.settlement]));
        if (results[0] === "lease_lost") return { result: { result: "lease_lost" }, effects: null };
        return { result: { result: "applied", value }, effects };
      }
      case "remember": {
        const { value: results, effects } = session.begin(() => remember(session, [fenced.step]));
        const step = results[0]!;
        if (step.result === "lease_lost") return { result: { result: "lease_lost" }, effects: null };
        if (step.result === "remembered") return { result: { result: "applied", value }, effects };
        // The step was done before: what `work` has just written is the second time, and the first answer stands.
        const first = step.output === null ? undefined : (JSON.parse(step.output) as unknown);
        return { result: { result: "applied", value: first as T }, effects: null };
      }
    }
  }

  // ── steps, notes, workers, operators, reading: all in the store thread ────

  remember(steps: readonly StepWrite[]) {
    return this.#call((thread) => thread.call("remember", steps));
  }

  recall(id: JobId) {
    return this.#call((thread) => thread.call("recall", id));
  }

  annotate(notes: readonly Note[]) {
    return this.#call((thread) => thread.call("annotate", notes));
  }

  heartbeat(beat: WorkerBeat) {
    return this.#call((thread) => thread.call("heartbeat", beat));
  }

  retire(workerId: string) {
    return this.#call((thread) => thread.call("retire", workerId));
  }

  async heldBy(workerId: string) {
    return unpackClaimed(await this.#call((thread) => thread.call("heldBy", workerId)));
  }

  async findLost(request: { readonly limit: number }): Promise<LostAnswer> {
    const { workers, jobs, workerIds } = await this.#call((thread) => thread.call("findLost", request));
    return { workers, jobs: unpackClaimed(jobs).map((job, index) => ({ ...job, workerId: workerIds[index]! })) };
  }

  amend(command: OperatorCommand) {
    return this.#call((thread) => thread.call("amend", command));
  }

  settings() {
    return this.#call((thread) => thread.call("settings", null));
  }

  setType(change: SettingsChange) {
    return this.#call((thread) => thread.call("setType", change));
  }

  get(ids: readonly JobId[]) {
    return this.#call((thread) => thread.call("get", ids));
  }

  history(id: JobId) {
    return this.#call((thread) => thread.call("history", id));
  }

  list(query: ListQuery) {
    return this.#call((thread) => thread.call("list", query));
  }

  counts(query: { readonly types?: readonly string[] } = {}) {
    return this.#call((thread) => thread.call("counts", query));
  }

  workers() {
    return this.#call((thread) => thread.call("workers", null));
  }

  addRollups(counted: readonly NewRollup[]) {
    return this.#call((thread) => thread.call("addRollups", counted));
  }

  rollups(query: RollupQuery) {
    return this.#call((thread) => thread.call("rollups", query));
  }

  standing(ids: readonly JobId[]) {
    return this.#call((thread) => thread.call("standing", ids));
  }

  async record(entries: readonly AuditEntry[]) {
    await this.#call((thread) => thread.call("record", entries));
  }

  audit(query: AuditQuery) {
    return this.#call((thread) => thread.call("audit", query));
  }

  accessKeys() {
    return this.#call((thread) => thread.call("accessKeys", null));
  }

  addAccessKey(key: NewAccessKey, origin: Origin) {
    return this.#call((thread) => thread.call("addAccessKey", { key, origin }));
  }

  revokeAccessKey(id: string, origin: Origin) {
    return this.#call((thread) => thread.call("revokeAccessKey", { id, origin }));
  }

  prune(request: { readonly retentionMs: number; readonly limit: number }) {
    return this.#call((thread) => thread.call("prune", request));
  }

  exportJobs(request: ExportLimits & { readonly after: JobId | null; readonly liveOnly: boolean }) {
    return this.#call((thread) => thread.call("exportJobs", request));
  }

  exportAudit(request: ExportLimits & { readonly after: number | null; readonly settingsOnly: boolean }) {
    return this.#call((thread) => thread.call("exportAudit", request));
  }

  // ── hints, upkeep, the end ────────────────────────────────────────────────

  subscribe(listener: (hint: WakeHint) => void): () => void {
    // Wrapped, so that one function subscribed twice is two subscriptions.
    const entry = (hint: WakeHint) => listener(hint);
    this.#listeners.add(entry);
    if (this.#listeners.size === 1) this.#open().watch(true);
    return () => {
      if (this.#listeners.delete(entry) && this.#listeners.size === 0 && this.#closing === null) {
        this.#thread.watch(false);
      }
    };
  }

  async migrate(): Promise<void> {
    this.#refuseWhenClosed();
    await retryBusyAsync(this.#path, () => migrate(this.#database, this.#path));
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeNow();
    return this.#closing;
  }

  async #closeNow(): Promise<void> {
    this.#listeners.clear();
    await Promise.allSettled(this.#transactions);
    await this.#thread.close();
    this.#database.close();
  }

  async #call<T>(call: (thread: StoreThread) => Promise<T>): Promise<T> {
    return call(this.#open());
  }

  #open(): StoreThread {
    this.#refuseWhenClosed();
    return this.#thread;
  }

  #refuseWhenClosed(): void {
    if (this.#closing === null) return;
    throw new JobsError("STORE_CLOSED", `The store ${this.#path} was closed. Open it again.`, { path: this.#path });
  }

  /** A connection of the application's own may run a SQLite of its own. */
  #sessionOf(connection: Connection): Session {
    let session = this.#foreignSessions.get(connection);
    if (session === undefined) {
      refuseOldSqlite(connection);
      session = new Session(connection, () => this.#clock.now());
      this.#foreignSessions.set(connection, session);
    }
    return session;
  }

  #afterCommit(effects: readonly Effects[]): void {
    this.blobs.removeNow(effects.flatMap(({ freedBlobs }) => freedBlobs));
    this.#announce({
      work: effects.some(({ hint }) => hint.work),
      ended: effects.some(({ hint }) => hint.ended),
    });
  }

  /** Never within the call that caused it: a listener may call the store. */
  #announce(hint: WakeHint): void {
    if (!hint.work && !hint.ended) return;
    for (const listener of this.#listeners) {
      queueMicrotask(() => this.#listeners.has(listener) && listener(hint));
    }
  }
}

function synchronous<T>(value: T): Awaited<T> {
  const isThenable = typeof (value as { then?: unknown } | null | undefined)?.then === "function";
  if (!isThenable) return value as Awaited<T>;
  // Its failure, if it comes, has nobody to go to any more: the transaction is rolled back either way.
  Promise.resolve(value).catch(() => undefined);
  throw new JobsError(
    "TRANSACTION_NOT_SYNCHRONOUS",
    "The work of a SQLite transaction returned a promise. Await what you need before, and only write inside: " +
      "a transaction that waits would block every other writer.",
  );
}
