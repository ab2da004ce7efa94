/**
 * Group commit: turns many calls for one thing into few calls for many. Flushes at once when idle and gathers while a
 * flush is in flight, so that it adds no wait when calm and shares one commit among hundreds of callers under load.
 *
 * Between a flush and the next it waits for those whom it has answered, where they ask again at once; where they do not, the next goes out
 * before they are told, and the disk works while their answers are written.
 */
import type { Clock } from "./clock.js";
import { isRetryable } from "./errors.js";

export interface BatcherOptions<Item, Result> {
  /** Resolves with one result per item, in order, when they are durable. */
  readonly flush: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly clock: Clock;
  /** A flush that failed with a retryable error is sent again, whole, for this long; then its callers are told. */
  readonly retryForMs: number;
  /** Items in one flush. Default 1,000: the gain of a larger commit is small, its delay is not. */
  readonly maxItems?: number;
  /** Called when a flush failed and will be sent again. */
  readonly onRetry?: (error: unknown) => void;
}

interface Waiter<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  readonly #maxItems: number;
  #waiting: Waiter<Item, Result>[] = [];
  #isPumping = false;
  /** Those who are told ask again at once, as a loop in this process does, and one behind a network does not. */
  #doReturn = true;
  #idleListeners: (() => void)[] = [];

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
    this.#maxItems = options.maxItems ?? 1_000;
  }

  /** Resolves with the item's result when it is durable. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#isPumping) return;
      this.#isPumping = true;
      // Not a microtask: everyone who was waiting for the same event gets to join this flush.
      setImmediate(() => void this.#pump());
    });
  }

  /** Resolves when nothing waits and nothing is in flight. */
  idle(): Promise<void> {
    if (!this.#isPumping) return Promise.resolve();
    return new Promise((resolve) => this.#idleListeners.push(resolve));
  }

  async #pump(): Promise<void> {
    let sent: Promise<Told> | null = null;
    for (let flush = 1; ; flush++) {
      sent ??= this.#send(this.#take());
      const { tell, callers } = await sent;
      sent = null;
      if (this.#waiting.length > 0 && !this.#doReturn && flush % probeEvery !== 0) {
        // Before they are told: what they do then would keep the store waiting.
        sent = this.#send(this.#take());
        tell();
        continue;
      }
      const before = this.#waiting.length;
      tell();
      for (let hop = 0; hop < hops; hop++) await Promise.resolve();
      this.#doReturn = this.#waiting.length - before >= callers / 2;
      // Who was answered and asks for the next at once joins the next flush, and not the one after that.
      await immediate();
      if (this.#waiting.length === 0) break;
    }
    this.#isPumping = false;
    for (const tell of this.#idleListeners.splice(0)) tell();
  }

  #take(): readonly Waiter<Item, Result>[] {
    const batch = this.#waiting.slice(0, this.#maxItems);
    this.#waiting = this.#waiting.length <= this.#maxItems ? [] : this.#waiting.slice(this.#maxItems);
    return batch;
  }

  /** Resolves when all of it is durable, or has failed; who asked is told by calling `tell`. Never rejects. */
  async #send(batch: readonly Waiter<Item, Result>[]): Promise<Told> {
    const endings: (() => void)[] = [];
    await this.#flush(batch, endings);
    return { callers: batch.length, tell: () => endings.forEach((end) => end()) };
  }

  async #flush(batch: readonly Waiter<Item, Result>[], endings: (() => void)[]): Promise<void> {
    try {
      const items = batch.map((waiter) => waiter.item);
      const results = await withRetry(() => this.#options.flush(items), this.#options);
      endings.push(() => batch.forEach((waiter, i) => waiter.resolve(results[i]!)));
    } catch (error) {
      if (batch.length === 1 || isRetryable(error)) {
        endings.push(() => batch.forEach((waiter) => waiter.reject(error)));
        return;
      }
      // One bad item must not fail its neighbours: find it by halving.
      const half = batch.length >> 1;
      await this.#flush(batch.slice(0, half), endings);
      await this.#flush(batch.slice(half), endings);
    }
  }
}

interface Told {
  readonly callers: number;
  readonly tell: () => void;
}

/** Whether callers come back at once may change: looked at anew after so many flushes. */
const probeEvery = 32;
/** Awaits between an answer and the next call of one who asks again at once; nothing else gets to run in between. */
const hops = 24;

function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Tries again while the error is retryable and time is left; then rejects with it. */
export async function withRetry<T>(
  run: () => Promise<T>,
  { clock, retryForMs, onRetry }: { clock: Clock; retryForMs: number; onRetry?: (error: unknown) => void },
): Promise<T> {
  const giveUpAt = clock.now() + retryForMs;
  for (let waitMs = 10; ; waitMs = Math.min(waitMs * 2, 1_000)) {
    try {
      return await run();
    } catch (error) {
      if (!isRetryable(error) || clock.now() + waitMs > giveUpAt) throw error;
      onRetry?.(error);
      await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve));
    }
  }
}
