/**
 * Every way in which a request can go wrong: a stable code, its status, and what it says in general (RFC 9457). The particular
 * case is in `detail`. docs/http.md explains each; a test keeps both in step.
 */
import { z } from "zod";

const problemList = {
  malformed_request: [400, "The request is not readable as HTTP, or one of its headers is not what it says it is."],
  malformed_json: [400, "The body is not the JSON that it says it is."],
  unauthenticated: [401, "The request carries no key that is known and good."],
  forbidden: [403, "The key may not do this."],
  cross_site: [403, "A web page of another site may not change anything here."],
  not_found: [404, "There is nothing at this address."],
  job_not_found: [404, "There is no such job."],
  type_not_found: [404, "There is no such type."],
  method_not_allowed: [405, "There is something at this address, but not for this method."],
  not_acceptable: [406, "What is here has no form that the request accepts."],
  request_timeout: [408, "The request did not arrive in time."],
  wrong_state: [409, "The job is in a state that does not allow this."],
  key_taken: [409, "The unique key of the job belongs to another job by now."],
  switched_off: [409, "The type is switched off for this job."],
  request_in_progress: [409, "A request with the same Idempotency-Key is being answered."],
  gone: [410, "It was here, and has been deleted since."],
  stale: [412, "It has changed since it was read."],
  body_too_large: [413, "The body, or a part of it, is larger than is taken."],
  uri_too_long: [414, "The address is longer than is taken."],
  unsupported_media_type: [415, "The body is of a kind that is not taken here."],
  unsupported_encoding: [415, "Compressed bodies are not taken."],
  invalid_request: [422, "The request is readable, but has values that cannot be used."],
  unknown_type: [422, "No type of job has this name here."],
  invalid_payload: [422, "The payload does not match the schema of its type."],
  invalid_query: [422, "The query cannot be understood."],
  idempotency_key_reused: [422, "The Idempotency-Key was used for another request."],
  refused: [429, "The type takes in no more jobs at present."],
  too_many_streams: [429, "As many streams are open as may be."],
  headers_too_large: [431, "The headers are larger than is taken."],
  internal: [500, "The service failed."],
  overloaded: [503, "The service has more to do than it can."],
  store_unavailable: [503, "The store of the jobs cannot be reached."],
  closing: [503, "The service is stopping."],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemCode = keyof typeof problemList;

export const problemCodes = Object.keys(problemList) as ProblemCode[];

export function statusOfProblem(code: ProblemCode): number {
  return problemList[code][0];
}

export function titleOfProblem(code: ProblemCode): string {
  return problemList[code][1];
}

export function typeOfProblem(code: ProblemCode): string {
  return `urn:sluice:problem:${code}`;
}

export const FieldError = z
  .object({
    pointer: z
      .string()
      .optional()
      .meta({ description: "JSON Pointer (RFC 6901) into the body; an empty one is the body itself." }),
    parameter: z.string().optional().meta({ description: "The parameter of the query, the path or the headers." }),
    line: z.int().optional().meta({ description: "Of a body in lines, from 1." }),
    position: z.int().optional().meta({ description: "Of a query: where in the text, from 0." }),
    length: z.int().optional().meta({ description: "Of a query: how many characters." }),
    detail: z.string(),
  })
  .meta({ id: "FieldError", description: "One thing that is wrong, and where." });

export const ProblemBody = z
  .object({
    type: z.string().meta({ description: "Stable for each code: urn:sluice:problem:<code>." }),
    code: z.enum(problemCodes),
    title: z.string(),
    status: z.int(),
    detail: z.string().meta({ description: "What happened to this request, and what to do." }),
    errors: z.array(FieldError).optional(),
    requestId: z.string().meta({ description: "As in the log, and in the header X-Request-Id." }),
  })
  .meta({ id: "Problem", description: "Why a request was not done (RFC 9457)." });

export type FieldError = z.infer<typeof FieldError>;
export type ProblemBody = z.infer<typeof ProblemBody>;
