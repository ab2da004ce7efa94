/**
 * Adds jobs, and gives unique keys to those that wait for them. The unique index on held_key is the judge: a job that wants a key
 * is inserted first, and only when that fails somebody looks who has it.
 */
import { placeOf } from "../../fairness.js";
import type { Turns } from "../../fairness.js";
import { keptOf, usedBefore } from "../../idempotency.js";
import { arrivalOf, intakeOf, rateNames, takeIn } from "../../intake.js";
import type { Intake } from "../../intake.js";
import type { HeldBy } from "../../job.js";
import type { EnqueueResult, NewJob } from "../../store.js";
import { conflictMove, firstState } from "../../transition.js";
import { leaveKey } from "./hold.js";
import { noteIdTime } from "./id-times.js";
import { keepKey, keptKey } from "./idempotency-keys.js";
import { keepSpent, spentOf } from "./rates.js";
import { correlationOf, dueAt, findById, findByKey, jsonOrNull, rerunKey, toRecord } from "./rows.js";
import type { JobRow } from "./rows.js";
import type { Session } from "./session.js";
import { settingsOf } from "./settings.js";

export function enqueue(session: Session, jobs: readonly NewJob[]): readonly EnqueueResult[] {
  return jobs.map((job) => enqueueOne(session, job));
}

/** Part of work that was taken in before: held where others are refused. */
export function enqueueChildren(session: Session, jobs: readonly NewJob[]): void {
  for (const job of jobs) addOne(session, job, true);
}

function enqueueOne(session: Session, job: NewJob): EnqueueResult {
  const { idempotency } = job;
  if (idempotency === null) return addOne(session, job);
  const kept = keptKey(session, idempotency.key);
  const used = usedBefore(idempotency, kept, session.now);
  // The very call that is sent again is the first one, whatever has become of the key.
  if (used !== "first" && findById(session, job.id) === undefined) {
    if (used === "key_reused") return { outcome: used };
    const row = findById(session, kept!.jobId);
    return { outcome: used, id: kept!.jobId, job: row === undefined ? null : toRecord(row) };
  }

  const result = addOne(session, job);
  const keeping = used === "first" ? keptOf(idempotency, { id: job.id, result, now: session.now }) : null;
  if (keeping !== null) keepKey(session, idempotency.key, keeping);
  return result;
}

function addOne(session: Session, job: NewJob, isChild = false): EnqueueResult {
  const { now } = session;
  const due = dueAt(job, now);
  const state = firstState(due, now);
  const created = { outcome: "created", state, createdAt: now, runAt: due ?? now } as const;
  const intake = intakeOf(settingsOf(session, job.type), job);
  const heldKey = job.unique?.key ?? null;
  if (intake === null && insert(session, job, { state, heldKey, heldBy: null })) return created;

  const sentBefore = findById(session, job.id);
  if (sentBefore !== undefined) return createdBefore(sentBefore);

  const { unique } = job;
  const holder = unique === null ? undefined : findByKey(session, unique.key);
  // Also when the holder waits again (a retry), and when its period is over: the newest payload must be the one that runs last.
  const successor = unique?.onConflict === "rerun" ? findByKey(session, rerunKey(unique.key)) : undefined;
  if (successor !== undefined) return replace(session, successor, job);

  const isFree = holder === undefined || hasExpired(session, holder);
  const move = isFree ? "add" : conflictMove(unique!.onConflict, holder.state);
  if (move === "keep") return { outcome: "duplicate", job: toRecord(holder!) };
  if (move === "replace") return replace(session, holder!, job);

  const taken =
    intake === null ? ({ outcome: "taken", heldBy: null } as const) : arrive(session, job, { intake, isChild });
  if (taken.outcome === "refused") return taken;
  if (move === "block") {
    mustInsert(session, job, { state: "blocked", heldKey: rerunKey(unique!.key), heldBy: null });
    return { ...created, state: "blocked" };
  }
  if (holder !== undefined) session.sql(dropKey).run(holder.seq);
  const first = taken.heldBy === null ? state : "blocked";
  mustInsert(session, job, { state: first, heldKey, heldBy: taken.heldBy });
  return { ...created, state: first };
}

/** Asks the intake of its type, with what is known of it in this transaction. */
function arrive(
  session: Session,
  job: NewJob,
  { intake, isChild }: { readonly intake: Intake; readonly isChild: boolean },
): ReturnType<typeof takeIn> {
  const { type, caller } = rateNames(job);
  const before = spentOf(session, caller === null ? [type] : [type, caller]);
  const spent = new Map(before);
  const limit = isChild ? null : intake.limit;
  const taken = takeIn(
    { ...intake, limit, backlog: session.waiting(job.type), spent },
    arrivalOf(job, isChild),
    session.now,
  );
  keepSpent(session, spent, before);
  return taken;
}

/** The place that its group gives a new job, or that its time does. */
function rankOf(session: Session, { type, priority, controls }: NewJob): number {
  const now = session.now * 1_000;
  if (controls === null || controls.group === null) return now;
  const { group, cost } = controls;
  const { head } = session.sql(selectHead).get(type, priority) as { head: number | null };
  const placeGiven = (name: string) =>
    (session.sql(selectPlace).get(type, priority, name) as { place: number } | undefined)?.place ?? null;
  const tail = placeGiven(group);
  const turns: Turns = {
    head: head === null ? null : head / 1_000,
    last: toMs(placeGiven("")),
    tails: new Map(tail === null ? [] : [[group, tail / 1_000]]),
  };
  const rank = Math.round(placeOf(turns, { group, cost }, session.now) * 1_000);
  session.sql(keepPlace).run(type, priority, group, rank);
  session.sql(keepPlace).run(type, priority, "", Math.round(turns.last! * 1_000));
  return rank;
}

function toMs(rank: number | null): number | null {
  return rank === null ? null : rank / 1_000;
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
  readonly heldBy: HeldBy | null;
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
function insert(session: Session, job: NewJob, { state, heldKey, heldBy }: Place): boolean {
  const { now } = session;
  const { unique } = job;
  const { changes } = session
    .sql(insertJob)
    .run(
      job.id,
      job.type,
      state,
      job.priority,
      rankOf(session, job),
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
      jsonOrNull(job.controls),
      job.controls?.concurrencyKey ?? null,
      heldBy,
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
  const isOtherPayload = row.payload !== newer.payload;
  // With another payload it may have another concurrency key: a claim will see.
  const isLetGo = isOtherPayload && row.held_by === "concurrency_key";
  const state = row.state === "blocked" && !isLetGo ? "blocked" : firstState(due, now);
  const keepsRank = state === row.state || isLetGo || newer.controls?.group != null;
  const rank = keepsRank ? row.rank : now * 1_000;
  if (row.blob !== newer.blob) session.free(row.blob);
  session
    .sql(replaceJob)
    .run(
      newer.version,
      newer.payload,
      newer.priority,
      due ?? now,
      newer.blob,
      state,
      rank,
      isLetGo || state === "scheduled" ? null : row.held_by,
      row.seq,
    );
  if (isOtherPayload) {
    const { controls } = newer;
    startAfresh(session, row.seq);
    session
      .sql(adopt)
      .run(
        newer.maxAttempts,
        jsonOrNull(newer.correlation),
        jsonOrNull(newer.trace),
        jsonOrNull(controls),
        controls?.concurrencyKey ?? null,
        row.seq,
      );
    deleteCorrelations(session, row);
    insertCorrelations(session, row.id, newer.correlation);
  }
  session.moved(row.type, row.state, state);
  leaveKey(session, row.concurrency_key, { from: row.state, to: state });
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
     unique_key, unique_while, unique_until, blob, correlation, trace, payload,
     controls, concurrency_key, held_by)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
  set max_attempts = ?, correlation = ?, trace = ?, controls = ?, concurrency_key = ?
  where seq = ?`;

// sluice_jobs_ready.
const selectHead = "select min(rank) as head from sluice_jobs where type = ? and state = 'pending' and priority = ?";

// Primary key.
const selectPlace = "select place from sluice_turns where type = ? and priority = ? and group_name = ?";

// Primary key.
const keepPlace = `
  insert into sluice_turns (type, priority, group_name, place)
  values (?, ?, ?, ?)
  on conflict do update
  set place = excluded.place`;

// sluice_jobs_key.
const selectSuccessor = `
  select seq, type, run_at
  from sluice_jobs
  where held_key = ?`;

// Primary key.
const succeed = `
  update sluice_jobs
  set held_key = ?1, state = ?2, rank = case when controls ->> 'group' is null then ?3 else rank end
  where seq = ?4`;

// Primary key.
const replaceJob = `
  update sluice_jobs
  set version = ?, payload = ?, priority = ?, run_at = ?, blob = ?, state = ?, rank = ?, held_by = ?
  where seq = ?`;
