/**
 * The vocabulary: what a job is, the states it may be in and the ways between them.
 * Imports nothing of ours but errors. Stores hand over flat `JobRecord`s; `toJob` gives them their meaning.
 */
import { assertNever } from "./errors.js";

/** UUIDv7 (RFC 9562): sorts by creation time, so that indexes grow at their end. */
export type JobId = string;

/** Keys that say what a job is about, for example `{ entityId: "e1" }`. Values are short strings. */
export type Correlation = Readonly<Record<string, string>>;

/**
 * - `scheduled`: due later. Next: pending when due, cancelled.
 * - `pending`: runnable. Next: processing by a claim, cancelled; blocked or scheduled by a claim that finds its key full or its rate spent.
 * - `blocked`: waits for the job that holds its unique key, for room in its concurrency key, or for its type's rollout. Next:
 *   pending or scheduled when that comes, cancelled.
 * - `processing`: an attempt holds it. Next: any ending, retrying, scheduled (snoozed), pending (released).
 * - `retrying`: the last attempt failed, waits for its backoff. Next: pending when due or retried now, cancelled.
 * - `completed`: done; the result is kept until retention. Final.
 * - `failed`: the dead-letter queue. Next: pending by retry, cancelled by discard.
 * - `cancelled`: stopped on request. Final.
 */
export const jobStates = [
  "scheduled",
  "pending",
  "blocked",
  "processing",
  "retrying",
  "completed",
  "failed",
  "cancelled",
] as const;
export type JobState = (typeof jobStates)[number];

/** The coarser word for everyone who is not an operator. */
export type JobStatus = "pending" | "processing" | "completed" | "failed" | "cancelled";

/** Every way from one state to another. Stores make no other move; the conformance suite checks each. */
export const transitions = {
  scheduled: ["pending", "cancelled"],
  pending: ["processing", "scheduled", "blocked", "cancelled"],
  blocked: ["pending", "scheduled", "cancelled"],
  processing: ["completed", "failed", "cancelled", "retrying", "scheduled", "pending"],
  retrying: ["pending", "scheduled", "cancelled"],
  completed: [],
  failed: ["pending", "cancelled"],
  cancelled: [],
} as const satisfies Record<JobState, readonly JobState[]>;

/** Why a job is in the dead-letter queue. */
export const failReasons = ["exhausted", "non_retryable", "crashed", "invalid_payload", "expired"] as const;
export type FailReason = (typeof failReasons)[number];

export function canMove(from: JobState, to: JobState): boolean {
  return (transitions[from] as readonly JobState[]).includes(to);
}

/** Terminal for the engine: nothing happens to the job any more unless an operator asks. */
export function hasEnded(state: JobState): state is "completed" | "failed" | "cancelled" {
  return state === "completed" || state === "failed" || state === "cancelled";
}

/** Taken in, and neither running nor ended: what a backlog is made of. */
export function isWaiting(state: JobState): boolean {
  return statusOf(state) === "pending";
}

export function statusOf(state: JobState): JobStatus {
  switch (state) {
    case "scheduled":
    case "pending":
    case "blocked":
    case "retrying":
      return "pending";
    case "processing":
    case "completed":
    case "failed":
    case "cancelled":
      return state;
    default:
      return assertNever(state);
  }
}

/** Proof that an attempt holds a job. `epoch` grows with every claim and never shrinks: it is the fencing token. */
export interface Hold {
  readonly id: JobId;
  readonly epoch: number;
}

/** What went wrong in one attempt, cut to a bounded size. */
export interface AttemptError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** Schema issues, for `invalid_payload` and invalid results. */
  readonly issues?: readonly { readonly path: string; readonly message: string }[];
}

/** One attempt that ended without completing the job. The completing one is described by the job itself. */
export interface AttemptRecord {
  readonly attempt: number;
  readonly epoch: number;
  readonly workerId: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly crashed: boolean;
  readonly error: AttemptError;
}

/** How far a handler says it is. `total` is null when it cannot know. */
export interface Progress {
  readonly done: number;
  readonly total: number | null;
}

/** W3C Trace Context of whoever enqueued the job. */
export interface TraceCarrier {
  readonly traceparent: string;
  readonly tracestate?: string;
}

/** What flow control knows of a job: derived from its payload at enqueue, null where its type has none of it. */
export interface Controls {
  /** Jobs with the same key share a concurrency. Begins with the job's type, as does `rateKey`. */
  readonly concurrencyKey: string | null;
  /** Jobs with the same key share a rate. */
  readonly rateKey: string | null;
  /** What it takes of a rate. */
  readonly weight: number;
  /** Jobs of a type take turns by group. */
  readonly group: string | null;
  /** How much of its group's share it takes: 1 for a usual job of a usual group. */
  readonly cost: number;
}

/**
 * Why a job waits, where its state does not say:
 * - `concurrency_key`: blocked; as many jobs of its key are processing as may be.
 * - `rollout`: blocked; its type is not yet switched on for it.
 * - `rate`: scheduled for, or pending since, the instant that the rate of its key has given it.
 *
 * A blocked job without one waits for the job that holds its unique key.
 */
export type HeldBy = "concurrency_key" | "rollout" | "rate";

/** A job as stores keep it: flat, instants in ms since the epoch on the store's clock, payload and output as JSON text. */
export interface JobRecord {
  readonly id: JobId;
  readonly type: string;
  readonly version: number;
  readonly state: JobState;
  readonly priority: number;
  readonly payload: string;
  readonly output: string | null;
  readonly correlation: Correlation | null;
  readonly uniqueKey: string | null;
  readonly trace: TraceCarrier | null;
  readonly createdAt: number;
  readonly runAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly crashes: number;
  readonly epoch: number;
  readonly workerId: string | null;
  readonly isCancelRequested: boolean;
  readonly failReason: FailReason | null;
  readonly cancelReason: string | null;
  readonly error: AttemptError | null;
  readonly progress: Progress | null;
  readonly controls: Controls | null;
  readonly heldBy: HeldBy | null;
}

export interface JobBase<Payload> {
  readonly id: JobId;
  readonly type: string;
  readonly version: number;
  readonly status: JobStatus;
  readonly createdAt: Date;
  /** When it may first run, or run again. */
  readonly runAt: Date;
  readonly correlation: Correlation | null;
  readonly payload: Payload;
  readonly priority: number;
  /** Executions charged to the job so far. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** Attempts whose worker died, apart from errors. */
  readonly crashes: number;
  readonly progress: Progress | null;
  readonly trace: TraceCarrier | null;
}

/** A job as callers see it (F2): the envelope, and what its state adds. */
export type Job<Payload = unknown, Result = unknown> = JobBase<Payload> &
  (
    | { readonly state: "scheduled" | "pending" | "blocked" }
    | {
        readonly state: "processing";
        readonly workerId: string;
        readonly startedAt: Date;
        readonly isCancelRequested: boolean;
      }
    | { readonly state: "retrying"; readonly error: AttemptError }
    | {
        readonly state: "completed";
        readonly startedAt: Date;
        readonly finishedAt: Date;
        readonly output: Result | undefined;
      }
    | {
        readonly state: "failed";
        readonly finishedAt: Date;
        readonly reason: FailReason;
        readonly error: AttemptError;
      }
    | { readonly state: "cancelled"; readonly finishedAt: Date; readonly reason: string }
  );

/** Gives a stored record its meaning. The payload is the stored JSON, not upcast: only a worker needs that. */
export function toJob<Payload = unknown, Result = unknown>(record: JobRecord): Job<Payload, Result> {
  const { state } = record;
  const base = {
    id: record.id,
    type: record.type,
    version: record.version,
    state,
    status: statusOf(state),
    createdAt: new Date(record.createdAt),
    runAt: new Date(record.runAt),
    correlation: record.correlation,
    payload: JSON.parse(record.payload) as Payload,
    priority: record.priority,
    attempt: record.attempt,
    maxAttempts: record.maxAttempts,
    crashes: record.crashes,
    progress: record.progress,
    trace: record.trace,
  };
  const more = ofState<Result>(record);
  return (more === null ? base : Object.assign(base, more)) as Job<Payload, Result>;
}

/** What the state of a job adds to its envelope. */
function ofState<Result>(record: JobRecord): Partial<Job<unknown, Result>> | null {
  const { state } = record;
  const startedAt = () => new Date(record.startedAt ?? record.createdAt);
  const finishedAt = () => new Date(record.finishedAt ?? record.createdAt);
  const error = record.error ?? { name: "Error", message: "The error was not recorded." };
  switch (state) {
    case "scheduled":
    case "pending":
    case "blocked":
      return null;
    case "processing":
      return {
        state,
        workerId: record.workerId ?? "",
        startedAt: startedAt(),
        isCancelRequested: record.isCancelRequested,
      };
    case "retrying":
      return { state, error };
    case "completed": {
      const output = record.output === null ? undefined : (JSON.parse(record.output) as Result);
      return { state, startedAt: startedAt(), finishedAt: finishedAt(), output };
    }
    case "failed":
      return { state, finishedAt: finishedAt(), reason: record.failReason ?? "exhausted", error };
    case "cancelled":
      return { state, finishedAt: finishedAt(), reason: record.cancelReason ?? "" };
    default:
      return assertNever(state);
  }
}
