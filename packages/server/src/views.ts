/**
 * Jobs, types and the rest as they leave this service. Whatever a payload could surface in has passed the library's `viewOf` first
 * (I13); here instants become text, and links are added.
 */
import {
  covers,
  breakerActor,
  maskPayload,
  scrub,
  secretsOf,
  viewOf,
  viewOfCorrelation,
  viewOfError,
  type AnyDefinition,
  type AttemptError,
  type AttemptRecord,
  type AuditRecord,
  type Breaker,
  type Job,
  type LogLine,
  type Secrets,
  type TypeSettings,
  type Waiting,
  type WorkerRecord,
} from "sluice";
import type { JobBody, WaitingBody } from "./contract/jobs.js";
import { mayOperate, type Principal } from "./principal.js";

/** Where this service is mounted: "" or a path. */
export interface Place {
  readonly prefix: string;
  readonly definitions: ReadonlyMap<string, AnyDefinition>;
}

export function jobBody(job: Job, principal: Principal, { prefix, definitions }: Place): JobBody {
  const seen = viewOf(job, definitions.get(job.type) ?? null);
  const self = `${prefix}/v1/jobs/${job.id}`;
  const finishedAt = "finishedAt" in seen ? seen.finishedAt : null;
  const startedAt = "startedAt" in seen ? seen.startedAt : null;
  return {
    id: seen.id,
    type: seen.type,
    version: seen.version,
    status: seen.status,
    state: seen.state,
    createdAt: seen.createdAt.toISOString(),
    runAt: seen.runAt.toISOString(),
    correlation: seen.correlation,
    priority: seen.priority,
    attempt: seen.attempt,
    maxAttempts: seen.maxAttempts,
    crashes: seen.crashes,
    progress: seen.progress,
    timings: {
      startedAt: startedAt?.toISOString() ?? null,
      finishedAt: finishedAt?.toISOString() ?? null,
      runMs: startedAt !== null && finishedAt !== null ? finishedAt.getTime() - startedAt.getTime() : null,
    },
    payload: seen.payload,
    isMasked: seen.isMasked,
    ...(seen.state === "completed" && { output: seen.output ?? null }),
    reason: "reason" in seen ? seen.reason : null,
    error: "error" in seen ? errorBody(seen.error, principal) : null,
    workerId: seen.state === "processing" ? seen.workerId : null,
    isCancelRequested: seen.state === "processing" && seen.isCancelRequested,
    traceparent: seen.trace?.traceparent ?? null,
    links: { self, events: `${self}/events` },
  };
}

/**
 * What else is told of a job beside itself: its texts count as payload, too.
 * @param former Payloads that it had before it was edited.
 */
export function besides(job: Job, principal: Principal, { definitions }: Place, former: readonly unknown[] = []) {
  const secrets = secretsOf(job, definitions.get(job.type) ?? null, former);
  return {
    correlation: () => job.correlation && viewOfCorrelation(job.correlation, secrets),
    waiting: (waiting: Waiting | null) => waitingBody(waiting, secrets, principal),
    attempt: (record: AttemptRecord) => attemptBody(record, secrets, principal),
    line: ({ at, level, message }: LogLine) => ({ at: text(at), level, message: scrub(message, secrets) }),
  };
}

/** Stacks say how the application is built: for those who operate it. */
function errorBody({ stack, ...error }: AttemptError, principal: Principal) {
  return {
    name: error.name,
    message: error.message,
    ...(stack !== undefined && mayOperate(principal) && { stack }),
    ...(error.issues !== undefined && { issues: error.issues.map((issue) => ({ ...issue })) }),
  };
}

function attemptBody(record: AttemptRecord, secrets: Secrets, principal: Principal) {
  const { attempt, workerId, startedAt, endedAt, crashed, error } = record;
  return {
    attempt,
    workerId,
    startedAt: text(startedAt),
    endedAt: text(endedAt),
    runMs: endedAt - startedAt,
    crashed,
    error: errorBody(viewOfError(error, secrets), principal),
  };
}

function waitingBody(waiting: Waiting | null, secrets: Secrets, principal: Principal): WaitingBody | null {
  if (waiting === null) return null;
  switch (waiting.reason) {
    case "scheduled":
    case "rate_limited":
      return { ...waiting, until: text(waiting.until) };
    case "backoff": {
      const { error } = waiting;
      const shown = error === null ? null : errorBody(viewOfError(error, secrets), principal);
      return { ...waiting, until: text(waiting.until), error: shown };
    }
    case "paused":
      return { reason: "paused", pause: pauseBody(waiting.pause, principal) };
    default:
      return waiting;
  }
}

/** A circuit breaker gives the error of some job as its reason: what is in it, nobody here can know. */
function pauseBody(
  { actor, reason, since, until }: NonNullable<TypeSettings["pause"]>,
  { canReadPayloads }: Principal,
) {
  const isSaid = actor !== breakerActor || canReadPayloads;
  return { actor, reason: isSaid ? reason : null, since: text(since), until: until === null ? null : text(until) };
}

function breakerBody({ dependency, error, openedAt, until, level }: Breaker, { canReadPayloads }: Principal) {
  return { dependency, error: canReadPayloads ? error : null, openedAt: text(openedAt), until: text(until), level };
}

export function settingsBody(settings: TypeSettings, principal: Principal) {
  const { version, pause, concurrency, concurrencyPerKey, rate, ratePerKey, enqueueLimit, rollout, breaker } = settings;
  return {
    version,
    pause: pause === null ? null : pauseBody(pause, principal),
    concurrency,
    concurrencyPerKey,
    rate,
    ratePerKey,
    enqueueLimit,
    rollout,
    breaker: breaker === null ? null : breakerBody(breaker, principal),
  };
}

/** A worker as this reader may see it; null: it runs nothing that is for them. */
export function workerFor(worker: WorkerRecord, principal: Principal) {
  const seen = workerBody(worker);
  const types = seen.types.filter(({ type }) => covers(principal, type));
  return principal.types !== null && types.length === 0 ? null : { ...seen, types };
}

function workerBody(worker: WorkerRecord) {
  return {
    id: worker.workerId,
    host: worker.host,
    pid: worker.pid,
    startedAt: text(worker.startedAt),
    leaseExpiresAt: text(worker.leaseExpiresAt),
    isLost: worker.isLost,
    concurrency: worker.concurrency,
    processing: worker.processing,
    types: worker.types.map(({ type, version, slots }) => ({ type, version, slots })),
  };
}

/** What the audit keeps of before and after, with the payload in it masked, and errors in settings as `settingsBody` has them. */
export function auditState(json: string | null, definition: AnyDefinition | null, principal: Principal): unknown {
  if (json === null) return null;
  const state = JSON.parse(json) as unknown;
  if (typeof state !== "object" || state === null) return state;
  if (!("payload" in state)) return principal.canReadPayloads ? state : withoutErrors(state);
  return { ...state, payload: maskPayload(definition, payloadIn(state)).payload };
}

function withoutErrors(state: { readonly pause?: unknown; readonly breaker?: unknown }): unknown {
  const { breaker, pause } = state;
  const isOurs = typeof pause === "object" && pause !== null && "actor" in pause && pause.actor === breakerActor;
  return {
    ...state,
    ...(typeof breaker === "object" &&
      breaker !== null &&
      "error" in breaker && { breaker: { ...breaker, error: null } }),
    ...(isOurs && { pause: { ...pause, reason: null } }),
  };
}

/** Why something in the audit was done: what a circuit breaker says is the error of some job. */
export function auditReason(actor: string, reason: string | null, { canReadPayloads }: Principal): string | null {
  return actor === breakerActor && !canReadPayloads ? null : reason;
}

/** The payload that a job had before an edit, by the audit; undefined: it says nothing of one. */
export function formerPayload({ before }: Pick<AuditRecord, "before">): unknown {
  return before === null ? undefined : payloadIn(JSON.parse(before) as object);
}

/** As it is stored: JSON in JSON. */
function payloadIn(state: object): unknown {
  const { payload } = state as { payload?: unknown };
  return typeof payload === "string" ? (JSON.parse(payload) as unknown) : payload;
}

export function text(ms: number): string {
  return new Date(ms).toISOString();
}
