/**
 * Ends attempts. By far the most common ending, a job that completes and holds no unique key, is one statement by primary key;
 * everything else looks at the row first.
 */
import type { JobState } from "../../job.js";
import { hasEnded } from "../../job.js";
import type { Settlement, SettleResult } from "../../store.js";
import { settledState } from "../../transition.js";
import { enqueueChildren, giveBackKey, takeKeyIfFree } from "./enqueue.js";
import { leaveKey } from "./hold.js";
import { findById } from "./rows.js";
import type { JobRow } from "./rows.js";
import type { Session } from "./session.js";
import { uncut } from "./text.js";

export function settle(session: Session, settlements: readonly Settlement[]): readonly SettleResult[] {
  return settlements.map((settlement) => {
    if (settlement.kind === "complete" && settlement.children.length === 0 && completeAtOnce(session, settlement)) {
      return "applied";
    }
    return settleOne(session, settlement);
  });
}

function completeAtOnce(session: Session, { hold, output }: Settlement & { readonly kind: "complete" }): boolean {
  const job = session.handedOut.take(hold.id);
  if (job === undefined) return false;
  const { changes } = session.sql(completeUnkeyed).run(session.now, output, job.seq, hold.id, hold.epoch);
  if (changes === 0) return false;
  session.moved(job.type, "processing", "completed");
  return true;
}

function settleOne(session: Session, settlement: Settlement): SettleResult {
  const row = findById(session, settlement.hold.id);
  if (row === undefined || row.state !== "processing" || row.epoch !== settlement.hold.epoch) return "lease_lost";

  const { state, result } = settledState(settlement.kind, row.cancel_requested_at !== null);
  const failure = settlement.kind === "retry" || settlement.kind === "fail" ? settlement : null;
  const error = failure === null ? row.error : JSON.stringify(failure.error);
  if (failure !== null) recordAttempt(session, row, { error: error!, hasCrashed: failure.hasCrashed });
  const isGivenBack =
    settlement.kind === "snooze" || settlement.kind === "release" || (failure !== null && !failure.isCharged);

  session
    .sql(endAttempt)
    .run(
      state,
      runAtAfter(settlement, state, session.now) ?? row.run_at,
      hasEnded(state) ? session.now : null,
      row.attempt - (isGivenBack ? 1 : 0),
      settlement.kind === "complete" ? settlement.output : row.output,
      settlement.kind === "fail" ? settlement.reason : row.fail_reason,
      cancelReasonAfter(settlement, state, row),
      error,
      row.crashes + (failure?.hasCrashed === true ? 1 : 0),
      row.seq,
    );
  session.moved(row.type, "processing", state);
  if (!hasEnded(state)) {
    // It waits again. If another job has the key by now, both wait: turning one away now would lose it.
    if (row.unique_while === "pending") takeKeyIfFree(session, row);
  } else if (row.held_key !== null) {
    giveBackKey(session, { seq: row.seq, heldKey: row.held_key, holdWhile: row.unique_while });
  }
  leaveKey(session, row.concurrency_key, { from: "processing", to: state });
  // Last: a child may take over the key that its parent has just given back.
  if (settlement.kind === "complete") enqueueChildren(session, settlement.children);
  return result;
}

/** An attempt that ends with an error joins the history. */
function recordAttempt(
  session: Session,
  row: JobRow,
  { error, hasCrashed }: { readonly error: string; readonly hasCrashed: boolean },
): void {
  const startedAt = row.started_at ?? session.now;
  session
    .sql(insertAttempt)
    .run(row.seq, row.epoch, row.attempt, row.worker_id ?? "", startedAt, session.now, hasCrashed ? 1 : 0, error);
}

function runAtAfter(settlement: Settlement, state: JobState, now: number): number | null {
  if (settlement.kind === "retry" && state === "retrying") return Math.ceil(now + settlement.delayMs);
  if (settlement.kind === "snooze" && state === "scheduled") return Math.ceil(now + settlement.delayMs);
  return null;
}

/** A requested cancellation has left its reason in the row. */
function cancelReasonAfter(settlement: Settlement, state: JobState, row: JobRow): string | null {
  if (settlement.kind === "cancel") return row.cancel_reason ?? uncut(settlement.reason);
  return state === "cancelled" ? row.cancel_reason : null;
}

// Primary key; the id is compared as well, since the number of a deleted job may have been given to another.
const completeUnkeyed = `
  update sluice_jobs
  set state = 'completed', finished_at = ?, output = ?, cancel_requested_at = null, cancel_reason = null
  where seq = ?
    and id = ?
    and epoch = ?
    and state = 'processing'
    and held_key is null
    and concurrency_key is null`;

// Primary key. The row was read in this transaction, so the hold is still good.
const endAttempt = `
  update sluice_jobs
  set state = ?1, run_at = ?2, finished_at = ?3, attempt = ?4, output = ?5, fail_reason = ?6, cancel_reason = ?7,
    error = ?8, crashes = ?9, cancel_requested_at = null,
    worker = case when ?1 = 'completed' then worker end
  where seq = ?10`;

// Primary key.
const insertAttempt = `
  insert into sluice_attempts (job, epoch, attempt, worker_id, started_at, ended_at, crashed, error)
  values (?, ?, ?, ?, ?, ?, ?, ?)`;
