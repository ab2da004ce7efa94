/**
 * Which jobs a worker gives back because workers have died under them, and for which one it takes up no other work: a suspect runs
 * alone (docs/decisions/0020). Starting and claiming are worker.ts.
 */
import type { Clock } from "./clock.js";
import { isSuspect } from "./settlement.js";
import type { ClaimedJob, Store } from "./store.js";

export interface SuspectsOptions {
  readonly store: Store<unknown>;
  readonly clock: Clock;
  /** How often to look whether another worker has taken the awaited one. */
  readonly lookEveryMs: number;
  /** Called after each look. */
  readonly onLook: () => void;
  readonly onTrouble: (during: string, error: unknown) => void;
}

export class Suspects {
  readonly #options: SuspectsOptions;
  #awaited: ClaimedJob | null = null;
  #cancelTimer: (() => void) | null = null;

  constructor(options: SuspectsOptions) {
    this.#options = options;
  }

  /** The suspect for which the worker takes up no other work until nothing runs in it. It is in the store. */
  get awaited(): ClaimedJob | null {
    return this.#awaited;
  }

  /**
   * What to do with jobs that came together. A suspect goes back, unless it came alone and can start at once: while it waited here,
   * a crash of another job would be charged to it. What came with it runs first: giving that back instead would cost a write for
   * each job, and the suspect is in no hurry.
   * @param isEmpty The worker has nothing, nor anything that is not durable yet.
   */
  sort(
    jobs: readonly ClaimedJob[],
    { isEmpty }: { isEmpty: boolean },
  ): { readonly keep: readonly ClaimedJob[]; readonly giveBack: readonly ClaimedJob[] } {
    const suspects = jobs.filter(isSuspect);
    if (suspects.length === 0 || (jobs.length === 1 && isEmpty)) return { keep: jobs, giveBack: [] };
    if (this.#awaited === null) {
      this.#awaited = suspects[0]!;
      this.#watch();
    }
    return { keep: jobs.filter((job) => !isSuspect(job)), giveBack: suspects };
  }

  stopWaiting(): void {
    this.#awaited = null;
    this.#cancelTimer?.();
  }

  /** Another worker may be the first with nothing to do: then this one has no reason to wait any more. */
  #watch(): void {
    const { clock, lookEveryMs, onLook } = this.#options;
    this.#cancelTimer = clock.setTimer(lookEveryMs, () => {
      const job = this.#awaited;
      if (job === null) return;
      void this.#isInStore(job).then((isStillThere) => {
        if (this.#awaited !== job) return;
        if (isStillThere) this.#watch();
        else this.#awaited = null;
        onLook();
      });
    });
  }

  async #isInStore({ id }: ClaimedJob): Promise<boolean> {
    try {
      const [record] = await this.#options.store.get([id]);
      return record?.state === "pending";
    } catch (error) {
      this.#options.onTrouble("looking for a suspect", error);
      return true;
    }
  }
}
