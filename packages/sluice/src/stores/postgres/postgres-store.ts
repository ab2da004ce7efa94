/**
 * The port on PostgreSQL. What one statement can do is one statement, committed by itself; everything else is a transaction that
 * is run again when the server asks for it. After the commit: hints, here and for other processes.
 */
import type { AccessKey, NewAccessKey } from "../../access.js";
import type { AuditEntry, AuditQuery, Origin } from "../../audit.js";
import type { JobId } from "../../job.js";
import { JobsError } from "../../errors.js";
import type { AuditSnapshot, ImportingStore, ImportOutcome, JobSnapshot } from "../../snapshot.js";
import type {
  ClaimAnswer,
  ClaimRequest,
  EnqueueResult,
  FencedWrite,
  KeepLeaseOrder,
  ListQuery,
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
import { accessKeys, addAccessKey, importAccessKeys, pruneAccessKeys, revokeAccessKey } from "./access-keys.js";
import { appendAudit, audit, importAudit } from "./audit.js";
import { PostgresBlobs } from "./blobs.js";
import { Claiming } from "./claim.js";
import { maxTries, tooBusy, TryAgain } from "./database.js";
import type { Database, Lane } from "./database.js";
import { Desk } from "./desk.js";
import { Effects } from "./effects.js";
import { enqueue, enqueueAtOnce } from "./enqueue.js";
import { addDaysOf, importJobs } from "./import.js";
import type { LeaseKeeper } from "./lease-keeper.js";
import { migrate } from "./migrations.js";
import { freeStuckKeys } from "./hold.js";
import { amend } from "./operators.js";
import { annotate, history, recall, remember } from "./progress.js";
import { counts, get, list } from "./reading.js";
import { addRollups, rollups } from "./rollups.js";
import { importSettings, setType, settings } from "./settings.js";
import { areSimple, settle } from "./settle.js";
import { refuseAny } from "../../intake.js";
import type { NewRollup } from "../../rollup.js";
import type { SettingsChange, TypeSettings } from "../../settings.js";
import type { Executor, Sql } from "./sql.js";
import { standing } from "./standing.js";
import { addDays, foldCounts, prune } from "./upkeep.js";
import type { Wake } from "./wake.js";
import { findLost, heartbeat, heldBy, retire, workers } from "./workers.js";

export interface PostgresParts {
  readonly database: Database;
  /** Null where a test owns the clock: a clock that does not move by itself has no use for a timer in a thread. */
  readonly leases: LeaseKeeper | null;
  readonly listen: (onHint: (hint: WakeHint) => void) => Wake;
}

const daysEveryMs = 60 * 60 * 1_000;
const daysAhead = 3;
const foldEveryMs = 5_000;

/** A store in one schema of a PostgreSQL database. Any number of processes on any number of machines may share it. */
export class PostgresStore implements Store<Executor>, ImportingStore {
  readonly name = "postgres";
  readonly capabilities = { transactions: "asynchronous", sharedAcrossProcesses: true } as const;
  readonly blobs: PostgresBlobs;
  readonly keepLease?: (order: KeepLeaseOrder) => () => void;

  readonly #database: Database;
  readonly #claiming: Claiming;
  readonly #leases: LeaseKeeper | null;
  readonly #wake: Wake;
  readonly #listeners = new Set<(hint: WakeHint) => void>();
  readonly #underWay = new Set<Promise<unknown>>();
  /** What enqueues inside a transaction of ours leave to do once it is committed. */
  readonly #uncommitted = new WeakMap<Executor, Effects>();
  /** By transaction of the application's: the end of its last enqueue so far. */
  readonly #turns = new WeakMap<Executor, Promise<unknown>>();
  #daysAddedAt = -Infinity;
  #foldedAt = -Infinity;
  #closing: Promise<void> | null = null;

  constructor({ database, leases, listen }: PostgresParts) {
    this.#database = database;
    this.#claiming = new Claiming(database);
    this.#leases = leases;
    this.#wake = listen((hint) => this.#announce(hint));
    this.blobs = new PostgresBlobs(database, () => this.#refuseWhenClosed());
    if (leases !== null) this.keepLease = (order) => this.#keepLease(leases, order);
  }

  // ── the life of a job ─────────────────────────────────────────────────────

  enqueue(jobs: readonly NewJob[], tx?: Executor): Promise<readonly EnqueueResult[]> {
    return this.#whileOpen(async () => {
      if (jobs.length === 0) return [];
      if (tx !== undefined) return this.#enqueueWithin(tx, jobs);
      const effects = new Effects();
      const results =
        (await enqueueAtOnce(this.#alone("main"), jobs, effects)) ??
        (await this.#transaction((sql) => enqueue(sql, jobs, effects), effects));
      this.#afterCommit(effects);
      return results;
    });
  }

  /**
   * Whether it commits is the application's to know: others hear of it in our own transactions only, and find it when they poll.
   * One call after the other in each transaction: a desk is several statements, which nobody else's may come between.
   */
  async #enqueueWithin(tx: Executor, jobs: readonly NewJob[]): Promise<readonly EnqueueResult[]> {
    if (tx.totalCount !== undefined) throw poolRefused();
    const sql = this.#database.dialect.on(tx);
    const effects = this.#uncommitted.get(tx) ?? new Effects();
    const turn = (this.#turns.get(tx) ?? Promise.resolve()).then(() =>
      whileOvertaken(this.#database, async () => refuseAny(jobs, await enqueue(sql, jobs, effects))),
    );
    this.#turns.set(
      tx,
      turn.catch(() => undefined),
    );
    return turn;
  }

  claim(request: ClaimRequest): Promise<ClaimAnswer> {
    return this.#whileOpen(async () => {
      const { answer, keysToPass, effects } = await this.#claiming.claim(request);
      for (const each of effects) this.#afterCommit(each);
      // The jobs are claimed, whatever becomes of this: should it fail, the end of a claimed job wakes the one behind it.
      if (keysToPass.length > 0) await this.#passKeys(keysToPass).catch(() => undefined);
      return answer;
    });
  }

  /** Whoever opens a key on the desk finds out that it was given back, and wakes the job behind it. */
  async #passKeys(keys: readonly string[]): Promise<void> {
    await this.#write(async (sql, effects) => {
      const desk = await Desk.open(sql, { ids: [], keys, withPayload: false });
      await desk.close(effects);
    });
  }

  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    return this.#whileOpen(async () => (settlements.length === 0 ? [] : this.#settle(settlements)));
  }

  async #settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const { isUnkeyed } = this.#claiming;
    const effects = new Effects();
    const run = (sql: Sql) => settle(sql, settlements, { effects, isUnkeyed });
    const results = areSimple(settlements, isUnkeyed)
      ? await run(this.#alone("reserved"))
      : await this.#transaction(run, effects, "reserved");
    this.#claiming.forget(settlements.map(({ hold }) => hold.id));
    this.#afterCommit(effects);
    return results;
  }

  // ── the application's transaction ─────────────────────────────────────────

  transact<T>(
    work: (tx: Executor) => T,
    outcome: (value: Awaited<T>) => FencedWrite,
  ): Promise<TransactResult<Awaited<T>>> {
    return this.#transactOnce(async (tx, effects) => {
      const value = await work(tx);
      await this.#database.limitSilence(tx);
      return this.#writeFenced(this.#database.dialect.on(tx), outcome(value), value, effects);
    });
  }

  /**
   * A transaction of the application's own on a connection of the store: runs `work`, commits. What `work` throws rolls back and
   * rejects. Enqueue inside it with `{ tx }`.
   * @throws {JobsError} STORE_UNAVAILABLE
   */
  async write<T>(work: (tx: Executor) => T): Promise<Awaited<T>> {
    return this.#transactOnce(async (tx) => ({ isKept: true, result: await work(tx) }));
  }

  /** One statement of the application's, on a connection of the store. */
  query(text: string, values: readonly unknown[] = []): Promise<{ readonly rows: readonly unknown[] }> {
    return this.#whileOpen(() => this.#database.application(text, values));
  }

  async #transactOnce<R>(
    run: (tx: Executor, effects: Effects) => Promise<{ readonly isKept: boolean; readonly result: R }>,
  ): Promise<R> {
    return this.#whileOpen(async () => {
      const effects = new Effects();
      try {
        const result = await this.#database.transactOnce(async (tx) => {
          this.#uncommitted.set(tx, effects);
          const ending = await run(tx, effects);
          if (!ending.isKept) throw new NotKept(ending.result);
          return ending.result;
        });
        this.#afterCommit(effects);
        return result;
      } catch (error) {
        if (error instanceof NotKept) return error.result as R;
        throw error;
      }
    });
  }

  async #writeFenced<T>(
    sql: Sql,
    fenced: FencedWrite,
    value: T,
    effects: Effects,
  ): Promise<{ readonly isKept: boolean; readonly result: TransactResult<T> }> {
    switch (fenced.write) {
      case "settle": {
        const { isUnkeyed } = this.#claiming;
        const [result] = await whileOvertaken(this.#database, () =>
          settle(sql, [fenced.settlement], { effects, isUnkeyed }),
        );
        if (result === "lease_lost") return { isKept: false, result: { result: "lease_lost" } };
        return { isKept: true, result: { result: "applied", value } };
      }
      case "remember": {
        const [step] = await remember(sql, [fenced.step]);
        if (step!.result === "lease_lost") return { isKept: false, result: { result: "lease_lost" } };
        if (step!.result === "remembered") return { isKept: true, result: { result: "applied", value } };
        // The step was done before: what `work` has just written is the second time, and the first answer stands.
        const first = step!.output === null ? undefined : (JSON.parse(step!.output) as unknown);
        return { isKept: false, result: { result: "applied", value: first as T } };
      }
    }
  }

  // ── steps, notes, workers, operators ──────────────────────────────────────

  remember(steps: readonly StepWrite[]) {
    return this.#write((sql) => remember(sql, steps), "reserved");
  }

  recall(id: JobId) {
    return this.#read((sql) => recall(sql, id));
  }

  annotate(notes: readonly Note[]) {
    return this.#write((sql) => annotate(sql, notes), "reserved");
  }

  heartbeat(beat: WorkerBeat) {
    return this.#read((sql) => heartbeat(sql, beat), "reserved");
  }

  #keepLease(leases: LeaseKeeper, order: KeepLeaseOrder): () => void {
    this.#refuseWhenClosed();
    return leases.keep(order);
  }

  retire(workerId: string) {
    return this.#write((sql) => retire(sql, workerId), "reserved");
  }

  heldBy(workerId: string) {
    return this.#read((sql) => heldBy(sql, workerId));
  }

  findLost(request: { readonly limit: number }) {
    return this.#read((sql) => findLost(sql, request));
  }

  amend(command: OperatorCommand) {
    return this.#write((sql, effects) => amend(sql, command, effects));
  }

  settings() {
    return this.#read((sql) => settings(sql));
  }

  setType(change: SettingsChange) {
    return this.#write((sql, effects) => setType(sql, change, effects));
  }

  // ── reading ───────────────────────────────────────────────────────────────

  get(ids: readonly JobId[]) {
    return this.#read((sql) => get(sql, ids));
  }

  history(id: JobId) {
    return this.#read((sql) => history(sql, id));
  }

  list(query: ListQuery) {
    return this.#read((sql) => list(sql, query));
  }

  counts(query: { readonly types?: readonly string[] } = {}) {
    return this.#read((sql) => counts(sql, query));
  }

  workers() {
    return this.#read((sql) => workers(sql));
  }

  addRollups(counted: readonly NewRollup[]) {
    return this.#read((sql) => addRollups(sql, counted));
  }

  rollups(query: RollupQuery) {
    return this.#read((sql) => rollups(sql, query));
  }

  standing(ids: readonly JobId[]) {
    return this.#read((sql) => standing(sql, ids));
  }

  record(entries: readonly AuditEntry[]) {
    return this.#write((sql) => appendAudit(sql, entries, null));
  }

  audit(query: AuditQuery) {
    return this.#read((sql) => audit(sql, query));
  }

  // ── access keys ───────────────────────────────────────────────────────────

  accessKeys() {
    return this.#read((sql) => accessKeys(sql));
  }

  addAccessKey(key: NewAccessKey, origin: Origin) {
    return this.#write((sql) => addAccessKey(sql, key, origin));
  }

  revokeAccessKey(id: string, origin: Origin) {
    return this.#write((sql) => revokeAccessKey(sql, id, origin));
  }

  // ── what another store was ────────────────────────────────────────────────

  async importJobs(snapshots: readonly JobSnapshot[]): Promise<readonly ImportOutcome[]> {
    await this.#whileOpen(() => addDaysOf(this.#database, snapshots));
    return this.#write((sql, effects) => importJobs(sql, snapshots, effects));
  }

  importSettings(settings: readonly TypeSettings[]) {
    return this.#write((sql, effects) => {
      effects.wake();
      return importSettings(sql, settings);
    });
  }

  importAccessKeys(keys: readonly AccessKey[]) {
    return this.#write((sql) => importAccessKeys(sql, keys));
  }

  importAudit(records: readonly AuditSnapshot[]) {
    return this.#write((sql) => importAudit(sql, records));
  }

  importBlob(id: string, source: AsyncIterable<Uint8Array>) {
    return this.#whileOpen(() => this.blobs.import(id, source));
  }

  // ── hints, upkeep, the end ────────────────────────────────────────────────

  subscribe(listener: (hint: WakeHint) => void): () => void {
    // Wrapped, so that one function subscribed twice is two subscriptions.
    const entry = (hint: WakeHint) => listener(hint);
    this.#listeners.add(entry);
    if (this.#listeners.size === 1 && this.#closing === null) this.#wake.listen(true);
    return () => {
      if (this.#listeners.delete(entry) && this.#listeners.size === 0 && this.#closing === null)
        this.#wake.listen(false);
    };
  }

  tidy(): Promise<void> {
    return this.#whileOpen(async () => {
      if (performance.now() - this.#daysAddedAt > daysEveryMs) {
        await addDays(this.#database, daysAhead);
        this.#daysAddedAt = performance.now();
      }
      if (performance.now() - this.#foldedAt < foldEveryMs) return;
      this.#foldedAt = performance.now();
      await foldCounts(this.#database);
    });
  }

  async prune(request: { readonly retentionMs: number; readonly limit: number }) {
    await this.#write((sql, effects) => freeStuckKeys(sql, effects));
    await this.#read((sql) => pruneAccessKeys(sql));
    return this.#whileOpen(() => prune(this.#database, request));
  }

  migrate(): Promise<void> {
    return this.#whileOpen(() => this.#database.alone((connection) => migrate(connection, this.#database.dialect)));
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeNow();
    return this.#closing;
  }

  async #closeNow(): Promise<void> {
    this.#listeners.clear();
    await Promise.allSettled(this.#underWay);
    await Promise.all([this.#wake.close(), this.#leases?.close()]);
    await this.#database.close();
  }

  // ── how a call runs ───────────────────────────────────────────────────────

  #read<T>(run: (sql: Sql) => Promise<T>, lane: Lane = "main"): Promise<T> {
    return this.#whileOpen(() => run(this.#alone(lane)));
  }

  #write<T>(run: (sql: Sql, effects: Effects) => Promise<T>, lane: Lane = "main"): Promise<T> {
    return this.#whileOpen(async () => {
      const effects = new Effects();
      const value = await this.#transaction((sql) => run(sql, effects), effects, lane);
      this.#afterCommit(effects);
      return value;
    });
  }

  /** Every statement by itself. */
  #alone(lane: Lane): Sql {
    return { rows: (statement, values) => this.#database.rows(statement, values, lane) };
  }

  #transaction<T>(run: (sql: Sql) => Promise<T>, effects: Effects, lane: Lane = "main"): Promise<T> {
    return this.#database.transaction((sql) => {
      effects.clear();
      return run(sql);
    }, lane);
  }

  async #whileOpen<T>(run: () => Promise<T>): Promise<T> {
    this.#refuseWhenClosed();
    const running = run();
    this.#underWay.add(running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(running);
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closing === null) return;
    throw new JobsError("STORE_CLOSED", "The PostgreSQL store was closed. Open it again.");
  }

  #afterCommit(effects: Effects): void {
    this.#claiming.expect(effects);
    this.#announce(effects.hint);
    this.#wake.notify(effects.hint);
  }

  /** Never within the call that caused it: a listener may call the store. */
  #announce(hint: WakeHint): void {
    if (!hint.work && !hint.ended) return;
    for (const listener of this.#listeners) {
      queueMicrotask(() => this.#listeners.has(listener) && listener(hint));
    }
  }
}

/**
 * In a transaction that is not ours to run again: somebody else took a key after we looked, and has committed by now. Nothing but
 * keys was written then, so that a second look in the same transaction puts it right.
 */
async function whileOvertaken<T>({ place }: Database, run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof TryAgain)) throw error;
      if (tries >= maxTries) throw tooBusy(place);
    }
  }
}

function poolRefused(): JobsError {
  return new JobsError("INVALID_OPTIONS", "`tx` is a pool: give it the client that has begun the transaction.", {
    option: "tx",
  });
}

/** Rolls a transaction back and carries its answer out. */
class NotKept extends Error {
  readonly result: unknown;

  constructor(result: unknown) {
    super("Rolled back.");
    this.result = result;
  }
}
