/**
 * Moves what one store has to another: jobs with all that belongs to them, blobs, the audit. Says what is moved and what must not
 * be, and counts at the end whether all of it arrived; reading out and taking in is for the stores (snapshot.ts). Idempotency keys
 * stay behind: they belong to requests, which are over before everything is stopped for a move.
 *
 * Where it was is written nowhere: what the target has already is passed over, so that a copy that was killed is started again.
 */
import type { Clock } from "./clock.js";
import { systemClock } from "./clock.js";
import { JobsError } from "./errors.js";
import type { JobId, JobRecord, JobState } from "./job.js";
import type { ExportingStore, ExportLimits, ImportingStore, JobSnapshot } from "./snapshot.js";
import type { Store, TypeCounts } from "./store.js";
import { Tally } from "./tally.js";
import type { CountOfBoth } from "./tally.js";

export interface CopyOptions {
  readonly from: Store<unknown> & ExportingStore;
  readonly to: Store<unknown> & ImportingStore;
  /** Leaves out the audit and jobs that completed or were cancelled, but for those that still hold a unique key. Default false. */
  readonly liveOnly?: boolean;
  /** Copies although workers are running on one of the stores. What they do meanwhile may be copied or not. Default false. */
  readonly force?: boolean;
  /** Ends the copy between two pages; it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called after every page, and while blobs are copied. */
  readonly onProgress?: (progress: CopyProgress) => void;
  readonly clock?: Clock;
}

export interface CopyProgress {
  readonly of: "jobs" | "audit";
  readonly done: number;
  /** Null where nobody knows. */
  readonly total: number | null;
  /** Of blobs, so far. */
  readonly blobBytes: number;
}

/**
 * Why a job of the source is not in the target as it is in the source:
 * - `key_taken`: another job of the target holds its unique key.
 * - `unfit`: the target cannot hold its id.
 * - `differs`: the target has a job of this id, in another condition. It was left as it is.
 */
export type NotCopied = "key_taken" | "unfit" | "differs";

/** How many, and the first ids of them. */
export interface Some {
  readonly jobs: number;
  readonly ids: readonly JobId[];
}

export interface CopyReport {
  /** Jobs that this run has copied. */
  readonly copied: number;
  /** Jobs that were in the target already, just as they are in the source. */
  readonly known: number;
  readonly audit: number;
  /** Types whose settings this run has copied. */
  readonly settings: number;
  readonly blobs: number;
  readonly blobBytes: number;
  readonly notCopied: Readonly<Record<NotCopied, Some>>;
  /** Copied jobs whose blob the source has no more. */
  readonly withoutBlob: Some;
  /** Jobs of the target that the source does not have. They were left as they are. */
  readonly foreign: number;
  /** Both sides as they are now, by type and state; of the source only what was to be copied. */
  readonly counts: readonly CountOfBoth[];
  /** Whether both sides have the same number of jobs of every type in every state. */
  readonly isEqual: boolean;
}

/** A page crosses a thread and becomes one statement: large enough to share a commit, small enough for any machine. */
const pageLimits: ExportLimits = { limit: 1_000, bytes: 4 * 1_024 * 1_024 };
const blobsAtOnce = 3;
const idsNamed = 20;

/**
 * @throws {JobsError} WORKERS_ALIVE; whatever the stores reject with. What was copied until then stays, and the same call goes on.
 */
export async function copyStore(options: CopyOptions): Promise<CopyReport> {
  const copy = new Copy(options);
  await copy.refuseWorkers();
  // A paused type must be paused before its jobs arrive.
  await copy.settings();
  await copy.jobs();
  if (options.liveOnly !== true) await copy.audit();
  // One that started meanwhile has changed what was read already.
  await copy.refuseWorkers();
  return copy.report();
}

class Copy {
  readonly #options: CopyOptions;
  readonly #targetBefore = new Tally();
  /** Jobs of the target that the source has, too: by what they are in the target. */
  readonly #knownInTarget = new Tally();
  /** What was read and copied, or was there before, by what it is in the source. */
  readonly #over = new Tally();
  readonly #notCopied = { key_taken: new SomeJobs(), unfit: new SomeJobs(), differs: new SomeJobs() };
  readonly #withoutBlob = new SomeJobs();
  #copied = 0;
  #known = 0;
  #audit = 0;
  #settings = 0;
  #blobs = 0;
  #blobBytes = 0;

  constructor(options: CopyOptions) {
    this.#options = options;
  }

  async refuseWorkers(): Promise<void> {
    const { from, to, force = false, clock = systemClock } = this.#options;
    if (force) return;
    for (const [store, side] of [
      [from, "source"],
      [to, "target"],
    ] as const) {
      const alive = (await store.workers()).filter((each) => !each.isLost && each.leaseExpiresAt > clock.now());
      const [first] = alive;
      if (first === undefined) continue;
      const longestMs = Math.max(...alive.map(({ leaseExpiresAt }) => leaseExpiresAt - clock.now()));
      throw new JobsError(
        "WORKERS_ALIVE",
        `${alive.length === 1 ? "A worker is" : `${alive.length} workers are`} running on the ${side} (process ${first.pid} on ` +
          `${first.host}). Stop every process that uses it, then copy; one that was killed counts as running for another ` +
          `${Math.ceil(longestMs / 1_000)} s.`,
        { side, workers: alive.map(({ workerId }) => workerId) },
      );
    }
  }

  // ── jobs ──────────────────────────────────────────────────────────────────

  async jobs(): Promise<void> {
    const { from, to, liveOnly = false } = this.#options;
    this.#targetBefore.addAll(await to.counts());
    const total = this.#wanted(await from.counts()).sum();
    let done = 0;
    const read = (after: JobId | null) => from.exportJobs({ ...pageLimits, after, liveOnly });
    for await (const page of this.#readAhead(read)) {
      await this.#take(page.jobs, { done, total });
      done += page.jobs.length;
      this.#tell({ of: "jobs", done, total: Math.max(total, done) });
    }
  }

  async #take(
    jobs: readonly JobSnapshot[],
    progress: { readonly done: number; readonly total: number },
  ): Promise<void> {
    const { to } = this.#options;
    const there = jobs.length === 0 ? [] : await to.get(jobs.map(({ job }) => job.id));
    const fresh: JobSnapshot[] = [];
    for (const [index, snapshot] of jobs.entries()) {
      const known = there[index] ?? null;
      if (known === null) fresh.push(snapshot);
      else this.#noteKnown(snapshot.job, known);
    }
    await this.#takeBlobs(fresh, progress);
    const outcomes = fresh.length === 0 ? [] : await to.importJobs(fresh);
    for (const [index, { job }] of fresh.entries()) {
      switch (outcomes[index]) {
        case "imported":
          this.#copied += 1;
          if (isOver(job.state)) this.#over.add(job.type, job.state, 1);
          break;
        case "key_taken":
        case "unfit":
          this.#notCopied[outcomes[index]].add(job.id);
          break;
        case "known":
        case undefined:
          // Another copy was faster.
          this.#noteKnown(job, (await to.get([job.id]))[0] ?? job);
      }
    }
  }

  #noteKnown(job: JobRecord, known: JobRecord): void {
    this.#knownInTarget.add(known.type, known.state, 1);
    if (isOver(job.state)) this.#over.add(job.type, job.state, 1);
    if (isSame(job, known)) this.#known += 1;
    else this.#notCopied.differs.add(job.id);
  }

  // ── blobs ─────────────────────────────────────────────────────────────────

  /** Before their jobs: a job that is there has its blob. */
  async #takeBlobs(jobs: readonly JobSnapshot[], progress: { readonly done: number; readonly total: number }) {
    const withBlob = jobs.filter(({ blob }) => blob !== null);
    for (let at = 0; at < withBlob.length; at += blobsAtOnce) {
      await Promise.all(
        withBlob.slice(at, at + blobsAtOnce).map(async ({ job, blob }) => {
          if (!(await this.#takeBlob(blob!))) this.#withoutBlob.add(job.id);
          this.#tell({ of: "jobs", ...progress });
        }),
      );
      this.#options.signal?.throwIfAborted();
    }
  }

  async #takeBlob(id: string): Promise<boolean> {
    const { from, to } = this.#options;
    let bytes = 0;
    const counted = async function* (source: AsyncIterable<Uint8Array>) {
      for await (const chunk of source) {
        bytes += chunk.length;
        yield chunk;
      }
    };
    try {
      if ((await to.importBlob(id, counted(from.blobs.get(id)))) === "known") return true;
      this.#blobs += 1;
      this.#blobBytes += bytes;
      return true;
    } catch (error) {
      if (error instanceof JobsError && error.code === "BLOB_NOT_FOUND") return false;
      throw error;
    }
  }

  // ── settings of types ─────────────────────────────────────────────────────

  async settings(): Promise<void> {
    const { from, to } = this.#options;
    const settings = await from.settings();
    if (settings.length === 0) return;
    const history = await from.settingsHistory({ limit: Number.MAX_SAFE_INTEGER });
    this.#settings = await to.importSettings(settings, history);
  }

  // ── the audit ─────────────────────────────────────────────────────────────

  async audit(): Promise<void> {
    const { from, to } = this.#options;
    let done = 0;
    const read = (after: number | null) => from.exportAudit({ ...pageLimits, after });
    for await (const { records } of this.#readAhead(read)) {
      if (records.length > 0) this.#audit += await to.importAudit(records);
      done += records.length;
      this.#tell({ of: "audit", done, total: null });
    }
  }

  // ── what came of it ───────────────────────────────────────────────────────

  async report(): Promise<CopyReport> {
    const { from, to } = this.#options;
    const source = this.#wanted(await from.counts());
    if (this.#options.liveOnly === true) source.addTally(this.#over);
    const target = new Tally();
    target.addAll(await to.counts());
    const counts = source.beside(target);
    return {
      copied: this.#copied,
      known: this.#known,
      audit: this.#audit,
      settings: this.#settings,
      blobs: this.#blobs,
      blobBytes: this.#blobBytes,
      notCopied: {
        key_taken: this.#notCopied.key_taken.some(),
        unfit: this.#notCopied.unfit.some(),
        differs: this.#notCopied.differs.some(),
      },
      withoutBlob: this.#withoutBlob.some(),
      foreign: Math.max(0, this.#targetBefore.sum() - this.#knownInTarget.sum()),
      counts,
      isEqual: counts.every((each) => each.source === each.target),
    };
  }

  #wanted(counts: readonly TypeCounts[]): Tally {
    const wanted = new Tally();
    wanted.addAll(counts, (state) => this.#options.liveOnly !== true || !isOver(state));
    return wanted;
  }

  #tell(progress: Omit<CopyProgress, "blobBytes">): void {
    this.#options.onProgress?.({ ...progress, blobBytes: this.#blobBytes });
  }

  /** One page is read while the one before it is taken in. */
  async *#readAhead<Place, Page extends { readonly next: Place | null }>(
    read: (after: Place | null) => Promise<Page>,
  ): AsyncGenerator<Page> {
    for (let next: Promise<Page> | null = read(null); next !== null;) {
      const page: Page = await next;
      this.#options.signal?.throwIfAborted();
      next = page.next === null ? null : read(page.next);
      // Heard of where it is awaited, and nowhere when the page before it fails.
      next?.catch(() => undefined);
      yield page;
    }
  }
}

class SomeJobs {
  #jobs = 0;
  readonly #ids: JobId[] = [];

  add(id: JobId): void {
    this.#jobs += 1;
    if (this.#ids.length < idsNamed) this.#ids.push(id);
  }

  some(): Some {
    return { jobs: this.#jobs, ids: this.#ids };
  }
}

function isOver(state: JobState): boolean {
  return state === "completed" || state === "cancelled";
}

/** Whatever happens to a job shows in one of these. */
function isSame(a: JobRecord, b: JobRecord): boolean {
  const condition = (job: JobRecord) => [
    job.type,
    job.state,
    job.epoch,
    job.attempt,
    job.crashes,
    job.runAt,
    job.finishedAt,
    job.isCancelRequested,
    job.version,
    job.priority,
    job.payload,
  ];
  return JSON.stringify(condition(a)) === JSON.stringify(condition(b));
}
