/**
 * An operator's commands, each with its line in the audit, and retention.
 */
import type { JobId } from "../../job.js";
import type { AmendAnswer, AuditQuery, AuditRecord, OperatorCommand } from "../../store.js";
import { amendMove, firstState } from "../../transition.js";
import { deleteCorrelations, giveBackKey, startAfresh, takeKeyIfFree } from "./enqueue.js";
import { page } from "./reading.js";
import { freeStuckKeys, leaveKey } from "./hold.js";
import { pruneKeys } from "./idempotency-keys.js";
import { pruneSpent } from "./rates.js";
import { findById, jsonOrNull, rerunKey } from "./rows.js";
import type { JobRow } from "./rows.js";
import type { Session } from "./session.js";
import { uncut } from "./text.js";

type AmendResult = AmendAnswer["results"][number];

export function amend(session: Session, command: OperatorCommand): AmendAnswer {
  const { target } = command;
  if ("ids" in target) return { results: target.ids.map((id) => amendOne(session, id, command)), next: null };
  const { rows, next } = page(session, target);
  return { results: rows.map(({ id }) => amendOne(session, id, command)), next };
}

function amendOne(session: Session, id: JobId, command: OperatorCommand): AmendResult {
  const row = findById(session, id);
  if (row === undefined) return { id, outcome: "not_found", state: null };

  const { now } = session;
  const { state } = row;
  const move = amendMove(command.action, state, row.held_by);
  if (move === "wrong_state") return { id, outcome: move, state };

  const isRevived = state === "failed" && typeof move === "object" && move.to === "pending";
  if (isRevived && !startOver(session, row)) return { id, outcome: "key_taken", state };

  if (command.action === "edit") {
    const { controls } = command;
    session
      .sql(editJob)
      .run(command.payload, command.version, jsonOrNull(controls), controls?.concurrencyKey ?? null, row.seq);
    if (command.payload !== row.payload) startAfresh(session, row.seq);
  }
  const reason = uncut(command.reason);
  const stateAfter = move === "let_go" ? firstState(row.run_at, now) : typeof move === "object" ? move.to : state;
  if (move === "request_cancel") {
    session.sql(requestCancel).run(now, reason, row.seq);
    session.hintWork();
  } else if (move !== "edit_in_place") {
    if (move === "let_go") session.sql(letGo).run(stateAfter, row.seq);
    else if (move.to === "pending") session.sql(makePending).run(now, row.seq);
    else if (move.to === "cancelled") session.sql(makeCancelled).run(now, reason, row.seq);
    session.moved(row.type, state, stateAfter);
    if (stateAfter === "cancelled") leaveUniqueKey(session, row);
    leaveKey(session, row.concurrency_key, { from: state, to: stateAfter });
  }

  session
    .sql(insertAudit)
    .run(
      now,
      uncut(command.actor),
      command.action,
      id,
      row.type,
      state,
      stateAfter,
      command.action === "edit" ? row.payload : null,
      reason,
    );
  return { id, outcome: move === "request_cancel" ? "requested" : "applied", state: stateAfter };
}

/**
 * A fresh budget, and its key again; false when one that it must hold belongs to another job by now. Epoch, steps and history stay.
 */
function startOver(session: Session, row: JobRow): boolean {
  if (row.unique_while !== "period" && !takeKeyIfFree(session, row) && row.unique_while === "active") return false;
  session.sql(renewBudget).run(row.seq);
  return true;
}

function leaveUniqueKey(session: Session, row: JobRow): void {
  if (row.held_key === null) return;
  if (row.held_key === rerunKey(row.unique_key ?? "")) session.sql(leavePlace).run(row.seq);
  else giveBackKey(session, { seq: row.seq, heldKey: row.held_key, holdWhile: row.unique_while });
}

export function audit(session: Session, { jobId, limit }: AuditQuery): readonly AuditRecord[] {
  const rows = jobId === undefined ? session.sql(selectAudit).all(limit) : session.sql(selectAuditOf).all(jobId, limit);
  return rows as AuditRecord[];
}

/** Blobs whose files may be deleted, before `prune` is told that they are. */
export function freedBlobs(session: Session): readonly string[] {
  return (session.sql(selectFreedBlobs).all() as { blob: string }[]).map(({ blob }) => blob);
}

/** Deletes completed and cancelled jobs that ended long ago, with all that belongs to them; workers that nobody names any more, too. */
export function prune(
  session: Session,
  {
    retentionMs,
    limit,
    deletedBlobs,
  }: { readonly retentionMs: number; readonly limit: number; readonly deletedBlobs: readonly string[] },
): { readonly pruned: number } {
  for (const blob of deletedBlobs) session.sql(deleteFreedBlob).run(blob);
  session.sql(dropExpiredKeys).run(session.now);
  const endedBefore = Math.floor(session.now - retentionMs);
  const old = session.sql(selectOld).all(endedBefore, limit) as OldRow[];
  for (const row of old) {
    const { seq, type, state, blob } = row;
    session.sql(deleteJob).run(seq);
    session.sql(deleteAttempts).run(seq);
    session.sql(deleteSteps).run(seq);
    session.sql(deleteLines).run(seq);
    deleteCorrelations(session, row);
    session.free(blob);
    session.moved(type, state, null);
  }
  session.sql(deleteWorkers).run(endedBefore);
  session.sql(deleteOldTurns).run((session.now - 86_400_000) * 1_000);
  pruneSpent(session);
  pruneKeys(session);
  freeStuckKeys(session);
  return { pruned: old.length };
}

interface OldRow {
  readonly seq: number;
  readonly id: string;
  readonly type: string;
  readonly state: "completed" | "cancelled";
  readonly blob: string | null;
  readonly correlation: string | null;
}

// Primary key.
const editJob = `
  update sluice_jobs
  set payload = ?, version = ?, controls = ?, concurrency_key = ?
  where seq = ?`;

// Primary key.
const requestCancel = `
  update sluice_jobs
  set cancel_requested_at = ?, cancel_reason = ?
  where seq = ?`;

// Primary key.
const makePending = `
  update sluice_jobs
  set state = 'pending', run_at = ?1, rank = case when controls ->> 'group' is null then ?1 * 1000 else rank end, finished_at = null
  where seq = ?2`;

// Primary key.
const letGo = "update sluice_jobs set state = ?, held_by = null where seq = ?";

// Primary key.
const makeCancelled = `
  update sluice_jobs
  set state = 'cancelled', finished_at = ?, cancel_reason = ?, held_by = null
  where seq = ?`;

// Primary key.
const leavePlace = `
  update sluice_jobs
  set held_key = null
  where seq = ?`;

// Primary key.
const renewBudget = `
  update sluice_jobs
  set attempt = 0, crashes = 0, error = null, fail_reason = null
  where seq = ?`;

// Primary key, sluice_audit_job.
const insertAudit = `
  insert into sluice_audit (at, actor, action, job_id, job_type, state_before, state_after, payload_before, reason)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?)`;

// Primary key, backwards.
const selectAudit = `
  select at, actor, action, job_id as jobId, job_type as jobType, state_before as stateBefore, state_after as stateAfter,
    payload_before as payloadBefore, reason
  from sluice_audit
  order by seq desc
  limit ?`;

// sluice_audit_job, backwards.
const selectAuditOf = `
  select at, actor, action, job_id as jobId, job_type as jobType, state_before as stateBefore, state_after as stateAfter,
    payload_before as payloadBefore, reason
  from sluice_audit
  where job_id = ?
  order by seq desc
  limit ?`;

// Inner: sluice_jobs_key_kept. Outer: primary key. Nobody waits behind a job that has ended. A bounded number at a time.
const dropExpiredKeys = `
  update sluice_jobs
  set held_key = null
  where seq in (
    select seq
    from sluice_jobs
    where state in ('completed', 'cancelled')
      and held_key is not null
      and unique_until <= ?
    order by unique_until
    limit 1000
  )`;

// sluice_jobs_finished, which leaves out the jobs that a key still keeps: they would be looked at in every round.
const selectOld = `
  select seq, id, type, state, blob, correlation
  from sluice_jobs
  where state in ('completed', 'cancelled')
    and held_key is null
    and finished_at < ?
  order by finished_at, seq
  limit ?`;

// Primary key. A bounded number at a time.
const selectFreedBlobs = `
  select blob
  from sluice_freed_blobs
  limit 1000`;

// Primary keys and the indexes on job, in all five.
const deleteFreedBlob = "delete from sluice_freed_blobs where blob = ?";
const deleteJob = "delete from sluice_jobs where seq = ?";
const deleteAttempts = "delete from sluice_attempts where job = ?";
const deleteSteps = "delete from sluice_steps where job = ?";
const deleteLines = "delete from sluice_lines where job = ?";

// Full scan: a row per worker process. A lost one stays long enough for its process to hear of it.
const deleteWorkers = `
  delete from sluice_workers
  where (is_lost = 1 or retired_at is not null)
    and max(lease_expires_at, coalesce(retired_at, 0)) < ?1 - 86400000
    and not exists (select 1 from sluice_jobs where worker = sluice_workers.seq and state = 'processing')`;

// Full scan: a row for each group in use.
const deleteOldTurns = "delete from sluice_turns where place < ?";
