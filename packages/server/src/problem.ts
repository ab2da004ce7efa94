/**
 * Errors become `application/problem+json` (RFC 9457): one door for our own, the library's, Zod's and the framework's. What is said
 * is for a stranger: never a stack, a path of this machine, or a value that was sent.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import { isRetryable, JobsError, type Issue } from "sluice";
import type { z } from "zod";
import { statusOfProblem, titleOfProblem, typeOfProblem } from "./contract/problems.js";
import type { FieldError, ProblemBody, ProblemCode } from "./contract/problems.js";

export const problemType = "application/problem+json";

export interface ProblemMore {
  readonly errors?: readonly FieldError[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Thrown by whatever cannot do what a request asks. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly code: ProblemCode;
  readonly errors: readonly FieldError[] | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, detail: string, { errors, headers = {}, cause }: ProblemMore = {}) {
    super(detail, cause === undefined ? undefined : { cause });
    this.code = code;
    this.errors = errors;
    this.headers = headers;
  }

  get status(): number {
    return statusOfProblem(this.code);
  }
}

/** The body of a problem. */
export function bodyOf({ code, message, errors }: Problem, requestId: string): ProblemBody {
  return {
    type: typeOfProblem(code),
    code,
    title: titleOfProblem(code),
    status: statusOfProblem(code),
    detail: message,
    ...(errors !== undefined && { errors: [...errors] }),
    requestId,
  };
}

/** Answers with what went wrong; what nobody expected goes to the log, whole. */
export function answerProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = toProblem(error);
  if (problem.status >= 500) request.log.error({ err: problem.cause ?? error }, "request failed");
  // A connection with the rest of an unread body on it is of no more use.
  if (problem.status === 413) void reply.header("connection", "close");
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type(problemType)
    .send(JSON.stringify(bodyOf(problem, request.id)));
}

export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof JobsError) return ofLibrary(error);
  return ofFramework(error);
}

const seconds = (ms: number) => String(Math.max(1, Math.ceil(ms / 1_000)));

export function retryAfter(ms: number): Readonly<Record<string, string>> {
  return { "retry-after": seconds(ms) };
}

function ofLibrary(error: JobsError): Problem {
  const { code, message, details } = error;
  const say = (problem: ProblemCode, more: ProblemMore = {}) =>
    new Problem(problem, message, { cause: error, ...more });
  if (isRetryable(error)) {
    const detail =
      "The store of the jobs cannot be reached, or is too busy. It is not known to have done anything; try again.";
    return new Problem("store_unavailable", detail, { headers: retryAfter(1_000), cause: error });
  }
  switch (code) {
    case "INVALID_PAYLOAD":
      return say("invalid_payload", { errors: payloadErrors(details["issues"]) });
    case "PAYLOAD_TOO_LARGE":
      return say("body_too_large", { errors: [{ pointer: "/payload", detail: message }] });
    case "INVALID_OPTIONS":
    case "INVALID_DEFINITION":
      return say("invalid_request");
    case "INVALID_QUERY":
      return say("invalid_query", { errors: queryErrors(details["faults"]) });
    case "ENQUEUE_REFUSED":
      return ofRefusal(error);
    case "IDEMPOTENCY_KEY_REUSED":
      return new Problem(
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request. Send that request again, or use another key.",
      );
    case "JOB_GONE":
      return new Problem("gone", "This Idempotency-Key was used, and the job that it made has been deleted since.");
    case "SETTINGS_STALE":
      return say("stale");
    case "JOB_NOT_FOUND":
      return say("job_not_found");
    case "STORE_CLOSED":
      return new Problem("closing", "The service is stopping. Ask again: another may answer.", {
        headers: retryAfter(1_000),
      });
    default:
      return new Problem("internal", unexpected, { cause: error });
  }
}

/** How a refusal is answered: with the time after which to try again, where time helps. */
function ofRefusal({ message, details }: JobsError): Problem {
  const { reason, retryAfterMs, type } = details as { reason: string; retryAfterMs: number | null; type: string };
  if (retryAfterMs === null) return new Problem("switched_off", message);
  const wait = seconds(retryAfterMs);
  // RateLimit fields, draft-ietf-httpapi-ratelimit-headers-10: what is left (r) and when there is more (t). What is taken in a time
  // is for operators to know.
  const name = JSON.stringify(`${type}-${reason}`);
  return new Problem("refused", message, {
    headers: { "retry-after": wait, ratelimit: `${name};r=0;t=${wait}`, "ratelimit-policy": `${name};q=1;w=${wait}` },
  });
}

function payloadErrors(issues: unknown): readonly FieldError[] {
  return ((issues as readonly Issue[] | undefined) ?? []).slice(0, 50).map(({ path, message }) => ({
    pointer: `/payload${path}`,
    detail: message,
  }));
}

function queryErrors(faults: unknown): readonly FieldError[] {
  const given = (faults ?? []) as readonly { position: number; length: number; message: string }[];
  return given
    .slice(0, 50)
    .map(({ position, length, message }) => ({ parameter: "q", position, length, detail: message }));
}

const unexpected = "The service could not do this, and does not know why. It is in its log, by the requestId.";

/** By the codes of Fastify and of Node's HTTP parser. */
const frameworkCodes: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ["body_too_large", "The body is larger than is taken here. Send it in parts."],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ["unsupported_media_type", "The body is of a kind that is not taken here."],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ["malformed_request", "The body is not as long as its Content-Length says."],
  FST_ERR_CTP_EMPTY_JSON_BODY: ["malformed_json", "The body is empty. Send a JSON value."],
  FST_ERR_CTP_INVALID_JSON_BODY: ["malformed_json", "The body is not JSON."],
  FST_ERR_BAD_URL: ["malformed_request", "The address has a percent sign that is not followed by two digits."],
  FST_ERR_MAX_PARAM_LENGTH: ["uri_too_long", "A part of the address is longer than is taken."],
  FST_ERR_ASYNC_CONSTRAINT: ["malformed_request", "The request cannot be routed."],
  HPE_HEADER_OVERFLOW: ["headers_too_large", "The headers are larger than is taken. Send fewer, or shorter ones."],
  ERR_HTTP_REQUEST_TIMEOUT: ["request_timeout", "The request did not arrive in time."],
};

function ofFramework(error: unknown): Problem {
  const { code, statusCode } = (error ?? {}) as { code?: unknown; statusCode?: unknown };
  const known = typeof code === "string" ? frameworkCodes[code] : undefined;
  if (known !== undefined) return new Problem(known[0], known[1], { cause: error });
  if (statusCode === 503) {
    return new Problem("closing", "The service is stopping. Ask again: another may answer.", {
      headers: retryAfter(1_000),
    });
  }
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500) {
    return new Problem("malformed_request", "The request cannot be read.", { cause: error });
  }
  return new Problem("internal", unexpected, { cause: error });
}

/** What Zod found, field by field. */
export function invalidRequest(error: z.ZodError, at: "body" | "query" | "params"): Problem {
  const errors = error.issues.flatMap((issue) => fieldErrors(issue, at)).slice(0, 50);
  const where = { body: "The body", query: "The query of the address", params: "The address" }[at];
  const first = errors[0];
  const name = first === undefined ? "" : ` ${first.pointer ?? first.parameter ?? ""}: ${first.detail}.`;
  return new Problem("invalid_request", `${where} has values that cannot be used.${name}`, { errors });
}

function fieldErrors(issue: z.core.$ZodIssue, at: "body" | "query" | "params"): FieldError[] {
  const place = (path: readonly PropertyKey[]) =>
    at === "body" ? { pointer: toPointer(path) } : { parameter: path.map(String).join(".") };
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ ...place([...issue.path, key]), detail: "is not known here" }));
  }
  return [{ ...place(issue.path), detail: issue.message }];
}

/** RFC 6901. Cut: a name may be as long as the sender likes. */
export function toPointer(path: readonly PropertyKey[]): string {
  return path
    .map((key) => `/${String(key).slice(0, 100).replaceAll("~", "~0").replaceAll("/", "~1")}`)
    .join("")
    .slice(0, 1_000);
}
