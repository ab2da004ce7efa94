/**
 * One job that a client asks for: its type found, its caller and its key said to the library. The same for the request of one job and for each
 * line of a batch.
 */
import {
  JobsError,
  scrub,
  secretsOf,
  type AnyDefinition,
  type Enqueued,
  type EnqueueOptions,
  type Issue,
  type Job,
  type Queue,
} from "sluice";
import type { EnqueueBody } from "./contract/jobs.js";
import { bulkJob } from "./bulk.js";
import { fingerprintOf, scopedKey } from "./idempotency.js";
import { requireType, type Principal } from "./principal.js";
import { Problem } from "./problem.js";

export interface Request {
  readonly principal: Principal;
  /** What the client calls it; null: it is done each time it is sent. */
  readonly idempotencyKey: string | null;
  readonly traceparent?: string | undefined;
}

export async function enqueueFor(
  { queue, definitions }: { readonly queue: Queue<unknown>; readonly definitions: ReadonlyMap<string, AnyDefinition> },
  body: EnqueueBody,
  { principal, idempotencyKey, traceparent }: Request,
): Promise<Enqueued> {
  const definition = definitions.get(body.type);
  requireType(principal, body.type);
  if (definition === undefined) throw unknownType();
  requireOwnEndpoint(body.type);
  const { payload, correlation, delayMs, runAt, priority, maxAttempts } = body;
  const options: EnqueueOptions = {
    caller: principal.id,
    ...(correlation !== undefined && { correlation }),
    ...(delayMs !== undefined && { delayMs }),
    ...(runAt !== undefined && { runAt: new Date(runAt) }),
    ...(priority !== undefined && { priority }),
    ...(maxAttempts !== undefined && { maxAttempts }),
    ...(isTraceparent(traceparent) && { trace: { traceparent } }),
    ...(idempotencyKey !== null && {
      idempotency: { key: scopedKey(principal.id, idempotencyKey), fingerprint: fingerprintOf("enqueue", body) },
    }),
  };
  try {
    return await queue.enqueue(definition, payload, options);
  } catch (error) {
    throw named(withoutSecrets(error, definition, payload));
  }
}

/**
 * A bulk action names who asked for it and what they may touch: as a plain job it would be anybody's to say.
 * @throws {Problem} forbidden
 */
export function requireOwnEndpoint(type: string): void {
  if (type !== bulkJob.type) return;
  throw new Problem("forbidden", "Bulk actions are begun with POST /v1/bulk, and stay as they are.");
}

/** What a schema says of a payload may repeat what it was given: sensitive values are taken out. */
export function withoutSecrets(error: unknown, definition: AnyDefinition, payload: unknown): unknown {
  if (!(error instanceof JobsError) || error.code !== "INVALID_PAYLOAD") return error;
  const { type, version } = definition;
  const secrets = secretsOf({ type, version, state: "pending", payload } as Job, definition);
  const given = (error.details["issues"] as readonly Issue[] | undefined) ?? [];
  const issues = given.map(({ path, message }) => ({ path: scrub(path, secrets), message: scrub(message, secrets) }));
  return new JobsError("INVALID_PAYLOAD", scrub(error.message, secrets), { ...error.details, issues });
}

export function unknownType(): Problem {
  return new Problem("unknown_type", "No type of job has this name here. GET /v1/types lists those that are.", {
    errors: [{ pointer: "/type", detail: "is not known here" }],
  });
}

/** An option that the library refuses is a field of the request. */
function named(error: unknown): unknown {
  if (!(error instanceof JobsError) || error.code !== "INVALID_OPTIONS") return error;
  return new Problem("invalid_request", error.message, {
    cause: error,
    errors: [{ pointer: "", detail: error.message }],
  });
}

/** W3C Trace Context, version 00. One that is not understood is not passed on. */
function isTraceparent(text: string | undefined): text is string {
  return text !== undefined && /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(text);
}
