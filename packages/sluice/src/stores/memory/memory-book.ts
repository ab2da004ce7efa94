/**
 * All jobs of a memory store, as the book that the moves change; and the hints that come of it.
 */
import { hasEnded } from "../../job.js";
import type { AttemptRecord, JobId, JobState } from "../../job.js";
import { Keys } from "../../keys.js";
import type { Book } from "../../moves.js";
import type { AuditRecord, NewJob, WakeHint } from "../../store.js";
import type { MemoryBlobs } from "./memory-blobs.js";
import { newRow } from "./memory-rows.js";
import type { MemoryRow } from "./memory-rows.js";

export class MemoryBook implements Book<MemoryRow> {
  now = 0;
  readonly keys = new Keys<MemoryRow>();
  readonly rows = new Map<JobId, MemoryRow>();
  readonly typesSeen = new Set<string>();
  readonly audit: AuditRecord[] = [];
  readonly #blobs: MemoryBlobs;
  #insertions = 0;
  #hint = { work: false, ended: false };

  constructor(blobs: MemoryBlobs) {
    this.#blobs = blobs;
  }

  find(id: JobId): MemoryRow | undefined {
    return this.rows.get(id);
  }

  select(isWanted: (row: MemoryRow) => boolean): MemoryRow[] {
    return [...this.rows.values()].filter(isWanted);
  }

  insert(job: NewJob, state: JobState): MemoryRow {
    const row = newRow(job, { state, now: this.now, insertion: this.#insertions });
    this.#insertions += 1;
    this.rows.set(job.id, row);
    this.typesSeen.add(job.type);
    this.#hintFor(state);
    return row;
  }

  changed({ job }: MemoryRow, from?: JobState): void {
    if (from !== undefined) this.#hintFor(job.state);
  }

  hintWork(): void {
    this.#hint.work = true;
  }

  /** What there is to tell since the last call. */
  takeHint(): WakeHint {
    const hint = this.#hint;
    this.#hint = { work: false, ended: false };
    return hint;
  }

  dropSteps({ steps }: MemoryRow): void {
    steps.length = 0;
  }

  addAttempt({ attempts }: MemoryRow, attempt: AttemptRecord): void {
    attempts.push(attempt);
  }

  dropBlob(blob: string): void {
    this.#blobs.removeNow(blob);
  }

  addAudit(record: AuditRecord): void {
    this.audit.push(record);
  }

  #hintFor(state: JobState): void {
    if (state === "pending" || state === "scheduled" || state === "retrying") this.#hint.work = true;
    if (hasEnded(state)) this.#hint.ended = true;
  }
}
