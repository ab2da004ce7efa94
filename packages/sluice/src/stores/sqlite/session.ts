/**
 * One connection with what belongs to it: its prepared statements, the present, and what the operation under way has changed
 * besides rows (counts, hints, blobs nobody needs any more). The topics (enqueue.ts, claim.ts, …) are functions over a session.
 */
import type { JobId, JobState } from "../../job.js";
import { hasEnded, isWaiting } from "../../job.js";
import type { WakeHint } from "../../store.js";
import type { Connection, Statement } from "./engine.js";
import type { SteadyClock } from "./steady-clock.js";

/** What an operation leaves for its caller to do once it is durable. */
export interface Effects {
  readonly hint: WakeHint;
  /** Their files may be deleted; `prune` does it for those whose process did not get that far. */
  readonly freedBlobs: readonly string[];
}

export class Session {
  /** The instant of the operation under way, whole milliseconds. */
  now = 0;
  /** Jobs this session handed out: a hint that saves `settle` a look at the row. Never trusted: the row's own id and epoch decide. */
  readonly handedOut = new HandedOut();

  readonly #connection: Connection;
  readonly #clock: () => number;
  readonly #steady: SteadyClock | null;
  readonly #statements = new Map<string, Statement>();
  #moves = new Map<string, Map<JobState, number>>();
  #hint = { work: false, ended: false };
  #freedBlobs: string[] = [];

  /** @param steady For leases, where the clock is the system's and may be set; see steady-clock.ts. */
  constructor(connection: Connection, clock: () => number, steady: SteadyClock | null = null) {
    this.#connection = connection;
    this.#clock = clock;
    this.#steady = steady;
  }

  /** The instant by which a lease of this length must have run out to be over, whatever somebody did to the clock meanwhile. */
  leaseNow(leaseMs: number): number {
    return this.#steady === null ? this.now : Math.min(this.now, Math.floor(this.#steady.earliestNow(leaseMs)));
  }

  /** The statement, prepared once. */
  sql(text: string): Statement {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#connection.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  /** As `sql`, for a statement of the store's own connection whose rows come as arrays: a third cheaper to make than objects. */
  sqlOfArrays(text: string): Statement {
    const isNew = !this.#statements.has(text);
    const statement = this.sql(text);
    if (isNew) (statement as Statement & { setReturnArrays(isOn: boolean): void }).setReturnArrays(true);
    return statement;
  }

  /** Runs one operation inside a transaction that is open already: all of it happens, or none of it. */
  atomically<T>(operation: () => T): { readonly value: T; readonly effects: Effects } {
    this.sql("savepoint sluice_operation").run();
    try {
      const done = this.begin(operation);
      this.sql("release sluice_operation").run();
      return done;
    } catch (error) {
      // After a full disk or an I/O error SQLite has rolled back the whole transaction, and there is no savepoint to go back to.
      this.#tryRun("rollback to sluice_operation");
      this.#tryRun("release sluice_operation");
      throw error;
    }
  }

  /** As `atomically`, where the operation is all that its transaction holds. */
  begin<T>(operation: () => T): { readonly value: T; readonly effects: Effects } {
    this.now = Math.floor(this.#clock());
    this.#moves.clear();
    this.#hint = { work: false, ended: false };
    this.#freedBlobs = [];

    const value = operation();
    this.#writeCounts();
    return { value, effects: { hint: this.#hint, freedBlobs: this.#freedBlobs } };
  }

  /** Must be called for every job that changes its state, appears (`from` null) or disappears (`to` null). */
  moved(type: string, from: JobState | null, to: JobState | null, jobs = 1): void {
    if (jobs === 0 || from === to) return;
    let moves = this.#moves.get(type);
    if (moves === undefined) this.#moves.set(type, (moves = new Map<JobState, number>()));
    if (from !== null) moves.set(from, (moves.get(from) ?? 0) - jobs);
    if (to !== null) {
      moves.set(to, (moves.get(to) ?? 0) + jobs);
      if (to === "pending" || to === "scheduled" || to === "retrying") this.#hint.work = true;
      else if (hasEnded(to)) this.#hint.ended = true;
    }
  }

  /** How many jobs of the type wait, with what this operation has changed so far. */
  waiting(type: string): number {
    const { waiting } = this.sql(sumWaiting).get(type) as { waiting: number };
    let sum = waiting;
    for (const [state, jobs] of this.#moves.get(type) ?? []) if (isWaiting(state)) sum += jobs;
    return sum;
  }

  /** Workers should look: for a change that moves no job. */
  hintWork(): void {
    this.#hint.work = true;
  }

  /** A blob has lost its job. */
  free(blob: string | null): void {
    if (blob === null) return;
    this.sql(keepFreedBlob).run(blob);
    this.#freedBlobs.push(blob);
  }

  #writeCounts(): void {
    for (const [type, moves] of this.#moves) {
      for (const [state, n] of moves) if (n !== 0) this.sql(addToCount).run(type, state, n);
    }
  }

  #tryRun(text: string): void {
    try {
      this.sql(text).run();
    } catch {
      // The error that brought us here says more, and whoever commits will notice that nothing is left to commit.
    }
  }
}

/** Bounded, as jobs may be settled elsewhere: by another process, or by upkeep. */
class HandedOut {
  readonly #jobs = new Map<JobId, { readonly seq: number; readonly type: string }>();

  add(id: JobId, job: { readonly seq: number; readonly type: string }): void {
    this.#jobs.set(id, job);
    if (this.#jobs.size > 20_000) this.#jobs.delete(this.#jobs.keys().next().value!);
  }

  take(id: JobId): { readonly seq: number; readonly type: string } | undefined {
    const job = this.#jobs.get(id);
    if (job !== undefined) this.#jobs.delete(id);
    return job;
  }
}

// Primary key. One row per type and state: the table stays as small as the list of types.
const addToCount = `
  insert into sluice_counts (type, state, n)
  values (?, ?, ?)
  on conflict (type, state) do update
  set n = n + excluded.n`;

// Primary key.
const sumWaiting = `
  select coalesce(sum(n), 0) as waiting
  from sluice_counts
  where type = ?
    and state in ('scheduled', 'pending', 'blocked', 'retrying')`;

// Primary key.
const keepFreedBlob = `
  insert into sluice_freed_blobs (blob)
  values (?)
  on conflict do nothing`;
