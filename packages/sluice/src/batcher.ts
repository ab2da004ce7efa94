/**
 * Group commit: turns many calls for one thing into few calls for many. Flushes at once when idle and gathers while a
 * flush is in flight, so that it adds no wait when calm and shares one commit among hundreds of callers under load.
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
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.length <= this.#maxItems ? this.#waiting : this.#waiting.slice(0, this.#maxItems);
      this.#waiting = batch === this.#waiting ? [] : this.#waiting.slice(this.#maxItems);
      await this.#flush(batch);
      // Who was answered and asks for the next at once joins the next flush, and not the one after that.
      await immediate();
    }
    this.#isPumping = false;
    for (const tell of this.#idleListeners.splice(0)) tell();
  }

  async #flush(batch: readonly Waiter<Item, Result>[]): Promise<void> {
    try {
      const items = batch.map((waiter) => waiter.item);
      const results = await withRetry(() => this.#options.flush(items), this.#options);
      for (let i = 0; i < batch.length; i++) batch[i]!.resolve(results[i]!);
    } catch (error) {
      if (batch.length === 1 || isRetryable(error)) {
        for (const waiter of batch) waiter.reject(error);
        return;
      }
      // One bad item must not fail its neighbours: find it by halving.
      const half = batch.length >> 1;
      await this.#flush(batch.slice(0, half));
      await this.#flush(batch.slice(half));
    }
  }
}

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
