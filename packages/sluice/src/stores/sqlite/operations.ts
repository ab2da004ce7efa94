/**
 * Every operation of the store thread under the name by which the calling thread asks for it.
 */
import type { NewJob } from "../../store.js";
import { accessKeys, addAccessKey, revokeAccessKey } from "./access-keys.js";
import { audit, record } from "./audit.js";
import { answerNothing, claim, hasClaimable } from "./claim.js";
import { enqueue } from "./enqueue.js";
import { exportAudit, exportJobs } from "./export.js";
import { amend, prune } from "./operators.js";
import { annotate, history, recall, remember } from "./progress.js";
import { packEnqueued, packResults, unpackSettlements } from "./protocol.js";
import type { PackedSettlements } from "./protocol.js";
import { counts, get, list } from "./reading.js";
import { addRollups, rollups } from "./rollups.js";
import type { Session } from "./session.js";
import { settings, setType } from "./settings.js";
import { settle } from "./settle.js";
import { standing } from "./standing.js";
import { findLost, hasExpired, heartbeat, heldBy, lostJobs, retire, workers } from "./workers.js";

/** Need the write lock; grouped into one transaction. */
export const writes = {
  enqueue: (session: Session, jobs: readonly NewJob[]) => packEnqueued(enqueue(session, jobs)),
  claim,
  settle: (session: Session, packed: PackedSettlements) => packResults(settle(session, unpackSettlements(packed))),
  remember,
  annotate,
  heartbeat,
  retire,
  findLost,
  amend,
  setType,
  addRollups,
  record,
  addAccessKey,
  revokeAccessKey,
  prune,
};

/** Change nothing. */
export const reads = {
  get,
  history,
  list,
  counts,
  workers,
  rollups,
  standing,
  audit,
  settings,
  accessKeys,
  recall,
  heldBy,
  exportJobs,
  exportAudit,
};

/**
 * Writes that often have nothing to write: the answer for that case, or null when there is something to do.
 * Found without the write lock, so that idle workers do not stand in the way of busy ones.
 */
export const shortcuts = {
  claim: (session: Session, request: Parameters<typeof claim>[1]) =>
    hasClaimable(session, request) ? null : answerNothing(session, request),
  findLost: (session: Session, request: Parameters<typeof findLost>[1]) =>
    hasExpired(session) ? null : lostJobs(session, request),
};

export type Operations = typeof writes & typeof reads;
