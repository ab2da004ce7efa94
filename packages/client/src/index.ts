/**
 * A client of the HTTP service whose types are those of its OpenAPI document (schema.ts, generated): paths, parameters and answers are
 * checked by the compiler.
 */
import createFetchClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, operations, paths } from "./schema.js";

/** A schema of the document by its name: `Schema<"Job">`. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

export interface ClientOptions {
  /** Where the service is, with the prefix it is mounted under: `http://127.0.0.1:3000`. */
  readonly baseUrl: string;
  /** An API key. Left out in a browser with a session, and on the machine of a service without keys. */
  readonly key?: string;
  /** Default: the platform's. */
  readonly fetch?: (request: Request) => Promise<Response>;
}

/** What is read as JSON; for text or a stream say so: `parseAs: "text"`. */
type JsonType = "application/json" | "application/problem+json";

export type SluiceClient = Client<paths, JsonType>;

/** @example const { data, error } = await createClient({ baseUrl }).POST("/v1/jobs", { body: { type, payload } }); */
export function createClient({ baseUrl, key, fetch }: ClientOptions): SluiceClient {
  return createFetchClient<paths, JsonType>({
    baseUrl,
    ...(key !== undefined && { headers: { authorization: `Bearer ${key}` } }),
    ...(fetch !== undefined && { fetch }),
  });
}

/** Thrown by `expectData`: the problem that the service answered with (RFC 9457). */
export class SluiceProblem extends Error {
  override readonly name = "SluiceProblem";
  readonly problem: Schema<"Problem">;

  constructor(problem: Schema<"Problem">) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** The data of an answer, for callers who would rather catch than look. @throws {SluiceProblem} */
export function expectData<Data>({
  data,
  error,
  response,
}: {
  data?: Data;
  error?: unknown;
  response: Response;
}): Data {
  // Without a body (204) there is nothing to return, and nothing went wrong.
  if (response.ok) return data as Data;
  // What a proxy answers is no problem+json, and may be text.
  const problem = typeof error === "object" ? (error as Partial<Schema<"Problem">> | null) : null;
  throw new SluiceProblem({
    type: "about:blank",
    code: "internal",
    title: response.statusText,
    status: response.status,
    detail: `The service answered ${response.status}.`,
    requestId: response.headers.get("x-request-id") ?? "",
    ...problem,
  });
}
