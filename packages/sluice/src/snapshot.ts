/**
 * A part of the port that a store may have or not: to be read out whole, or to take in what another store was. Hides how; copy.ts
 * says what is moved, in which order, and what must not be.
 *
 * The contract: a snapshot is one job with all that belongs to it, as it was at one instant. Nothing is decided on the way: state,
 * turn, attempts, crashes and epoch arrive as they were, so that whoever claims the job next has a greater epoch than anybody
 * before. Every import may be sent twice, and does nothing the second time.
 */
import type { AccessKey } from "./access.js";
import type { AuditRecord } from "./audit.js";
import type { AttemptRecord, JobId, JobRecord } from "./job.js";
import type { TypeSettings } from "./settings.js";
import type { LogLine, Step, UniqueClaim } from "./store.js";

export interface JobSnapshot {
  readonly job: JobRecord;
  readonly key: KeySnapshot | null;
  /** Its bytes travel apart, see `importBlob`. */
  readonly blob: string | null;
  /** The instant that decides its turn within a priority: when it became pending. May have a fraction. */
  readonly rank: number;
  readonly attempts: readonly AttemptRecord[];
  readonly steps: readonly Step[];
  readonly lines: readonly LogLine[];
}

/** `holds` the key, `waits` behind the job that does (and is blocked), or has it no more: `gave_back`. */
export interface KeySnapshot extends Pick<UniqueClaim, "key" | "holdWhile" | "periodMs"> {
  readonly place: "holds" | "waits" | "gave_back";
}

/** `nth`: so many records before this one say exactly the same. Each store has places (`seq`) of its own. */
export interface AuditSnapshot extends Omit<AuditRecord, "seq"> {
  readonly nth: number;
}

/** At most so many, and no more once they have about so many bytes; but at least one. */
export interface ExportLimits {
  readonly limit: number;
  readonly bytes: number;
}

/** `next` is null when nothing is left; a page may be empty before that. */
export interface JobExport {
  readonly jobs: readonly JobSnapshot[];
  readonly next: JobId | null;
}

export interface AuditExport {
  readonly records: readonly AuditSnapshot[];
  readonly next: number | null;
}

export interface ExportingStore {
  /**
   * Jobs with ids greater than `after`, in the order of ids.
   * @param request `liveOnly` leaves out completed and cancelled jobs, but for those that still hold a unique key.
   */
  exportJobs(request: ExportLimits & { readonly after: JobId | null; readonly liveOnly: boolean }): Promise<JobExport>;
  /** The audit, oldest first. @param request `settingsOnly` leaves out all but the changes of settings. */
  exportAudit(
    request: ExportLimits & { readonly after: number | null; readonly settingsOnly: boolean },
  ): Promise<AuditExport>;
}

/**
 * - `imported`: it is there now. One that was processing is held by a worker that counts as lost, and will be rescued.
 * - `known`: a job of this id is there already, and stays as it is.
 * - `key_taken`: its unique key belongs to another job here; it was left out.
 * - `unfit`: this store cannot hold such an id; it was left out.
 */
export type ImportOutcome = "imported" | "known" | "key_taken" | "unfit";

export interface ImportingStore {
  /** All in one transaction; the answers in the same order. */
  importJobs(snapshots: readonly JobSnapshot[]): Promise<readonly ImportOutcome[]>;
  /** The settings of types that have none here yet. Answers how many. */
  importSettings(settings: readonly TypeSettings[]): Promise<number>;
  /** Those that are not there. Answers how many. */
  importAccessKeys(keys: readonly AccessKey[]): Promise<number>;
  /** Appends those that are not there. Answers how many. */
  importAudit(records: readonly AuditSnapshot[]): Promise<number>;
  /** Puts a blob under the id that it has elsewhere; `known` when it is there already. */
  importBlob(id: string, source: AsyncIterable<Uint8Array>): Promise<"imported" | "known">;
}
