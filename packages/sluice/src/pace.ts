/**
 * How many jobs beyond the free slots are worth claiming: enough to keep busy during one claim's round trip at the present
 * rate, none for jobs that take longer than that matters. A prefetched job sits leased and idle, so less is better.
 */

/** Handlers slower than this gain nothing from prefetch: a round trip is lost in their own time. */
const slowMs = 20;
/** Beyond this a crash charges more jobs, and the event loop is held up for longer, for little speed (measured on PostgreSQL, 300 to 1,000). */
const maxPrefetch = 400;
/** A type is taken for slow until this many of its attempts have been seen. */
const minSamples = 20;
/** Weight of the newest sample in the moving averages. */
const weight = 0.05;

export class Pace {
  readonly #runMs = new Map<string, { mean: number; samples: number }>();
  #claimMs = 1;

  attemptTook(type: string, ms: number): void {
    const seen = this.#runMs.get(type);
    if (!seen) this.#runMs.set(type, { mean: ms, samples: 1 });
    else {
      seen.mean += (ms - seen.mean) * weight;
      seen.samples++;
    }
  }

  claimTook(ms: number): void {
    this.#claimMs += (ms - this.#claimMs) * weight;
  }

  prefetchFor(type: string, concurrency: number): number {
    const seen = this.#runMs.get(type);
    if (!seen || seen.samples < minSamples || seen.mean > slowMs) return 0;
    const perMs = concurrency / Math.max(seen.mean, 0.05);
    return Math.min(maxPrefetch, Math.ceil(perMs * Math.max(this.#claimMs, 1)));
  }
}
