/**
 * The jobs that one call touches, on the desk of one transaction: their rows locked and read, changed by the moves (moves.ts) in
 * memory, and what has become of them written back, each table with one statement.
 *
 * Everybody locks in one order, so that nobody waits in a circle: idempotency keys, what types take in, unique keys by name, jobs by
 * id, and last the limits of types whose keys get free. A claim waits for limits only, locks jobs that nobody has locked, and takes
 * no key away: a key that is held while pending counts as given back as soon as its job is no longer waiting, and whoever opens it on
 * a desk finds that out.
 */
import { hasEnded } from "../../job.js";
import type { AttemptRecord, JobId, JobRecord, JobState } from "../../job.js";
import type { Turns } from "../../fairness.js";
import type { KeptKey } from "../../idempotency.js";
import type { Intake } from "../../intake.js";
import { Keys } from "../../keys.js";
import { dueAt, giveBackKey, newRecord, toRecord } from "../../moves.js";
import type { Book, Row } from "../../moves.js";
import type { AuditRecord, NewJob } from "../../store.js";
import { TryAgain } from "./database.js";
import { Arrivals } from "./arrivals.js";
import type { Effects } from "./effects.js";
import { freeKeys } from "./hold.js";
import type { IdempotencyKeys } from "./idempotency-keys.js";
import { insertJobs } from "./insert.js";
import { historyColumns, isId, jobColumns, jsonOrNull, storable, toRow } from "./rows.js";
import type { JobRow } from "./rows.js";
import type { Sql } from "./sql.js";

interface DeskRow extends Row {
  /** New, and how it came. */
  readonly arrival: NewJob | null;
  /** Its place was given to it, by its group. */
  readonly hasOwnRank: boolean;
  /** As the transaction found it; null for a new one. */
  readonly stateBefore: JobState | null;
  readonly payloadBefore: string | null;
  readonly correlationBefore: string | null;
  isChanged: boolean;
}

export interface DeskOptions {
  readonly ids: readonly JobId[];
  readonly keys?: readonly string[];
  /** Jobs that are about to be added: what their types take in, and whose turn it is in them. */
  readonly arrivals?: readonly NewJob[];
  /** Of the arrivals: claimed before the desk is opened, and closed after it. */
  readonly idempotency?: IdempotencyKeys;
  /** Whether payloads are needed: to compare, to answer or to audit them. They may be large. */
  readonly withPayload: boolean;
}

export class Desk implements Book<DeskRow> {
  now = 0;
  readonly keys = new Keys<DeskRow>();
  readonly #sql: Sql;
  readonly #rows = new Map<JobId, DeskRow>();
  /** As the transaction found them: who was down for which key, also under its name with `behind`. */
  readonly #registered = new Map<string, JobId | null>();
  readonly #attempts: { readonly job: JobId; readonly attempt: AttemptRecord }[] = [];
  readonly #audit: AuditRecord[] = [];
  readonly #blobs: string[] = [];
  readonly #withoutSteps: JobId[] = [];
  #arrivals: Arrivals | null = null;
  #idempotency: IdempotencyKeys | null = null;
  /** Concurrency keys with one job less. */
  readonly #freed: string[] = [];
  readonly #moved: { readonly row: DeskRow; readonly from: JobState | null }[] = [];
  #isWorkHinted = false;

  private constructor(sql: Sql) {
    this.#sql = sql;
  }

  static async open(sql: Sql, { ids, keys = [], arrivals = [], idempotency, withPayload }: DeskOptions): Promise<Desk> {
    const desk = new Desk(sql);
    desk.#idempotency = idempotency ?? null;
    if (arrivals.length > 0) desk.#arrivals = await Arrivals.open(sql, arrivals);
    await desk.#load(ids.filter(isId), keys, withPayload);
    return desk;
  }

  // ── what the moves ask and tell ───────────────────────────────────────────

  find(id: JobId): DeskRow | undefined {
    return this.#rows.get(id);
  }

  recordOf(id: JobId): JobRecord | null {
    const row = this.#rows.get(id);
    return row === undefined ? (this.#idempotency?.recordOf(id) ?? null) : toRecord(row);
  }

  keptKey(key: string): KeptKey | undefined {
    return this.#idempotency?.kept(key);
  }

  keepKey(key: string, kept: KeptKey): void {
    this.#idempotency?.keep(key, kept);
  }

  intakeOf(job: NewJob): Intake | null {
    return this.#arrivals?.intakeOf(job) ?? null;
  }

  turnsOf(type: string, priority: number): Turns {
    return this.#arrivals!.turnsOf(type, priority);
  }

  freeKey(key: string): void {
    this.#freed.push(key);
  }

  insert(arrival: NewJob, state: JobState, rank?: number): DeskRow {
    const { now } = this;
    const row: DeskRow = {
      job: newRecord(arrival, { state, createdAt: now, runAt: dueAt(arrival, now) ?? now }),
      unique: arrival.unique,
      blob: arrival.blob,
      rank: rank ?? now,
      hasOwnRank: rank !== undefined,
      arrival,
      stateBefore: null,
      payloadBefore: null,
      correlationBefore: null,
      isChanged: true,
    };
    this.#rows.set(arrival.id, row);
    this.#arrivals?.added(arrival.type);
    this.#moved.push({ row, from: null });
    return row;
  }

  changed(row: DeskRow, from?: JobState): void {
    row.isChanged = true;
    if (from !== undefined) this.#moved.push({ row, from });
  }

  hintWork(): void {
    this.#isWorkHinted = true;
  }

  dropSteps({ job }: DeskRow): void {
    this.#withoutSteps.push(job.id);
  }

  addAttempt({ job }: DeskRow, attempt: AttemptRecord): void {
    this.#attempts.push({ job: job.id, attempt });
  }

  dropBlob(blob: string): void {
    this.#blobs.push(blob);
  }

  addAudit(record: AuditRecord): void {
    this.#audit.push(record);
  }

  // ── reading ───────────────────────────────────────────────────────────────

  async #load(ids: readonly JobId[], keys: readonly string[], withPayload: boolean): Promise<void> {
    const named = await this.#sql.rows<{ now: number | string; keys: string | null }>(selectKeysOfJobs, [ids]);
    this.now = Number(named[0]!.now);
    const names = new Set([...keys, ...(JSON.parse(named[0]!.keys ?? "[]") as string[])].map(storable));
    const holders = await this.#lockKeys(names);
    await this.#lockJobs([...new Set([...ids, ...holders])], withPayload);
    for (const row of this.#rows.values()) {
      // Added since we asked for the keys of these jobs: its key is not locked.
      const key = row.unique?.key ?? null;
      if (key !== null && ids.includes(row.job.id) && !names.has(key) && !hasEnded(row.job.state)) throw new TryAgain();
    }
    await this.#refuseStaleKeys();
    this.#assignKeys(names);
  }

  /**
   * A key that was free when we looked cannot be locked, and one of these jobs may have taken it since: whoever did that had the job
   * locked, so by now it can be seen.
   */
  async #refuseStaleKeys(): Promise<void> {
    const doubtful = [...this.#rows.values()].flatMap(({ unique, job }) =>
      unique !== null && !hasEnded(job.state) && this.#registered.get(unique.key) === null ? [unique.key] : [],
    );
    if (doubtful.length === 0) return;
    const taken = await this.#sql.rows(lockKeys, [doubtful]);
    if (taken.length > 0) throw new TryAgain();
  }

  /**
   * In two steps: who waits behind a holder was perhaps added by whoever had the key until now, and a statement does not see what was
   * added while it waited.
   */
  async #lockKeys(names: ReadonlySet<string>): Promise<readonly JobId[]> {
    if (names.size === 0) return [];
    for (const name of names) this.#registered.set(name, null).set(behind(name), null);
    const held = await this.#sql.rows<{ key: string; job: string }>(lockKeys, [[...names]]);
    const waiting =
      held.length === 0
        ? []
        : await this.#sql.rows<{ key: string; job: string }>(lockKeys, [held.map(({ key }) => behind(key))]);
    const rows = [...held, ...waiting];
    for (const { key, job } of rows) this.#registered.set(key, job);
    return rows.map(({ job }) => job);
  }

  async #lockJobs(ids: readonly JobId[], withPayload: boolean): Promise<void> {
    if (ids.length === 0) return;
    this.#keep(await this.#sql.rows<JobRow>(withPayload ? lockJobs : lockJobsWithoutPayload, [ids]));
    const missing = ids.filter((id) => !this.#rows.has(id));
    if (missing.length > 0) this.#keep(await this.#sql.rows<JobRow>(selectHistory, [missing]));
  }

  #keep(rows: readonly JobRow[]): void {
    for (const row of rows) {
      this.#rows.set(row.id, {
        ...toRow(row),
        arrival: null,
        hasOwnRank: false,
        stateBefore: row.state,
        payloadBefore: row.payload,
        correlationBefore: row.correlation,
        isChanged: false,
      });
    }
  }

  #assignKeys(names: ReadonlySet<string>): void {
    for (const name of names) {
      const successor = this.#rows.get(this.#registered.get(behind(name)) ?? "");
      if (successor?.job.state === "blocked") this.keys.wait(successor);
      const holder = this.#rows.get(this.#registered.get(name) ?? "");
      if (holder === undefined) continue;
      this.keys.take(holder);
      if (isGivenBack(holder)) giveBackKey(this, holder);
    }
  }

  // ── writing ───────────────────────────────────────────────────────────────

  /** Writes everything down. The transaction is the caller's to commit. */
  async close(effects: Effects): Promise<void> {
    await this.#writeKeys();
    const rows = [...this.#rows.values()].filter(({ isChanged }) => isChanged);
    await this.#insert(rows.filter(({ arrival }) => arrival !== null));
    const old = rows.filter(({ arrival }) => arrival === null);
    await this.#update(old.filter(({ job }) => !isOver(job.state)));
    await this.#end(old.filter(({ job }) => isOver(job.state)));
    await this.#writeCorrelations(old);
    await this.#writeCounts();
    await this.#writeMore();
    await this.#arrivals?.close();
    for (const { row } of this.#moved) effects.moved(row);
    // Last, for it waits for whoever is claiming.
    await freeKeys(this.#sql, this.#freed, effects);
    if (this.#isWorkHinted) effects.wake();
  }

  async #writeKeys(): Promise<void> {
    const wanted: KeyEntry[] = [];
    const gone: string[] = [];
    for (const [key, before] of this.#registered) {
      const isBehind = key.startsWith(behindMark);
      const row = isBehind ? this.keys.successor(key.slice(behindMark.length)) : this.keys.registered(key);
      if (row === undefined) {
        if (before !== null) gone.push(key);
      } else if (row.job.id !== before) {
        wanted.push({ key, job: row.job.id, until: isBehind ? null : untilOf(row) });
      }
    }
    const moved = wanted.filter(({ key }) => this.#registered.get(key) !== null);
    const taken = wanted.filter(({ key }) => this.#registered.get(key) === null);
    if (taken.length > 0) await this.#takeKeys(taken);
    if (gone.length > 0) await this.#sql.rows(deleteKeys, [gone]);
    if (moved.length > 0) await this.#sql.rows(updateKeys, columnsOf(moved));
  }

  /** Comes before every other write: when somebody else took one of the keys after we looked, there is nothing else to undo. */
  async #takeKeys(taken: readonly KeyEntry[]): Promise<void> {
    const inserted = await this.#sql.rows<{ key: string }>(insertKeys, columnsOf(taken));
    if (inserted.length === taken.length) return;
    if (inserted.length > 0) await this.#sql.rows(deleteKeys, [inserted.map(({ key }) => key)]);
    throw new TryAgain();
  }

  async #insert(rows: readonly DeskRow[]): Promise<void> {
    if (rows.length === 0) return;
    const arrivals = rows.map(({ arrival, job }) => asItIs(arrival!, job));
    const { added } = await insertJobs(this.#sql, arrivals, {
      now: this.now,
      states: rows.map(({ job }) => job.state),
      ranks: rows.map(({ rank, hasOwnRank }) => (hasOwnRank ? Math.round(rank * 1_000) : null)),
      heldBys: rows.map(({ job }) => job.heldBy),
    });
    // The same id was sent by another call meanwhile.
    if (added !== null) throw new TryAgain();
  }

  async #update(rows: readonly DeskRow[]): Promise<void> {
    if (rows.length > 0) await this.#sql.rows(updateJobs, [JSON.stringify(rows.map(toFields))]);
  }

  async #end(rows: readonly DeskRow[]): Promise<void> {
    if (rows.length > 0) await this.#sql.rows(endJobs, [JSON.stringify(rows.map(toFields))]);
  }

  /** For jobs that took another payload, and with it what they are about. */
  async #writeCorrelations(rows: readonly DeskRow[]): Promise<void> {
    const changed = rows.filter(({ job, correlationBefore }) => jsonOrNull(job.correlation) !== correlationBefore);
    if (changed.length === 0) return;
    const columns = [changed.map(({ job }) => job.id), changed.map(({ job }) => jsonOrNull(job.correlation))];
    await this.#sql.rows(deleteCorrelations, [columns[0], changed.map((row) => row.correlationBefore)]);
    await this.#sql.rows(insertCorrelations, columns);
  }

  async #writeCounts(): Promise<void> {
    const moves = new Map<string, { type: string; state: JobState; n: number }>();
    const add = (type: string, state: JobState, n: number) => {
      const move = moves.get(`${state} ${type}`) ?? { type, state, n: 0 };
      move.n += n;
      moves.set(`${state} ${type}`, move);
    };
    for (const row of new Set(this.#moved.map((each) => each.row))) {
      if (row.stateBefore === row.job.state) continue;
      if (row.stateBefore !== null) add(row.job.type, row.stateBefore, -1);
      // New jobs were counted where they were inserted.
      if (row.arrival === null) add(row.job.type, row.job.state, 1);
    }
    const deltas = [...moves.values()].filter(({ n }) => n !== 0);
    if (deltas.length === 0) return;
    await this.#sql.rows(insertDeltas, [
      deltas.map(({ type }) => type),
      deltas.map(({ state }) => state),
      deltas.map(({ n }) => n),
    ]);
  }

  async #writeMore(): Promise<void> {
    if (this.#withoutSteps.length > 0) await this.#sql.rows(deleteSteps, [this.#withoutSteps]);
    if (this.#blobs.length > 0) await this.#sql.rows(deleteBlobs, [this.#blobs]);
    if (this.#attempts.length > 0) {
      const attempts = this.#attempts.map(({ job, attempt: { startedAt, endedAt, workerId, error, ...rest } }) => ({
        job,
        ...rest,
        worker_id: storable(workerId),
        started_at: startedAt,
        ended_at: endedAt,
        error: JSON.stringify(error),
      }));
      await this.#sql.rows(insertAttempts, [JSON.stringify(attempts)]);
    }
    if (this.#audit.length > 0) {
      const audit = this.#audit.map((record) => ({
        ...record,
        actor: storable(record.actor),
        reason: storable(record.reason),
      }));
      await this.#sql.rows(insertAudit, [JSON.stringify(audit)]);
    }
  }
}

/** Keys begin with a job type, and no type has a ">" in its name: this is never a key of its own. */
const behindMark = ">";

function behind(key: string): string {
  return `${behindMark}${key}`;
}

/** In history; failed jobs stay among the living: they are work for an operator. */
function isOver(state: JobState): boolean {
  return state === "completed" || state === "cancelled";
}

/** Held while pending, and its job no longer waits: a claim or an end has given it back. */
function isGivenBack({ unique, job }: DeskRow): boolean {
  return unique?.holdWhile === "pending" && (job.state === "processing" || hasEnded(job.state));
}

function untilOf({ unique, job }: DeskRow): number | null {
  return unique?.holdWhile === "period" ? Math.ceil(job.createdAt + (unique.periodMs ?? 0)) : null;
}

/** A job that was added and replaced in one call arrives as what it has become. */
function asItIs(arrival: NewJob, job: Row["job"]): NewJob {
  if (arrival.payload === job.payload && arrival.version === job.version && arrival.priority === job.priority) {
    return arrival;
  }
  const { version, payload, correlation, priority, maxAttempts, trace, controls } = job;
  return { ...arrival, version, payload, correlation, priority, maxAttempts, trace, controls };
}

interface KeyEntry {
  readonly key: string;
  readonly job: JobId;
  readonly until: number | null;
}

function columnsOf(entries: readonly KeyEntry[]) {
  return [entries.map(({ key }) => key), entries.map(({ job }) => job), entries.map(({ until }) => until)];
}

/** What may have changed of a row, by the names of the columns. */
function toFields({ job, blob, rank, payloadBefore, stateBefore }: DeskRow) {
  return {
    id: job.id,
    state: job.state,
    version: job.version,
    priority: job.priority,
    // A place that was not given anew keeps its microseconds.
    rank: stateBefore === job.state ? null : Math.round(rank * 1_000),
    attempt: job.attempt,
    max_attempts: job.maxAttempts,
    crashes: job.crashes,
    is_cancel_requested: job.isCancelRequested,
    run_at: job.runAt,
    finished_at: job.finishedAt,
    worker_id: job.workerId,
    fail_reason: job.failReason,
    cancel_reason: storable(job.cancelReason),
    progress_done: job.progress?.done ?? null,
    progress_total: job.progress?.total ?? null,
    error: jsonOrNull(job.error),
    blob,
    correlation: jsonOrNull(job.correlation),
    trace: jsonOrNull(job.trace),
    controls: jsonOrNull(job.controls),
    concurrency_key: job.controls?.concurrencyKey ?? null,
    held_by: job.heldBy,
    output: job.output,
    payload: job.payload === payloadBefore ? null : job.payload,
  };
}

const fields = `
  json_to_recordset($1::json) as changed (id uuid, state sluice.job_state, version int, priority int, rank bigint, attempt int,
    max_attempts int, crashes int, is_cancel_requested boolean, run_at bigint, finished_at bigint, worker_id text,
    fail_reason text, cancel_reason text, progress_done double precision, progress_total double precision,
    error text, blob uuid, correlation text, trace text, controls text, concurrency_key text, held_by text,
    output text, payload text)`;

// Primary key.
const selectKeysOfJobs = `
  select :now as now,
    (select json_agg(distinct unique_key)::text from sluice.jobs where id = any ($1::uuid[]) and unique_key is not null) as keys`;

// Primary key, in its order.
const lockKeys = `
  select key, job
  from sluice.keys
  where key = any ($1::text[])
  order by key
  for update`;

// Primary key, in its order.
const lockJobs = `
  select ${jobColumns}
  from sluice.jobs as job
  where job.id = any ($1::uuid[])
  order by job.id
  for update`;

// As above. What is not read is not changed.
const lockJobsWithoutPayload = lockJobs.replace("job.payload", "'' as payload");

// Primary key of the partitions that the ids name.
const selectHistory = `
  select ${historyColumns}
  from sluice.history as job
  where job.id = any ($1::uuid[])`;

// Primary key.
const deleteKeys = "delete from sluice.keys where key = any ($1::text[])";

// Primary key.
const updateKeys = `
  update sluice.keys
  set job = moved.job, until = moved.until
  from unnest($1::text[], $2::uuid[], $3::bigint[]) as moved (key, job, until)
  where keys.key = moved.key`;

// Primary key, in its order, which is that of the locks.
const insertKeys = `
  insert into sluice.keys (key, job, until)
  select taken.key, taken.job, taken.until
  from unnest($1::text[], $2::uuid[], $3::bigint[]) as taken (key, job, until)
  order by taken.key
  on conflict (key) do nothing
  returning key`;

// Primary key.
const updateJobs = `
  update sluice.jobs as job
  set state = changed.state, version = changed.version, priority = changed.priority, rank = coalesce(changed.rank, job.rank),
    attempt = changed.attempt, max_attempts = changed.max_attempts, crashes = changed.crashes,
    is_cancel_requested = changed.is_cancel_requested, run_at = changed.run_at, finished_at = changed.finished_at,
    worker_id = changed.worker_id, fail_reason = changed.fail_reason, cancel_reason = changed.cancel_reason,
    progress_done = changed.progress_done, progress_total = changed.progress_total, error = changed.error,
    blob = changed.blob, correlation = changed.correlation, trace = changed.trace,
    controls = changed.controls, concurrency_key = changed.concurrency_key, held_by = changed.held_by,
    payload = coalesce(changed.payload, job.payload)
  from ${fields}
  where job.id = changed.id`;

// Primary keys.
const endJobs = `
  with changed as (
    select * from ${fields}
  ),
  gone as (
    delete from sluice.jobs as job
    using changed
    where job.id = changed.id
    returning job.id, job.type, job.priority, job.epoch, job.created_at, job.started_at,
      job.unique_key, job.unique_while, job.unique_period_ms, job.payload
  )
  insert into sluice.history (id, type, state, version, priority, epoch, attempt, max_attempts, crashes, run_at, created_at,
    started_at, finished_at, worker_id, unique_key, unique_while, unique_period_ms, fail_reason, cancel_reason,
    progress_done, progress_total, error, blob, correlation, trace, output, payload)
  select gone.id, gone.type, changed.state, changed.version, gone.priority, gone.epoch, changed.attempt, changed.max_attempts,
    changed.crashes, changed.run_at, gone.created_at, gone.started_at, changed.finished_at, changed.worker_id,
    gone.unique_key, gone.unique_while, gone.unique_period_ms, changed.fail_reason, changed.cancel_reason,
    changed.progress_done, changed.progress_total, changed.error, changed.blob, changed.correlation, changed.trace,
    changed.output, gone.payload
  from gone
  join changed using (id)`;

// Primary key.
const deleteCorrelations = `
  delete from sluice.correlations
  using unnest($1::uuid[], $2::text[]) as job (id, correlation)
  cross join lateral json_each_text(job.correlation::json) as pair
  where job.correlation is not null
    and correlations.name = pair.key
    and correlations.value = pair.value
    and correlations.id = job.id`;

// Primary key.
const insertCorrelations = `
  insert into sluice.correlations (name, value, id)
  select pair.key, pair.value, job.id
  from unnest($1::uuid[], $2::text[]) as job (id, correlation)
  cross join lateral json_each_text(job.correlation::json) as pair
  where job.correlation is not null
  on conflict do nothing`;

const insertDeltas = `
  insert into sluice.deltas (type, state, n)
  select * from unnest($1::text[], $2::sluice.job_state[], $3::int[])`;

// Primary key.
const deleteSteps = "delete from sluice.steps where job = any ($1::uuid[])";

// Primary keys.
const deleteBlobs = `
  with gone as (
    delete from sluice.blobs where id = any ($1::uuid[])
  )
  delete from sluice.blob_pieces where blob = any ($1::uuid[])`;

// Primary key.
const insertAttempts = `
  insert into sluice.attempts (job, epoch, attempt, worker_id, started_at, ended_at, crashed, error)
  select * from json_to_recordset($1::json) as ended (job uuid, epoch int, attempt int, worker_id text, started_at bigint,
    ended_at bigint, crashed boolean, error text)`;

// Primary key, audit_job.
const insertAudit = `
  insert into sluice.audit (at, actor, action, job_id, job_type, state_before, state_after, payload_before, reason)
  select * from json_to_recordset($1::json) as entry (at bigint, actor text, action text, "jobId" uuid, "jobType" text,
    "stateBefore" sluice.job_state, "stateAfter" sluice.job_state, "payloadBefore" text, reason text)`;
