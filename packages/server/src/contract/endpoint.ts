/** What an endpoint is: all that its route, its entry in the OpenAPI document and the types of a client are made from. */
import type { Role } from "sluice";
import type { z } from "zod";
import type { ProblemCode } from "./problems.js";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface Content {
  readonly type: string;
  readonly schema: z.ZodType;
}

export interface Answer {
  readonly description: string;
  /** Left out: no body. */
  readonly content?: Content;
  /** In lines, for who asked in lines: the schema is that of a line. */
  readonly inLines?: Content;
  readonly headers?: readonly AnswerHeader[];
}

export const answerHeaders = {
  ETag: "Names this state of it; send it back as If-None-Match or If-Match.",
  Link: 'The next page, rel="next" (RFC 8288).',
  Location: "Where it is.",
  "Preference-Applied": "Which preferences were followed (RFC 7240).",
  "Retry-After": "In how many seconds to ask again.",
  "Idempotency-Replayed": '"true": the request was done before; this is what became of it.',
  "Set-Cookie": "The session.",
  "X-Request-Id":
    "The caller's, where it sent one that can be one; otherwise a new one. It is in the log, and in the audit.",
  "WWW-Authenticate": "How to say who asks.",
  Accept: "The media types that are taken.",
  Allow: "The methods that there are.",
  RateLimit: "What is left of the limit, and in how many seconds there is more.",
} as const;
export type AnswerHeader = keyof typeof answerHeaders;

export interface BodyRule<Schema extends z.ZodType = z.ZodType> {
  readonly schema: Schema;
  /** The media types that are taken. */
  readonly types: readonly string[];
  /** Of those among them that are text to the contract. */
  readonly texts?: Readonly<Record<string, z.ZodType<string>>>;
  /** May be left out: the schema then reads `{}`. */
  readonly isOptional?: boolean;
  /** Where it is less than for others. */
  readonly maxBytes?: number;
  /** Read by the route itself, piece by piece; the schema only documents it. */
  readonly isStream?: boolean;
}

/**
 * Who may: `open`: everybody; `any`: every key; otherwise keys with one of these roles or one that includes it.
 */
export type Access = "open" | "any" | readonly Role[];

export interface Endpoint<
  Params extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
> {
  readonly id: string;
  readonly method: Method;
  /** In the form of OpenAPI: `/v1/jobs/{id}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly access: Access;
  readonly params?: Params;
  readonly query?: Query;
  /** What the route reads of the headers, by their names. */
  readonly headers?: readonly RequestHeader[];
  readonly body?: BodyRule<Body>;
  readonly answers: Readonly<Record<number, Answer>>;
  /** Beside those that every endpoint has. */
  readonly problems: readonly ProblemCode[];
}

export const requestHeaders = {
  "Idempotency-Key":
    "1 to 255 visible characters, with or without quotes. The same key with the same body is done once, however often it is sent; remembered for 24 hours.",
  Prefer: "wait=N: answer when the job has ended, or after N seconds; respond-async: do not wait (RFC 7240).",
  "If-None-Match": "ETags that are known already: 304 when it is still one of them.",
  "If-Match": "Only if it is still in this state; otherwise 412.",
  "Last-Event-ID": "Of the last event that the reader has; an EventSource sends it by itself.",
  traceparent: "W3C Trace Context: kept with the job, and continued by whoever runs it.",
} as const;
export type RequestHeader = keyof typeof requestHeaders;

export function endpoint<
  Params extends z.ZodType = z.ZodType<Record<never, never>>,
  Query extends z.ZodType = z.ZodType<Record<never, never>>,
  Body extends z.ZodType = z.ZodType<undefined>,
>(definition: Endpoint<Params, Query, Body>): Endpoint<Params, Query, Body> {
  return definition;
}
