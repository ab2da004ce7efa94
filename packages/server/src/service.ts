/**
 * The service as a Fastify plugin: mounts every endpoint of the contract under a prefix of yours. It brings its own errors, headers
 * and body parsing, and leaves the rest of the application alone.
 */
import { readFileSync } from "node:fs";
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from "fastify";
import { type AnyDefinition, type Queue, type Store } from "sluice";
import { asAuthenticate, isStill, KeyRing, keysAuthenticate, refuseOtherSites, type OwnAuthenticate } from "./auth.js";
import { takeStreams } from "./body.js";
import { bulkJob, bulkWorker } from "./bulk.js";
import { endpoints } from "./contract/index.js";
import type { Access, Method } from "./contract/endpoint.js";
import type { Deps } from "./deps.js";
import { Gate } from "./gate.js";
import { defaultLimits, type Limits } from "./limits.js";
import { Live } from "./live.js";
import { Metrics } from "./metrics.js";
import { openApiDocument } from "./openapi.js";
import { answerProblem, Problem } from "./problem.js";
import type { Principal } from "./principal.js";
import { mounter, whoMay } from "./route.js";
import { batchRoutes } from "./routes/batch.js";
import { bulkRoutes } from "./routes/bulk.js";
import { documentationRoutes } from "./routes/documentation.js";
import { eventRoutes } from "./routes/events.js";
import { healthRoutes, Readiness } from "./routes/health.js";
import { jobRoutes } from "./routes/jobs.js";
import { keyRoutes } from "./routes/keys.js";
import { operateRoutes } from "./routes/operate.js";
import { operationRoutes } from "./routes/operations.js";
import { typeRoutes } from "./routes/types.js";

export interface ServiceOptions {
  readonly store: Store<unknown>;
  readonly queue: Queue<unknown>;
  /** The types that can be enqueued here. Jobs of others can be seen and operated, not enqueued; their payloads are masked whole. */
  readonly definitions?: readonly AnyDefinition[];
  /**
   * Who asks. Default: the API keys in the store; as long as there is none, whoever asks from this machine. Answer null for somebody
   * unknown (401).
   */
  readonly authenticate?: OwnAuthenticate;
  /** Runs bulk actions in this process. Default true; with false some other process must, or they wait. */
  readonly runsBulk?: boolean;
  /** Of a worker in this process, which then has to live for `/readyz` to be good. */
  readonly workerId?: () => string | null;
  readonly limits?: Partial<Limits>;
  /** Routes of the application's own, held to the same: errors as problems, bodies as streams, the same keys. */
  readonly more?: (app: FastifyInstance, edge: Edge) => void | Promise<void>;
}

/** What routes of an application's own share with the service. */
export interface Edge {
  /** Who asks; throws a Problem where that is not known, or the service is stopping. `access` says who may. */
  readonly principal: (request: FastifyRequest, access: Access) => Promise<Principal>;
  /** Server-sent events. */
  readonly live: Live;
}

export const version = (
  JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }
).version;

/** Register it with a `prefix`, or at the root of an application of its own (start.ts). */
export const sluiceService: FastifyPluginAsync<ServiceOptions> = async (app, options) => {
  const { store, queue, definitions = [], authenticate, runsBulk = true, workerId = () => null } = options;
  const { prefix } = app;
  const limits = { ...defaultLimits, ...options.limits };
  const now = () => Date.now();
  const gate = new Gate(limits);
  const ring = authenticate === undefined ? new KeyRing(queue, now) : null;
  const whoAsks = authenticate === undefined ? keysAuthenticate(ring!) : asAuthenticate(authenticate);
  const live = new Live(store, limits, isStill(whoAsks));
  const known = new Map([...definitions, bulkJob as AnyDefinition].map((each) => [each.type, each]));
  const metrics = new Metrics({ queue, gate, live, types: known.keys(), now });
  const readiness = new Readiness(queue, { workerId, now });
  const deps: Deps = { queue, store, prefix, definitions: known, limits, gate, live, ring, metrics, readiness, now };

  takeStreams(app);
  app.setErrorHandler((error, request, reply) => answerProblem(error, request, reply));
  if (prefix !== "") app.setNotFoundHandler((request, reply) => answerProblem(nothingHere(), request, reply));
  // With callbacks: a promise for each of them is a part of a small request that shows.
  app.addHook("onRequest", (request, reply, done) => {
    void reply.headers(usualHeaders).header("x-request-id", request.id);
    try {
      refuseOtherSites(request);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook("onResponse", (request, reply, done) => {
    const route = request.routeOptions.url ?? "none";
    metrics.answered({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1_000);
    done();
  });

  const mount = mounter(app, { gate, limits, authenticate: whoAsks });
  jobRoutes(mount, deps);
  batchRoutes(mount, deps);
  operateRoutes(mount, deps);
  bulkRoutes(mount, deps);
  typeRoutes(mount, deps);
  eventRoutes(mount, deps);
  operationRoutes(mount, deps);
  keyRoutes(mount, deps);
  healthRoutes(mount, deps);
  documentationRoutes(mount, openApiDocument({ version, prefix }));
  mountOtherMethods(app);
  const principal: Edge["principal"] = async (request, access) => {
    gate.requireOpen();
    return whoMay(whoAsks, request, access);
  };
  await options.more?.(app, { live, principal });

  const bulk = runsBulk ? bulkWorker(store, queue) : null;
  app.addHook("onReady", async () => bulk?.start());
  // Streams and waits end before the connections are waited for.
  app.addHook("preClose", async () => {
    gate.close();
    live.close();
  });
  app.addHook("onClose", async () => {
    await bulk?.stop({ graceMs: 5_000 });
    metrics.close();
  });
};

/** Answers say how they may be used; a page that shows one can do nothing with it. */
const usualHeaders = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

export function nothingHere(): Problem {
  return new Problem("not_found", "There is nothing at this address. GET /docs lists what there is.");
}

const allMethods: readonly (Method | "HEAD" | "OPTIONS")[] = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
];

/** At each address, methods that there are not: 405, with those that there are; OPTIONS asks for just that. */
function mountOtherMethods(app: FastifyInstance): void {
  for (const path of new Set(endpoints.map((each) => each.path))) {
    const there: string[] = endpoints.filter((each) => each.path === path).map(({ method }) => method);
    if (there.includes("GET")) there.push("HEAD");
    const allow = [...there, "OPTIONS"].join(", ");
    app.route({
      method: allMethods.filter((method) => !there.includes(method)),
      url: path.replace(/\{(\w+)\}/g, ":$1"),
      handler: async (request, reply) => {
        if (request.method === "OPTIONS") return reply.code(204).header("allow", allow).send();
        throw new Problem("method_not_allowed", `${request.method} is not for this address. There is ${allow}.`, {
          headers: { allow },
        });
      },
    });
  }
}
