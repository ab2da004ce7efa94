/**
 * Adds jobs, and gives unique keys to those that wait for them. The unique index on held_key is the judge: a job that wants a key
 * is inserted first, and only when that fails somebody looks who has it.
 */
import type { EnqueueResult, NewJob } from "../../store.js";
import { conflictMove, firstState } from "../../transition.js";
import { noteIdTime } from "./id-times.js";
import { correlationOf, dueAt, findById, findByKey, jsonOrNull, rerunKey, toRecord } from "./rows.js";
import type { JobRow } from "./rows.js";
import type { Session } from "./session.js";

export function enqueue(session: Session, jobs: readonly NewJob[]): readonly EnqueueResult[] {
  return jobs.map((job) => enqueueOne(session, job));
}

function enqueueOne(session: Session, job: NewJob): EnqueueResult {
  const { now } = session;
  const due = dueAt(job, now);
  const state = firstState(due, now);
  const created = { outcome: "created", state, createdAt: now, runAt: due ?? now } as const;
  if (insert(session, job, { state, heldKey: job.unique?.key ?? null })) return created;

  const sentBefore = findById(session, job.id);
  if (sentBefore !== undefined) return createdBefore(sentBefore);

  const { unique } = job;
  const holder = unique === null ? undefined : findByKey(session, unique.key);
  if (unique === null || holder === undefined) throw notAdded(job);

  // Also when the holder waits again (a retry), and when its period is over: the newest payload must be the one that runs last.
  const successor = unique.onConflict === "rerun" ? findByKey(session, rerunKey(unique.key)) : undefined;
  if (successor !== undefined) return replace(session, successor, job);

  if (hasExpired(session, holder)) {
    session.sql(dropKey).run(holder.seq);
    mustInsert(session, job, { state, heldKey: unique.key });
    return created;
  }

  switch (conflictMove(unique.onConflict, holder.state)) {
    case "keep":
      return { outcome: "duplicate", job: toRecord(holder) };
    case "replace":
      return replace(session, holder, job);
    case "block":
      mustInsert(session, job, { state: "blocked", heldKey: rerunKey(unique.key) });
      return { ...created, state: "blocked" };
  }
}

/**
 * Called when a job is done with its key. The job that waits behind it takes the key over and becomes runnable;
 * with nobody waiting, a key held for a period stays held.
 */
export function giveBackKey(
  session: Session,
  { seq, heldKey, holdWhile }: { readonly seq: number; readonly heldKey: string; readonly holdWhile: string | null },
): void {
  const successor = session.sql(selectSuccessor).get(rerunKey(heldKey)) as
    { seq: number; type: string; run_at: number } | undefined;
  if (successor !== undefined || holdWhile !== "period") session.sql(dropKey).run(seq);
  if (successor === undefined) return;

  const state = firstState(successor.run_at, session.now);
  session.sql(succeed).run(heldKey, state, session.now * 1_000, successor.seq);
  session.moved(successor.type, "blocked", state);
}

/**
 * For a job without its key that could hold it: takes it when no other job has it. Called when a job goes back to waiting after
 * its claim gave the key away, and when an operator revives one.
 */
export function takeKeyIfFree(session: Session, row: JobRow): boolean {
  if (row.unique_key === null || row.held_key !== null) return true;
  const holder = findByKey(session, row.unique_key);
  if (holder !== undefined && !hasExpired(session, holder)) return false;
  if (holder !== undefined) session.sql(dropKey).run(holder.seq);
  session.sql(takeKey).run(row.seq);
  return true;
}

function hasExpired(session: Session, holder: JobRow): boolean {
  return holder.unique_while === "period" && session.now >= (holder.unique_until ?? 0);
}

/** Called when a waiting or failed job takes another payload: what was done and spent on the old one is not the new one's. */
export function startAfresh(session: Session, seq: number): void {
  session.sql(dropSteps).run(seq);
  session.sql(renewWork).run(seq);
}

interface Place {
  readonly state: "scheduled" | "pending" | "blocked";
  readonly heldKey: string | null;
}

/** Where the key was seen to be free in this transaction. */
function mustInsert(session: Session, job: NewJob, place: Place): void {
  if (!insert(session, job, place)) throw notAdded(job);
}

/** Better than to answer "created" for a job that is not there. */
function notAdded({ id, unique }: NewJob): Error {
  return new Error(`Job ${id} was not added, and nobody was found to hold its key ${unique?.key ?? "(none)"}.`);
}

/** False when the id or the key is there already; nothing is added then. */
function insert(session: Session, job: NewJob, { state, heldKey }: Place): boolean {
  const { now } = session;
  const { unique } = job;
  const { changes } = session
    .sql(insertJob)
    .run(
      job.id,
      job.type,
      state,
      job.priority,
      now * 1_000,
      job.version,
      job.maxAttempts,
      heldKey,
      dueAt(job, now) ?? now,
      now,
      unique === null ? null : unique.key,
      unique === null ? null : unique.holdWhile,
      unique?.holdWhile === "period" ? Math.ceil(now + (unique.periodMs ?? 0)) : null,
      job.blob,
      jsonOrNull(job.correlation),
      jsonOrNull(job.trace),
      job.payload,
    );
  if (Number(changes) === 0) return false;

  noteIdTime(session, job.id);
  insertCorrelations(session, job.id, job.correlation);
  session.moved(job.type, null, state);
  return true;
}

function insertCorrelations(session: Session, id: string, correlation: NewJob["correlation"]): void {
  if (correlation === null) return;
  for (const name of Object.keys(correlation)) session.sql(insertCorrelation).run(name, correlation[name]!, id);
}

/**
 * The waiting job takes what the new one brings, and keeps its id, its age, its epoch and its place among equals. With the
 * payload it has already, it also keeps what was done and spent on that.
 */
function replace(session: Session, row: JobRow, newer: NewJob): EnqueueResult {
  const { now } = session;
  const due = dueAt(newer, now);
  const state = row.state === "blocked" ? "blocked" : firstState(due, now);
  const rank = state === row.state ? row.rank : now * 1_000;
  if (row.blob !== newer.blob) session.free(row.blob);
  session
    .sql(replaceJob)
    .run(newer.version, newer.payload, newer.priority, due ?? now, newer.blob, state, rank, row.seq);
  if (row.payload !== newer.payload) {
    startAfresh(session, row.seq);
    session.sql(adopt).run(newer.maxAttempts, jsonOrNull(newer.correlation), jsonOrNull(newer.trace), row.seq);
    deleteCorrelations(session, row);
    insertCorrelations(session, row.id, newer.correlation);
  }
  session.moved(row.type, row.state, state);
  if (state !== "blocked") session.hintWork();
  return { outcome: "replaced", job: toRecord(findById(session, row.id)!) };
}

/** The rows by which a job is found. */
export function deleteCorrelations(session: Session, row: Pick<JobRow, "id" | "correlation">): void {
  for (const [name, value] of Object.entries(correlationOf(row) ?? {})) {
    session.sql(deleteCorrelation).run(name, value, row.id);
  }
}

function createdBefore(row: JobRow): EnqueueResult {
  // It may have moved on; it was runnable once.
  const state = row.state === "scheduled" || row.state === "blocked" ? row.state : "pending";
  return { outcome: "created", state, createdAt: row.created_at, runAt: row.run_at };
}

// Unique index on id, and sluice_jobs_key for those with a key.
const insertJob = `
  insert into sluice_jobs
    (id, type, state, priority, rank, version, max_attempts, held_key, run_at, created_at,
     unique_key, unique_while, unique_until, blob, correlation, trace, payload)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  on conflict do nothing`;

// Primary key.
const insertCorrelation = `
  insert into sluice_correlations (name, value, id)
  values (?, ?, ?)`;

// Primary key.
const dropKey = `
  update sluice_jobs
  set held_key = null
  where seq = ?`;

// Primary key.
const takeKey = `
  update sluice_jobs
  set held_key = unique_key
  where seq = ?`;

// Primary key.
const deleteCorrelation = `
  delete from sluice_correlations
  where name = ?
    and value = ?
    and id = ?`;

// Unique index on (job, name).
const dropSteps = `
  delete from sluice_steps
  where job = ?`;

// Primary key. A job that waits for its backoff still shows what it waits after.
const renewWork = `
  update sluice_jobs
  set attempt = 0, crashes = 0, progress_done = null, progress_total = null,
    error = case when state = 'retrying' then error end
  where seq = ?`;

// Primary key.
const adopt = `
  update sluice_jobs
  set max_attempts = ?, correlation = ?, trace = ?
  where seq = ?`;

// sluice_jobs_key.
const selectSuccessor = `
  select seq, type, run_at
  from sluice_jobs
  where held_key = ?`;

// Primary key.
const succeed = `
  update sluice_jobs
  set held_key = ?, state = ?, rank = ?
  where seq = ?`;

// Primary key.
const replaceJob = `
  update sluice_jobs
  set version = ?, payload = ?, priority = ?, run_at = ?, blob = ?, state = ?, rank = ?
  where seq = ?`;
