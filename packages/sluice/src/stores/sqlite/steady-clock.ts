/**
 * Remembers how the system's time was set while leases were written. When somebody sets it forward, or the machine wakes from
 * sleep, every lease looks as if it had run out, although everybody is alive and about to renew; a clock that nobody can set
 * tells the difference. All processes that share a file are on one machine, and see the same step.
 */

/** Less is the daily work of NTP, and far less than a lease. */
const toleratedMs = 500;
/** A clock that is set more often has no past worth keeping. */
const keptSteps = 100;

export class SteadyClock {
  readonly #wall: () => number;
  readonly #monotonic: () => number;
  /** What the two clocks differ by now, and did before each step, until when (on the monotonic one). */
  #offset: number;
  readonly #past: { readonly offset: number; readonly until: number }[] = [];

  constructor(wall: () => number, monotonic: () => number = () => performance.now()) {
    this.#wall = wall;
    this.#monotonic = monotonic;
    this.#offset = wall() - monotonic();
  }

  /** To be called at least every second or so: a step counts from the look that finds it. */
  look(): void {
    const at = this.#monotonic();
    const offset = this.#wall() - at;
    if (Math.abs(offset - this.#offset) > toleratedMs) this.#past.push({ offset: this.#offset, until: at });
    if (this.#past.length > keptSteps) this.#past.shift();
    this.#offset = offset;
  }

  /**
   * The earliest instant that it may be by any setting of the last `withinMs`: a lease of that length which has run out by this
   * has truly run out. After a step forward that is the old setting's time, until everybody alive has renewed under the new one;
   * otherwise simply the present.
   */
  earliestNow(withinMs: number): number {
    this.look();
    const at = this.#monotonic();
    const recent = this.#past.filter(({ until }) => until > at - withinMs).map(({ offset }) => offset);
    return at + Math.min(this.#offset, ...recent);
  }
}
