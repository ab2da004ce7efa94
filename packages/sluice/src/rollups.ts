/**
 * Counts what happens to jobs in this process and brings it to the store once a second, where there is something to bring. Best effort: what
 * was counted and not brought yet is lost with the process, and nothing here ever disturbs a job.
 */
import type { Clock } from "./clock.js";
import { isRetryable, JobsError } from "./errors.js";
import { bucketOf, emptyHistogram, mergeCounts, noCounts } from "./rollup.js";
import type { NewRollup } from "./rollup.js";
import type { ClaimedJob, EnqueueResult, SettleResult, Settlement, Store } from "./store.js";

export interface RollupsOptions {
  readonly store: Pick<Store<unknown>, "addRollups">;
  readonly clock: Clock;
  readonly onTrouble: (error: unknown) => void;
}

const bringEveryMs = 1_000;
/** After a failure: a store in trouble has more urgent things to do. */
const bringAgainMs = 10_000;

type Counting = { -readonly [Name in keyof Omit<NewRollup, "wait" | "run" | "type">]: number } & {
  readonly type: string;
  readonly wait: number[];
  readonly run: number[];
};

export class Rollups {
  readonly #options: RollupsOptions;
  #counting = new Map<string, Counting>();
  #everyMs = bringEveryMs;
  #cancelTimer: (() => void) | null = null;
  #bringing: Promise<void> = Promise.resolve();

  constructor(options: RollupsOptions) {
    this.#options = options;
  }

  /** Call with each answer of the store to a new job of this type. */
  enqueued(type: string, { outcome }: Pick<EnqueueResult, "outcome">): void {
    if (outcome === "created") this.#of(type).enqueued++;
    else if (outcome === "refused") this.#of(type).refused++;
  }

  /** Call when a settlement is durable. */
  settled(
    job: ClaimedJob,
    { settlement, result, runMs }: { settlement: Settlement; result: SettleResult; runMs: number },
  ): void {
    if (result === "lease_lost") return;
    const counting = this.#of(job.type);
    if (result === "cancelled" || settlement.kind === "cancel") counting.cancelled++;
    else if (settlement.kind === "snooze") counting.snoozed++;
    else if (settlement.kind !== "release") this.#attempted(counting, job, settlement, runMs);
    if (settlement.kind === "complete") for (const { type } of settlement.children) this.#of(type).enqueued++;
  }

  #attempted(
    counting: Counting,
    job: ClaimedJob,
    settlement: Settlement & { readonly kind: "complete" | "retry" | "fail" },
    runMs: number,
  ): void {
    const waitMs = Math.max(0, Math.round(job.startedAt - Math.max(job.createdAt, job.runAt)));
    counting.wait[bucketOf(waitMs)]!++;
    counting.waitSumMs += waitMs;
    const hasCrashed = settlement.kind !== "complete" && settlement.hasCrashed;
    if (settlement.kind === "complete") counting.completed++;
    else if (settlement.kind === "retry") counting.retried++;
    else counting.failed++;
    if (hasCrashed) counting.crashed++;
    // How long it ran until its worker died is not known, and one that could not be read did not run.
    if (hasCrashed || (settlement.kind === "fail" && settlement.reason === "invalid_payload")) return;
    const wholeRunMs = Math.max(0, Math.round(runMs));
    counting.run[bucketOf(wholeRunMs)]!++;
    counting.runSumMs += wholeRunMs;
  }

  /** Resolves when everything counted so far has been brought, or has failed to be. Never rejects. */
  flush(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#bringing = this.#bringing.then(() => this.#bring());
    return this.#bringing;
  }

  #of(type: string): Counting {
    let counting = this.#counting.get(type);
    if (counting === undefined) {
      this.#counting.set(type, (counting = nothingOf(type)));
      this.#bringSoon();
    }
    return counting;
  }

  #bringSoon(): void {
    this.#cancelTimer ??= this.#options.clock.setTimer(this.#everyMs, () => void this.flush(), { isBackground: true });
  }

  async #bring(): Promise<void> {
    const counted = this.#counting;
    if (counted.size === 0) return;
    this.#counting = new Map();
    try {
      await this.#options.store.addRollups([...counted.values()]);
      this.#everyMs = bringEveryMs;
    } catch (error) {
      // The application is done with its store, and nobody can be told any more.
      if (error instanceof JobsError && error.code === "STORE_CLOSED") return;
      this.#everyMs = bringAgainMs;
      // Whether the store has them is not known. Most often it could not be reached, so they are sent again: should the answer have
      // been all that was lost, a second counts twice. The other way, every failover would be a hole.
      if (isRetryable(error)) this.#takeBack(counted);
      this.#options.onTrouble(error);
    }
  }

  #takeBack(counted: ReadonlyMap<string, Counting>): void {
    for (const [type, counts] of counted) {
      const counting = this.#of(type);
      Object.assign(counting, mergeCounts(counting, counts));
    }
  }
}

function nothingOf(type: string): Counting {
  return { type, ...noCounts, wait: emptyHistogram(), run: emptyHistogram() };
}
