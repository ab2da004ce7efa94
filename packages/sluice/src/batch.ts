/**
 * Many jobs, one call of the handler. Each job keeps its own attempt (payload, timeout, cancellation, steps, middleware); the
 * attempts of a batch meet here, and the handler is called once for those that came. What goes into a batch is units.ts.
 */
import { Attempt, type AttemptDeps, type SettledElsewhere } from "./attempt.js";
import { AttemptAborted, type Context } from "./context.js";
import type { AnyDefinition, JobDefinition, PayloadOf, ResultOf } from "./definition.js";
import { NonRetryableError } from "./errors.js";
import type { Directive } from "./processor.js";
import { Processor, type JobInHand } from "./processor.js";
import type { Outcome } from "./settlement.js";
import type { ClaimedJob } from "./store.js";

/**
 * One job of a batch. It may be settled on its own while the batch goes on, by the first of `complete`, `fail` and `end`; later
 * ones change nothing, nor does what the handler returns or throws.
 */
export interface BatchItem<Payload = unknown, Result = unknown, Tx = unknown> {
  readonly job: JobInHand<Payload>;
  /** As a single handler gets it. Its signal fires for this job alone. */
  readonly ctx: Context<Tx>;
  complete(result?: Result): void;
  /** As if a single handler had thrown it: another try, unless it is a `NonRetryableError` or the attempts are used up. */
  fail(error: unknown): void;
  /** As if a single handler had returned it: `snooze`, `cancel` or `fail`. */
  end(directive: Directive): void;
  /**
   * Does `work` and settles the job by what it returns or throws, so that one job's trouble is not the others'. Never rejects.
   */
  run(work: () => Result | Directive | Promise<Result | Directive>): Promise<void>;
}

export interface Batch {
  /** Fires when every job that is not settled was told to stop: nobody wants the rest of the work. */
  readonly signal: AbortSignal;
}

/** Nothing; or for each item, in order, its result or directive. Items settled before are not changed by it. */
export type BatchResult<Result> =
  void | readonly (Result | Directive)[] | Promise<void | readonly (Result | Directive)[]>;

export type BatchHandler<D extends AnyDefinition, Tx = unknown> = (
  items: readonly BatchItem<PayloadOf<D>, ResultOf<D>, Tx>[],
  batch: Batch,
) => BatchResult<ResultOf<D>>;

/**
 * Base class of processors that take many jobs at once; the definition says how many (`batch`). A batch takes one slot of its
 * worker. Items that are not settled when `processBatch` returns complete, with what it returned for them; when it throws, they
 * fail with that error. Hooks are called for each job.
 */
export abstract class BatchProcessor<D extends AnyDefinition = AnyDefinition, Tx = unknown> extends Processor<D, Tx> {
  abstract processBatch(...args: Parameters<BatchHandler<D, Tx>>): BatchResult<ResultOf<D>>;

  /** A batch of one. */
  process(job: JobInHand<PayloadOf<D>>, ctx: Context<Tx>): Promise<ResultOf<D> | Directive> {
    return new Meeting(this, [ctx]).arrive(job, ctx) as Promise<ResultOf<D> | Directive>;
  }
}

class FunctionBatchProcessor<D extends AnyDefinition, Tx> extends BatchProcessor<D, Tx> {
  constructor(
    readonly definition: D,
    readonly processBatch: BatchHandler<D, Tx>,
  ) {
    super();
  }
}

/** The plain-function form of a batch processor. The definition needs its `batch` option. */
export function handleBatch<Input, Payload, Result, Tx = unknown>(
  definition: JobDefinition<Input, Payload, Result>,
  handler: BatchHandler<JobDefinition<Input, Payload, Result>, Tx>,
): BatchProcessor<JobDefinition<Input, Payload, Result>, Tx> {
  return new FunctionBatchProcessor(definition, handler);
}

/**
 * Runs jobs as one batch.
 * @returns The attempts, and a promise for the end of the batch: every attempt has ended and the handler too, or it has been waited
 * for as long as for any that does not end.
 */
export function startBatch(
  jobs: readonly ClaimedJob[],
  processor: BatchProcessor,
  { deps, onEnded }: { deps: AttemptDeps; onEnded: (attempt: Attempt, outcome: Outcome | SettledElsewhere) => void },
): { readonly attempts: readonly Attempt[]; readonly ended: Promise<void> } {
  const attempts: Attempt[] = jobs.map(
    (job, index) => new Attempt(job, processor, deps, (inHand, ctx) => meeting.arrive(inHand, ctx, attempts[index])),
  );
  const meeting = new Meeting(processor, attempts);

  const run = async (attempt: Attempt) => {
    const outcome = await attempt.run();
    meeting.comesNoMore(attempt);
    onEnded(attempt, outcome);
  };
  const ended = Promise.all(attempts.map(run)).then(async () => {
    let cancelTimer = () => {};
    const grace = new Promise<void>((resolve) => (cancelTimer = deps.clock.setTimer(deps.abortGraceMs, resolve)));
    await Promise.race([meeting.over, grace]);
    cancelTimer();
  });
  return { attempts, ended };
}

/** Where the jobs of one batch wait for each other, and the call of the handler for those that came. */
class Meeting {
  readonly #processor: BatchProcessor;
  readonly #expected: Set<unknown>;
  readonly #items = new Map<unknown, Item>();
  #hasBegun = false;
  #tellOver = () => {};
  /** The handler has ended, or there was nothing for it to do. */
  readonly over = new Promise<void>((resolve) => (this.#tellOver = resolve));

  constructor(processor: BatchProcessor, expected: readonly unknown[]) {
    this.#processor = processor;
    this.#expected = new Set(expected);
  }

  /** What the handler makes of this job. A guest that comes twice (middleware that calls `next` again) is the same guest. */
  arrive(job: JobInHand, ctx: Context, guest: unknown = ctx): Promise<unknown> {
    const known = this.#items.get(guest);
    if (known) return known.settled;
    // It was not waited for: its attempt has ended already.
    if (this.#hasBegun) return Promise.reject(new AttemptAborted(ctx.abortReason ?? "timeout"));
    const item = new Item(job, ctx);
    this.#items.set(guest, item);
    this.comesNoMore(guest);
    return item.settled;
  }

  /** Whoever has not arrived by now does not: its payload is unreadable, say. */
  comesNoMore(guest: unknown): void {
    this.#expected.delete(guest);
    if (this.#expected.size > 0 || this.#hasBegun) return;
    this.#hasBegun = true;
    void this.#call([...this.#items.values()]).then(this.#tellOver);
  }

  async #call(arrived: readonly Item[]): Promise<void> {
    for (const item of arrived) {
      // Told to stop while it waited for the others.
      const { abortReason } = item.ctx;
      if (abortReason !== null) item.fail(new AttemptAborted(abortReason));
    }
    const items = arrived.filter((item) => !item.isSettled);
    if (items.length === 0) return;
    try {
      settleRest(items, await this.#processor.processBatch(items as never, new SharedSignal(items)));
    } catch (error) {
      for (const item of items) item.fail(error);
    }
  }
}

function settleRest(items: readonly Item[], returned: unknown): void {
  if (returned === undefined) {
    for (const item of items) item.complete();
  } else if (Array.isArray(returned) && returned.length === items.length) {
    items.forEach((item, index) => item.complete(returned[index]));
  } else {
    const what = Array.isArray(returned) ? `an array of ${returned.length}` : typeof returned;
    throw new NonRetryableError(
      `A batch handler was given ${items.length} jobs and returned ${what}. ` +
        `Return nothing, or an array with a result or directive for each, in order.`,
    );
  }
}

class Item implements BatchItem {
  isSettled = false;
  #resolve: (value: unknown) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #whenSettled = () => {};
  /** For the attempt: as if a handler of this job alone had returned or thrown. */
  readonly settled = new Promise<unknown>((resolve, reject) => {
    this.#resolve = resolve;
    this.#reject = reject;
  });

  constructor(
    readonly job: JobInHand,
    readonly ctx: Context,
  ) {}

  complete(result?: unknown): void {
    this.#settle(() => this.#resolve(result));
  }

  fail(error: unknown): void {
    this.#settle(() => this.#reject(error));
  }

  end(directive: Directive): void {
    this.#settle(() => this.#resolve(directive));
  }

  async run(work: () => unknown): Promise<void> {
    try {
      this.complete(await work());
    } catch (error) {
      this.fail(error);
    }
  }

  onSettled(listener: () => void): void {
    this.#whenSettled = listener;
  }

  #settle(settle: () => void): void {
    if (this.isSettled) return;
    this.isSettled = true;
    settle();
    this.#whenSettled();
  }
}

/** Made on first use, as the signals of the items are. */
class SharedSignal implements Batch {
  readonly #items: readonly Item[];
  #controller: AbortController | null = null;

  constructor(items: readonly Item[]) {
    this.#items = items;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      for (const item of this.#items) {
        item.ctx.signal.addEventListener("abort", () => this.#look(), { once: true });
        item.onSettled(() => this.#look());
      }
      this.#look();
    }
    return this.#controller.signal;
  }

  #look(): void {
    const open = this.#items.filter((item) => !item.isSettled);
    const reasons = open.map(({ ctx }) => ctx.abortReason);
    const last = reasons.at(-1);
    if (last != null && reasons.every((reason) => reason !== null)) this.#controller!.abort(new AttemptAborted(last));
  }
}
