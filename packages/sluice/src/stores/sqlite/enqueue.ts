/**
 * Adds jobs, and gives unique keys to those that wait for them. The unique index on held_key is the judge: a job that wants a key
 * is inserted first, and only when that fails somebody looks who has it.
 */
import type { EnqueueResult, NewJob } from "../../store.js";
import { conflictMove, firstState } from "../../transition.js";
import { dueAt, findById, findByKey, jsonOrNull, rerunKey, toRecord } from "./rows.js";
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

  // Nothing but the unique key can have refused the insert.
  const unique = job.unique!;
  const holder = findByKey(session, unique.key)!;
  if (holder.unique_while === "period" && now >= (holder.unique_until ?? 0)) {
    session.sql(dropKey).run(holder.seq);
    insert(session, job, { state, heldKey: unique.key });
    return created;
  }

  // Also when the holder waits again (a retry): the newest payload must be the one that runs last.
  const successor = unique.onConflict === "rerun" ? findByKey(session, rerunKey(unique.key)) : undefined;
  if (successor !== undefined) return replace(session, successor, job);

  switch (conflictMove(unique.onConflict, holder.state)) {
    case "keep":
      return { outcome: "duplicate", job: toRecord(holder) };
    case "replace":
      return replace(session, holder, job);
    case "block":
      insert(session, job, { state: "blocked", heldKey: rerunKey(unique.key) });
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

/** False when the id or the key is there already; nothing is added then. */
function insert(
  session: Session,
  job: NewJob,
  { state, heldKey }: { readonly state: "scheduled" | "pending" | "blocked"; readonly heldKey: string | null },
): boolean {
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

  if (job.correlation !== null) {
    for (const name of Object.keys(job.correlation)) {
      session.sql(insertCorrelation).run(name, job.correlation[name]!, job.id);
    }
  }
  session.moved(job.type, null, state);
  return true;
}

/** The waiting job takes what the new one brings, and keeps its id, its age, its attempts and its place among equals. */
function replace(session: Session, row: JobRow, newer: NewJob): EnqueueResult {
  const { now } = session;
  const due = dueAt(newer, now);
  const state = row.state === "blocked" ? "blocked" : firstState(due, now);
  const rank = state === row.state ? row.rank : now * 1_000;
  if (row.blob !== newer.blob) session.free(row.blob);
  session
    .sql(replaceJob)
    .run(newer.version, newer.payload, newer.priority, due ?? now, newer.blob, state, rank, row.seq);
  session.moved(row.type, row.state, state);
  if (state !== "blocked") session.hintWork();
  return { outcome: "replaced", job: toRecord(findById(session, row.id)!) };
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
