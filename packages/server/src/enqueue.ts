/**
 * One job that a client asks for: its type found, its caller and its key said to the library. The same for the request of one job,
 * each line of a batch, and a bulk action.
 */
import { JobsError, type AnyDefinition, type Enqueued, type EnqueueOptions, type Queue } from "sluice";
import type { EnqueueBody } from "./contract/jobs.js";
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
    throw named(error);
  }
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
