/**
 * Priorities without starvation. A higher priority goes first, always; but of the jobs of a type that a worker claims, one in ten is
 * for those of the lowest priority that have waited for a minute. So an endless stream of the highest holds up the job that is n-th
 * in line at the lowest for at most that minute and ten times n starts of its type in one worker, and the next priority after it.
 */

/** Who has waited for as long as this may go before others of a higher priority. */
export const agedAfterMs = 60_000;

const oneIn = 10;
/** A look for aged jobs costs a store more than a claim without: the share of a second is asked for at once. */
const askEveryMs = 1_000;

export class Aging {
  readonly #claimed = new Map<string, number>();
  readonly #askedAt = new Map<string, number>();

  /** So many jobs of the type were claimed. */
  claimed(type: string, jobs: number): void {
    this.#claimed.set(type, (this.#claimed.get(type) ?? 0) + jobs);
  }

  /** How many of the next claim are for aged jobs. */
  shareOf(type: string, now: number): number {
    const share = Math.floor((this.#claimed.get(type) ?? 0) / oneIn);
    if (share === 0 || now - (this.#askedAt.get(type) ?? -Infinity) < askEveryMs) return 0;
    this.#askedAt.set(type, now);
    this.#claimed.set(type, 0);
    return share;
  }
}
