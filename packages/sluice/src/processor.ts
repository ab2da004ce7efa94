/**
 * What runs a job: a handler bound to a definition. `handle` for a plain function; `Processor` as a base class for those
 * who want the hooks (F3). A handler steers by what it returns; throwing means "try again".
 */
import type { Context } from "./context.js";
import type { AnyDefinition, JobDefinition, PayloadOf, ResultOf } from "./definition.js";
import { JobsError } from "./errors.js";
import type { AttemptError, Correlation, FailReason, JobId, Progress, TraceCarrier } from "./job.js";

/** The job as its handler sees it: the payload upcast to the definition's version and checked. */
export interface JobInHand<Payload = unknown> {
  readonly id: JobId;
  readonly type: string;
  readonly payload: Payload;
  readonly correlation: Correlation | null;
  readonly priority: number;
  readonly createdAt: Date;
  readonly runAt: Date;
  /** 1 for the first execution. */
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly crashes: number;
  readonly trace: TraceCarrier | null;
}

/** What a handler may return instead of a result. Made by `snooze`, `cancel` and `fail`. */
export class Directive {
  private constructor(
    readonly kind: "snooze" | "cancel" | "fail",
    readonly delayMs: number,
    readonly reason: string,
  ) {}

  /** @internal */
  static of(kind: Directive["kind"], { delayMs = 0, reason = "" }: { delayMs?: number; reason?: string }): Directive {
    return new Directive(kind, delayMs, reason);
  }
}

const longestSnoozeMs = 10 * 366 * 24 * 60 * 60 * 1_000;

/** Return this to run the job again later without charging an attempt: the world is not ready, nothing went wrong. */
export function snooze(delayMs: number): Directive {
  if (!(delayMs >= 0 && delayMs <= longestSnoozeMs)) {
    const message = `snooze(${delayMs}) is not a usable duration. Give milliseconds from 0 to ten years.`;
    throw new JobsError("INVALID_OPTIONS", message, { delayMs });
  }
  return Directive.of("snooze", { delayMs: Math.round(delayMs) });
}

/** Return this to end the job as cancelled. */
export function cancel(reason: string): Directive {
  return Directive.of("cancel", { reason });
}

/** Return this to fail the job at once, with reason `non_retryable`: another try cannot help. */
export function fail(reason: string): Directive {
  return Directive.of("fail", { reason });
}

export type HandlerResult<Result> = Result | Directive | Promise<Result | Directive>;

export type Handler<D extends AnyDefinition, Tx = unknown> = (
  job: JobInHand<PayloadOf<D>>,
  ctx: Context<Tx>,
) => HandlerResult<ResultOf<D>>;

/**
 * Base class of processors. Implement `process`; override the hooks you need. `onStart` and `onProgress` run as it happens,
 * the others after the ending is durable. A hook that throws is reported as `worker.troubled` and changes nothing.
 */
export abstract class Processor<D extends AnyDefinition = AnyDefinition, Tx = unknown> {
  abstract readonly definition: D;

  abstract process(job: JobInHand<PayloadOf<D>>, ctx: Context<Tx>): HandlerResult<ResultOf<D>>;

  onStart?(job: JobInHand<PayloadOf<D>>): void | Promise<void>;
  onProgress?(job: JobInHand<PayloadOf<D>>, progress: Progress): void | Promise<void>;
  onSuccess?(job: JobInHand<PayloadOf<D>>): void | Promise<void>;
  onRetry?(job: JobInHand<PayloadOf<D>>, retry: { error: AttemptError; delayMs: number }): void | Promise<void>;
  onFailure?(job: JobInHand<PayloadOf<D>>, failure: { error: AttemptError; reason: FailReason }): void | Promise<void>;
}

class FunctionProcessor<D extends AnyDefinition, Tx> extends Processor<D, Tx> {
  constructor(
    readonly definition: D,
    readonly process: Handler<D, Tx>,
  ) {
    super();
  }
}

/** The plain-function form of a processor. Payload and result types come from the definition. */
export function handle<Input, Payload, Result, Tx = unknown>(
  definition: JobDefinition<Input, Payload, Result>,
  handler: Handler<JobDefinition<Input, Payload, Result>, Tx>,
): Processor<JobDefinition<Input, Payload, Result>, Tx> {
  return new FunctionProcessor(definition, handler);
}

/** Wraps every attempt of a worker: call `next` to go on. For tracing, timing and context propagation. */
export type Middleware = (job: JobInHand, ctx: Context, next: () => Promise<unknown>) => Promise<unknown>;
