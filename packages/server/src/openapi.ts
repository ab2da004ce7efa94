/** The OpenAPI 3.1 document, made from the contract that the routes are made from. */
import { createDocument } from "zod-openapi";
import { z } from "zod";
import { answerHeaders, requestHeaders, type Answer, type AnswerHeader, type Endpoint } from "./contract/endpoint.js";
import { endpoints } from "./contract/index.js";
import { ProblemBody, statusOfProblem, titleOfProblem, type ProblemCode } from "./contract/problems.js";
import { problemType } from "./problem.js";

export interface OpenApi {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly description?: string;
    readonly required?: boolean;
    readonly schema: unknown;
  }[];
  readonly requestBody?: {
    readonly required?: boolean;
    readonly content: Readonly<Record<string, { readonly schema: unknown }>>;
  };
  readonly responses: Readonly<
    Record<
      string,
      { readonly description: string; readonly content?: Readonly<Record<string, { readonly schema: unknown }>> }
    >
  >;
}

const tags = [
  { name: "Jobs", description: "Enqueue, follow and search." },
  { name: "Operate", description: "Cancel, retry, discard; one or many. All of it is kept in the audit." },
  { name: "Types", description: "What types of jobs there are, and what they are held to." },
  { name: "Events", description: "Streams of server-sent events." },
  { name: "Keys", description: "API keys and browser sessions." },
  { name: "Health", description: "Liveness, readiness, metrics." },
  { name: "Documentation", description: "This document." },
];

/** @param prefix Where the service is mounted: "" or a path. */
export function openApiDocument({ version, prefix }: { readonly version: string; readonly prefix: string }): OpenApi {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const endpoint of endpoints) {
    (paths[endpoint.path] ??= {})[endpoint.method.toLowerCase()] = operationOf(endpoint);
  }
  const document = createDocument({
    openapi: "3.1.0",
    info: {
      title: "Sluice",
      version,
      description:
        "Durable background jobs over HTTP. Errors are application/problem+json with a stable type for each code; lists are paged by cursor; instants are ISO 8601 in UTC.",
      contact: { name: "Sluice", url: "https://www.npmjs.com/package/@sluice/server" },
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: prefix === "" ? "/" : prefix, description: "Where this document comes from." }],
    tags,
    security: [{ key: [] }, { session: [] }],
    paths: paths,
    components: {
      securitySchemes: {
        key: { type: "http", scheme: "bearer", description: "An API key: slu_…" },
        session: { type: "apiKey", in: "cookie", name: "sluice_session", description: "A browser session." },
      },
    },
  });
  return document as unknown as OpenApi;
}

/** Those that any request may meet. */
const usualProblems: readonly ProblemCode[] = [
  "malformed_request",
  "not_acceptable",
  "request_timeout",
  "uri_too_long",
  "invalid_request",
  "headers_too_large",
  "internal",
  "overloaded",
  "store_unavailable",
  "closing",
];
/** Health is told whatever else is, and asks nobody for a key. */
const notOfHealth: readonly ProblemCode[] = ["overloaded", "store_unavailable", "closing"];
const keyProblems: readonly ProblemCode[] = ["unauthenticated", "forbidden"];

function operationOf(endpoint: Endpoint) {
  const {
    id,
    summary,
    description,
    tag,
    access,
    params,
    query,
    headers = [],
    body,
    answers,
    problems,
    method,
  } = endpoint;
  const all: ProblemCode[] = [
    ...problems,
    ...usualProblems.filter((code) => tag !== "Health" || !notOfHealth.includes(code)),
    ...(access === "open" ? [] : keyProblems),
    // A Content-Type that cannot be read is refused wherever a body could be.
    ...(method === "GET" ? [] : (["cross_site", "unsupported_media_type"] as const)),
    ...(body === undefined ? [] : (["unsupported_encoding", "body_too_large", "malformed_json"] as const)),
  ];
  const requestHeader = z.object(
    Object.fromEntries(
      headers.map((name) => [name, z.string().optional().meta({ description: requestHeaders[name] })]),
    ),
  );
  return {
    operationId: id,
    summary,
    description: description ?? `${summary}.`,
    tags: [tag],
    ...(access === "open" && { security: [] }),
    requestParams: {
      ...(params !== undefined && { path: params }),
      ...(query !== undefined && { query }),
      ...(headers.length > 0 && { header: requestHeader }),
    },
    ...(body !== undefined && {
      requestBody: {
        required: body.isOptional !== true,
        content: Object.fromEntries(body.types.map((type) => [type, { schema: body.texts?.[type] ?? body.schema }])),
      },
    }),
    responses: {
      ...Object.fromEntries(Object.entries(answers).map(([status, answer]) => [status, responseOf(answer)])),
      ...problemResponses(all, answers),
    },
  };
}

function responseOf({ description, content, inLines, headers = [] }: Answer) {
  return {
    description,
    ...(content !== undefined && {
      content: {
        [content.type]: { schema: content.schema },
        ...(inLines !== undefined && { [inLines.type]: { schema: inLines.schema } }),
      },
    }),
    headers: headersOf(headers),
  };
}

/** With those that every answer has. */
function headersOf(names: readonly AnswerHeader[]) {
  return Object.fromEntries(
    ([...names, "X-Request-Id"] as const).map((name) => [
      name,
      { description: answerHeaders[name], schema: { type: "string" as const } },
    ]),
  );
}

/** Beside what is in the body. */
const problemHeaders: Readonly<Record<number, readonly AnswerHeader[]>> = {
  401: ["WWW-Authenticate"],
  415: ["Accept"],
  429: ["Retry-After", "RateLimit"],
  503: ["Retry-After"],
};

/** One entry for each status, which says what codes it may have. */
function problemResponses(codes: readonly ProblemCode[], answers: Endpoint["answers"]) {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of new Set(codes)) {
    const status = statusOfProblem(code);
    if (answers[status] === undefined) byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, those]) => [
      status,
      {
        description: those.map((code) => `${code}: ${titleOfProblem(code)}`).join(" "),
        content: { [problemType]: { schema: ProblemBody } },
        headers: headersOf(problemHeaders[status] ?? []),
      },
    ]),
  );
}
