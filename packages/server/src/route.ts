/**
 * Turns an endpoint of the contract and a handler into a route. The order in which a request is judged is here, once for all:
 * may this process take it on → who asks, may they → is the answer acceptable → address and query → kind and size of the body →
 * JSON → schema → the handler.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { Authenticate } from "./auth.js";
import { hasBody, mediaTypeOf, readJson } from "./body.js";
import type { Access, Endpoint } from "./contract/endpoint.js";
import type { Gate } from "./gate.js";
import type { Limits } from "./limits.js";
import { etagOf, isKnown, requireAcceptable } from "./negotiation.js";
import { mayUse, type Principal } from "./principal.js";
import { invalidRequest, Problem } from "./problem.js";

export interface Call<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly principal: Principal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

export interface Answer {
  readonly status: number;
  /** Sent as JSON; a string as it is. Left out: no body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Null: the handler has answered by itself. */
type Handler<E> =
  E extends Endpoint<infer Params, infer Query, infer Body>
    ? (call: Call<z.output<Params>, z.output<Query>, z.output<Body>>) => Promise<Answer | null>
    : never;

export interface RouteDeps {
  readonly gate: Gate;
  readonly limits: Limits;
  readonly authenticate: Authenticate;
}

export type Mount = <Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType>(
  endpoint: Endpoint<Params, Query, Body>,
  handle: Handler<Endpoint<Params, Query, Body>>,
) => void;

export function mounter(app: FastifyInstance, deps: RouteDeps): Mount {
  return (endpoint, handle) => {
    const judge = judgeOf(endpoint, deps);
    app.route({
      method: endpoint.method,
      url: endpoint.path.replace(/\{(\w+)\}/g, ":$1"),
      handler: async (request, reply) => {
        // Whether it is well must be asked of a process that is not.
        const isHealth = endpoint.tag === "Health";
        if (!isHealth) deps.gate.enter();
        try {
          const call = (await judge(request, reply)) as never;
          const answer = await (handle as (call: never) => Promise<Answer | null>)(call);
          return answer === null ? reply : send(answer, endpoint, request, reply);
        } finally {
          if (!isHealth) deps.gate.leave();
        }
      },
    });
  };
}

function judgeOf(endpoint: Endpoint, { authenticate, limits }: RouteDeps) {
  const contents = Object.values(endpoint.answers).flatMap(({ content, inLines }) => [content, inLines]);
  const offered = [...new Set(contents.flatMap((content) => (content === undefined ? [] : [content.type])))];
  return async (request: FastifyRequest, reply: FastifyReply): Promise<Call<unknown, unknown, unknown>> => {
    const principal = await whoMay(authenticate, request, endpoint.access);
    requireAcceptable(request.headers.accept, offered);
    const params = read(endpoint, request.params, "params");
    const query = read(endpoint, request.query, "query");
    const body = await readBody(endpoint, request, limits);
    return { params, query, body, principal, request, reply };
  };
}

/** Who asks, and may. @throws {Problem} unauthenticated, forbidden */
export async function whoMay(authenticate: Authenticate, request: FastifyRequest, access: Access): Promise<Principal> {
  const principal = await authenticate(request, access);
  if (mayUse(principal, access)) return principal;
  const roles = (access as readonly string[]).join(" or ");
  throw new Problem(
    "forbidden",
    `This needs a key with the role ${roles}; this one has ${principal.roles.join(", ") || "none"}.`,
  );
}

function read(endpoint: Endpoint, value: unknown, at: "query" | "params"): unknown {
  const schema = endpoint[at];
  if (schema === undefined) {
    const [stranger] = at === "query" ? Object.keys(value as object) : [];
    if (stranger === undefined) return {};
    throw new Problem("invalid_request", `There is no parameter ${JSON.stringify(stranger.slice(0, 100))} here.`, {
      errors: [{ parameter: stranger.slice(0, 100), detail: "is not known here" }],
    });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  // What cannot be the id of a job is not the id of a job.
  if (at === "params" && endpoint.problems.includes("job_not_found"))
    throw new Problem("job_not_found", "There is no such job: ids are UUIDs.");
  if (at === "params" && endpoint.problems.includes("not_found"))
    throw new Problem("not_found", "There is nothing that has this name.");
  throw invalidRequest(result.error, at);
}

async function readBody(
  { body: rule }: Endpoint,
  request: FastifyRequest,
  { bodyBytes, bodyMs }: Limits,
): Promise<unknown> {
  if (rule === undefined) return undefined;
  if (rule.isOptional === true && !(await hasBody(request))) return rule.schema.parse({});
  mediaTypeOf(request, rule);
  if (rule.isStream === true) return undefined;
  const result = rule.schema.safeParse(
    await readJson(request, { maxBytes: Math.min(bodyBytes, rule.maxBytes ?? bodyBytes), withinMs: bodyMs }),
  );
  if (result.success) return result.data;
  throw invalidRequest(result.error, "body");
}

/** With an ETag where the contract promises one; 304 where the client has it already. */
function send(
  { status, body, headers }: Answer,
  endpoint: Endpoint,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  void reply.code(status);
  if (headers !== undefined) void reply.headers(headers);
  if (body === undefined) return reply.send();
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const promised = endpoint.answers[status];
  if (promised?.headers?.includes("ETag") === true) {
    const etag = headers?.["etag"] ?? etagOf(text);
    void reply.header("etag", etag);
    if (endpoint.method === "GET" && isKnown(etag, request.headers))
      return reply.code(304).removeHeader("retry-after").send();
  }
  return reply.type(`${promised?.content?.type ?? "application/json"}; charset=utf-8`).send(text);
}
