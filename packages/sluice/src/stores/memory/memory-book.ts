/**
 * All jobs of a memory store, as the book that the moves change; and the hints that come of it.
 */
import { hasEnded, isWaiting } from "../../job.js";
import type { AttemptRecord, JobId, JobRecord, JobState } from "../../job.js";
import { Keys } from "../../keys.js";
import type { Turns } from "../../fairness.js";
import type { KeptKey } from "../../idempotency.js";
import { intakeOf } from "../../intake.js";
import type { Intake } from "../../intake.js";
import { move, toRecord } from "../../moves.js";
import type { Book } from "../../moves.js";
import { defaultSettings } from "../../settings.js";
import type { TypeSettings } from "../../settings.js";
import type { AuditRecord, NewJob, WakeHint } from "../../store.js";
import type { MemoryBlobs } from "./memory-blobs.js";
import { byTurn, newRow } from "./memory-rows.js";
import type { MemoryRow } from "./memory-rows.js";

export class MemoryBook implements Book<MemoryRow> {
  now = 0;
  readonly keys = new Keys<MemoryRow>();
  readonly rows = new Map<JobId, MemoryRow>();
  readonly #kept = new Map<string, KeptKey>();
  readonly typesSeen = new Set<string>();
  readonly settings = new Map<string, TypeSettings>();
  /** By the names of rates: until when each is spent. */
  readonly spent = new Map<string, number>();
  readonly #turns = new Map<string, { last: number | null; readonly tails: Map<string, number> }>();
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

  recordOf(id: JobId): JobRecord | null {
    const row = this.rows.get(id);
    return row === undefined ? null : toRecord(row);
  }

  keptKey(key: string): KeptKey | undefined {
    return this.#kept.get(key);
  }

  keepKey(key: string, kept: KeptKey): void {
    this.#kept.set(key, kept);
  }

  dropExpiredKeys(): void {
    for (const [key, { expiresAt }] of this.#kept) if (this.now >= expiresAt) this.#kept.delete(key);
  }

  select(isWanted: (row: MemoryRow) => boolean): MemoryRow[] {
    return [...this.rows.values()].filter(isWanted);
  }

  insert(job: NewJob, state: JobState, rank = this.now): MemoryRow {
    const row = newRow(job, { state, now: this.now, rank, insertion: this.#insertions });
    this.#insertions += 1;
    this.rows.set(job.id, row);
    this.typesSeen.add(job.type);
    this.#hintFor(state);
    return row;
  }

  settingsOf(type: string): TypeSettings {
    return this.settings.get(type) ?? defaultSettings(type);
  }

  intakeOf(job: NewJob): Intake | null {
    const intake = intakeOf(this.settingsOf(job.type), job);
    if (intake === null) return null;
    const backlog = this.select((row) => row.job.type === job.type && isWaiting(row.job.state)).length;
    return { ...intake, backlog, spent: this.spent };
  }

  turnsOf(type: string, priority: number): Turns {
    const name = `${priority} ${type}`;
    const turns = this.#turns.get(name) ?? { last: null, tails: new Map<string, number>() };
    this.#turns.set(name, turns);
    const [first] = this.select(
      ({ job }) => job.state === "pending" && job.type === type && job.priority === priority,
    ).sort(byTurn);
    return Object.assign(turns, { head: first?.rank ?? null });
  }

  freeKey(key: string): void {
    const [next] = this.select(
      ({ job }) => job.heldBy === "concurrency_key" && job.controls?.concurrencyKey === key,
    ).sort(byTurn);
    if (next !== undefined) move(this, next, "pending", next.rank);
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
