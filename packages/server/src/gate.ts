/**
 * Whether this process can take a request on: refused before any work is begun, with the time after which to try again. Watches
 * how late the event loop is.
 */
import type { Limits } from "./limits.js";
import { Problem, retryAfter } from "./problem.js";

const lookMs = 250;

export class Gate {
  readonly #limits: Limits;
  readonly #timer: NodeJS.Timeout;
  #inside = 0;
  #waits = 0;
  #lookedAt = performance.now();
  #delayMs = 0;
  #isClosing = false;
  #close: (nothing: null) => void = () => undefined;
  /** Resolves when the service begins to stop: who waits for something is answered with what there is. */
  readonly closed = new Promise<null>((resolve) => (this.#close = resolve));

  constructor(limits: Limits) {
    this.#limits = limits;
    this.#timer = setInterval(() => this.#look(), lookMs);
    this.#timer.unref();
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** How late the event loop was of late, ms. */
  get loopDelayMs(): number {
    // A timer that should have come long ago says as much as one that came late.
    return Math.max(this.#delayMs, performance.now() - this.#lookedAt - lookMs);
  }

  get requests(): number {
    return this.#inside;
  }

  /** @throws {Problem} overloaded, closing. Call `leave` when the request has been answered. */
  enter(): void {
    this.requireOpen();
    if (this.#inside >= this.#limits.requests) {
      throw overloaded(`${this.#inside} requests are being answered, as many as may be.`);
    }
    if (this.loopDelayMs > this.#limits.loopDelayMs) {
      throw overloaded(`It is ${Math.round(this.loopDelayMs)} ms behind.`);
    }
    this.#inside++;
  }

  /** @throws {Problem} closing */
  requireOpen(): void {
    if (!this.#isClosing) return;
    throw new Problem("closing", "The service is stopping. Ask again: another may answer.", {
      headers: retryAfter(1_000),
    });
  }

  leave(): void {
    this.#inside--;
  }

  /** True: `stopWaiting` must be called when the wait is over. */
  startWaiting(): boolean {
    if (this.#waits >= this.#limits.waits || this.#isClosing) return false;
    this.#waits++;
    return true;
  }

  stopWaiting(): void {
    this.#waits--;
  }

  /** From now on nothing is taken on. */
  close(): void {
    this.#isClosing = true;
    this.#close(null);
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    const late = Math.max(0, now - this.#lookedAt - lookMs);
    // What was late a moment ago still counts for a little while.
    this.#delayMs = Math.max(late, this.#delayMs / 2);
    this.#lookedAt = now;
  }
}

function overloaded(why: string): Problem {
  return new Problem("overloaded", `The service has more to do than it can: ${why} Nothing was begun; try again.`, {
    headers: retryAfter(1_000),
  });
}
