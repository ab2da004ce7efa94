/**
 * Runs one handler on one job: payload read and checked, timeout and cancellation delivered, every ending turned into a
 * value. Never throws and never waits for ever, whatever the handler does.
 */
import { Directive, type JobInHand, type Middleware, type Processor } from "./processor.js";
import { Context, encodeOutput, type AbortReason, type ContextDeps, type ContextOwner } from "./context.js";
import { readPayload, validate, type Validation } from "./definition.js";
import { assertNever, JobsError, NonRetryableError } from "./errors.js";
import type { AttemptError, Progress } from "./job.js";
import type { Outcome } from "./settlement.js";
import type { ClaimedJob, NewJob } from "./store.js";

/** Nothing to settle: the completion is in the store already, or the job is somebody else's by now. */
export type SettledElsewhere = { readonly kind: "committed" } | { readonly kind: "lease_lost" };

export interface AttemptDeps extends ContextDeps {
  readonly middleware: readonly Middleware[];
  /** How long a handler may take to end after its signal fired; then its slot is freed without it. */
  readonly abortGraceMs: number;
  /** The payload is good and the handler is about to run. */
  readonly onStarted: (attempt: Attempt) => void;
  readonly onProgress: (attempt: Attempt, progress: Progress) => void;
  /** The handler did not end within the grace. */
  readonly onAbandoned: (attempt: Attempt, reason: AbortReason) => void;
  readonly onTrouble: (during: string, error: unknown) => void;
}

export class Attempt implements ContextOwner {
  readonly job: ClaimedJob;
  readonly processor: Processor;
  readonly #deps: AttemptDeps;
  readonly #process: (job: JobInHand, ctx: Context) => unknown;
  readonly #context: Context;
  #inHand: JobInHand | null = null;
  #end: ((outcome: Outcome | SettledElsewhere) => void) | null = null;
  #cancelTimer: (() => void) | null = null;

  /** @param process What is called with the job inside the middleware. Default: the processor's own. */
  constructor(
    job: ClaimedJob,
    processor: Processor,
    deps: AttemptDeps,
    process: (job: JobInHand, ctx: Context) => unknown = (job, ctx) => processor.process(job, ctx),
  ) {
    this.job = job;
    this.processor = processor;
    this.#deps = deps;
    this.#process = process;
    this.#context = new Context(job, deps, this);
  }

  /** What the handler was given; null when it never ran. */
  get inHand(): JobInHand | null {
    return this.#inHand;
  }

  /** Fires the signal; frees the slot after the grace if the handler does not end. The first reason stands. */
  abort(reason: AbortReason): void {
    if (this.#context.abortReason !== null) return;
    this.#context.abort(reason);
    this.#cancelTimer?.();
    this.#cancelTimer = this.#deps.clock.setTimer(this.#deps.abortGraceMs, () => {
      if (this.#end === null) return;
      this.#deps.onAbandoned(this, reason);
      this.#end(this.#endedBy(reason));
    });
  }

  /** The jobs that its completion brings along. */
  get children(): readonly NewJob[] {
    return this.#context.children;
  }

  async run(): Promise<Outcome | SettledElsewhere> {
    const outcome = await new Promise<Outcome | SettledElsewhere>((resolve) => {
      this.#end = resolve;
      const { timeoutMs } = this.processor.definition;
      this.#cancelTimer = this.#deps.clock.setTimer(timeoutMs, () => this.abort("timeout"));
      void this.#work().then(resolve);
    });
    this.#end = null;
    this.#cancelTimer?.();

    // Progress and lines of an attempt are durable before its ending is.
    await this.#context.flushNotes().catch((error: unknown) => this.#deps.onTrouble("writing progress", error));
    return outcome;
  }

  async #work(): Promise<Outcome | SettledElsewhere> {
    const { job } = this;
    const read = readPayload(this.processor.definition, job);
    const payload: Validation<unknown> = read instanceof Promise ? await read.catch(asIssue) : read;
    if (!payload.ok) return { kind: "unreadable", error: describeIssues(job, payload) };

    // Only a job that was claimed before can have steps.
    if (job.epoch > 1) {
      try {
        await this.#context.loadSteps();
      } catch (error) {
        this.#deps.onTrouble("recalling steps", error);
        return { kind: "interrupted" };
      }
    }
    if (this.#context.abortReason !== null) return this.#endedBy(this.#context.abortReason);

    this.#inHand = toInHand(job, payload.value);
    this.#deps.onStarted(this);
    try {
      return await this.#returned(await this.#call(this.#inHand));
    } catch (error) {
      return this.#threw(error);
    }
  }

  /** The worker under which the job is held. */
  get workerId(): string {
    return this.#deps.workerId;
  }

  leaseLost(): void {
    this.abort("lease_lost");
  }

  progressed(progress: Progress): void {
    this.#deps.onProgress(this, progress);
  }

  #call(job: JobInHand): unknown {
    const { middleware } = this.#deps;
    if (middleware.length === 0) return this.#process(job, this.#context);
    const runFrom = async (index: number): Promise<unknown> => {
      const wrap = middleware[index];
      return wrap ? wrap(job, this.#context, () => runFrom(index + 1)) : this.#process(job, this.#context);
    };
    return runFrom(0);
  }

  async #returned(value: unknown): Promise<Outcome | SettledElsewhere> {
    if (this.#context.hasCommitted) return { kind: "committed" };
    if (this.#context.abortReason === "lease_lost") return { kind: "lease_lost" };
    if (value instanceof Directive) return fromDirective(value);
    try {
      const schema = this.processor.definition.result;
      if (schema) {
        const checked = await validate<unknown>(schema, value);
        if (!checked.ok) return invalidResult(this.job, checked);
        value = checked.value;
      }
      const { children } = this.#context;
      return { kind: "succeeded", output: encodeOutput(this.job.type, value), children };
    } catch (error) {
      return { kind: "failed", error: describeError(error), isRetryable: false };
    }
  }

  #threw(error: unknown): Outcome | SettledElsewhere {
    if (this.#context.hasCommitted) {
      this.#deps.onTrouble("a handler that threw after its transaction had completed the job", error);
      return { kind: "committed" };
    }
    if (this.#context.abortReason !== null) return this.#endedBy(this.#context.abortReason);
    return { kind: "failed", error: describeError(error), isRetryable: !(error instanceof NonRetryableError) };
  }

  /** How an attempt ends that was told to stop and did not succeed. */
  #endedBy(reason: AbortReason): Outcome | SettledElsewhere {
    if (this.#context.hasCommitted) return { kind: "committed" };
    switch (reason) {
      case "timeout": {
        const { timeoutMs } = this.processor.definition;
        return { kind: "timed_out", error: { name: "TimeoutError", message: `The attempt exceeded ${timeoutMs} ms.` } };
      }
      case "cancelled":
        return { kind: "cancelled", reason: "requested" };
      case "shutdown":
        return { kind: "interrupted" };
      case "lease_lost":
        return { kind: "lease_lost" };
      default:
        return assertNever(reason);
    }
  }
}

function toInHand(job: ClaimedJob, payload: unknown): JobInHand {
  return {
    id: job.id,
    type: job.type,
    payload,
    correlation: job.correlation,
    priority: job.priority,
    createdAt: new Date(job.createdAt),
    runAt: new Date(job.runAt),
    attempt: job.attempt,
    maxAttempts: job.maxAttempts,
    crashes: job.crashes,
    trace: job.trace,
  };
}

function fromDirective(directive: Directive): Outcome {
  switch (directive.kind) {
    case "snooze":
      return { kind: "snoozed", delayMs: directive.delayMs };
    case "cancel":
      return { kind: "cancelled", reason: directive.reason };
    case "fail":
      return { kind: "failed", error: { name: "Failed", message: directive.reason }, isRetryable: false };
    default:
      return assertNever(directive.kind);
  }
}

function asIssue(error: unknown): Validation<never> {
  return { ok: false, issues: [{ path: "", message: describeError(error).message }] };
}

function describeIssues(job: ClaimedJob, { issues }: Validation<unknown> & { ok: false }): AttemptError {
  const message = `The stored payload (version ${job.version}) does not match today's schema of ${job.type}.`;
  return { name: "InvalidPayload", message, issues };
}

function invalidResult(job: ClaimedJob, { issues }: Validation<unknown> & { ok: false }): Outcome {
  const message = `The handler of ${job.type} returned a value that does not match its result schema.`;
  return { kind: "failed", error: { name: "InvalidResult", message, issues }, isRetryable: false };
}

const maxMessageLength = 2_000;
const maxStackLength = 8_000;

/** Whatever was thrown, as a bounded, plain value. Handlers throw undefined, circular objects and 10 MB messages. */
export function describeError(thrown: unknown): AttemptError {
  try {
    if (thrown instanceof Error) {
      const { name, message, stack } = thrown;
      const issues = thrown instanceof JobsError ? (thrown.details["issues"] as AttemptError["issues"]) : undefined;
      return {
        name: cut(String(name), 200),
        message: cut(String(message), maxMessageLength),
        ...(typeof stack === "string" && { stack: cut(stack, maxStackLength) }),
        ...(issues && { issues }),
      };
    }
    const text = typeof thrown === "object" ? JSON.stringify(thrown) : `${thrown as string}`;
    return { name: "NonError", message: `A value that is not an Error was thrown: ${cut(text, maxMessageLength)}` };
  } catch {
    // A getter that throws, or a circular object: the fact that something was thrown is all that is left.
    return { name: "NonError", message: "Something was thrown that cannot be described." };
  }
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}… (${text.length} characters)`;
}
