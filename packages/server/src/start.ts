/**
 * The service as a process of its own: listens, and stops in the order that loses nothing. Without keys it is for this machine only,
 * and refuses any other address.
 */
import type { AddressInfo, Socket } from "node:net";
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from "fastify";
import { pino } from "pino";
import { v7 as uuidv7 } from "uuid";
import { isLoopback } from "./auth.js";
import { answerProblem, bodyOf, problemType, toProblem } from "./problem.js";
import { nothingHere, sluiceService, type ServiceOptions } from "./service.js";

export interface StartOptions extends ServiceOptions {
  /** Default 127.0.0.1. Any other than a loopback address needs a key. */
  readonly host?: string;
  /** Default 3000; 0 takes any that is free. */
  readonly port?: number;
  /** Default: nothing is logged. */
  readonly logger?: FastifyBaseLogger;
  /** Addresses of proxies whose `X-Forwarded-Proto` is believed; see Fastify's trustProxy. Default: none. */
  readonly trustProxy?: string | readonly string[];
}

export interface Service {
  readonly url: string;
  /** Nobody needs a key: said to whoever starts it. */
  readonly isOpen: boolean;
  /**
   * Takes no more requests; those under way have `graceMs` (default 10,000) to be answered, then their connections are cut. The queue
   * and the store stay open: they are the caller's.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>;
}

/** @throws {Error} a sentence for whoever starts it, when the address cannot be had or is not for a service without keys. */
export async function startService({
  host = "127.0.0.1",
  port = 3_000,
  logger = pino({ level: "silent" }),
  trustProxy,
  ...options
}: StartOptions): Promise<Service> {
  const isOpen = options.authenticate === undefined && (await hasNoKeys(options));
  if (isOpen && !isLoopback(host)) {
    throw new Error(
      `There is no API key, so the service is for this machine only, and ${host} is not. Make a key with "sluice keys create --name … --role admin", or listen on 127.0.0.1.`,
    );
  }
  const app = bareApp(logger, trustProxy);
  try {
    await app.register(sluiceService, options);
    await listen(app, { host, port });
  } catch (error) {
    await app.close();
    throw error;
  }
  const { port: taken } = app.server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${taken}`,
    isOpen,
    close: ({ graceMs = 10_000 } = {}) => closeWithin(app, graceMs),
  };
}

async function hasNoKeys({ queue }: ServiceOptions): Promise<boolean> {
  const now = Date.now();
  const keys = await queue.accessKeys();
  return !keys.some(
    ({ parent, revokedAt, expiresAt }) => parent === null && revokedAt === null && (expiresAt ?? Infinity) > now,
  );
}

/** What must be said to Fastify before there is a plugin: limits of the connection, and errors of requests that reach no route. */
function bareApp(logger: FastifyBaseLogger, trustProxy: string | readonly string[] | undefined): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    genReqId: ({ headers }) => requestIdOf(headers["x-request-id"]),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
    ...(trustProxy !== undefined && { trustProxy: typeof trustProxy === "string" ? trustProxy : [...trustProxy] }),
    routerOptions: { maxParamLength: 500 },
    // A connection on which nothing moves is given up; streams send a heartbeat well before.
    connectionTimeout: 60_000,
    keepAliveTimeout: 30_000,
    forceCloseConnections: "idle",
    frameworkErrors: (error, request, reply) =>
      void answerProblem(error, request, reply.header("x-request-id", request.id)),
    clientErrorHandler: (error, socket) => answerUnreadable(error, socket),
  });
  // A client has ten seconds for its headers; a body may take as long as it moves.
  app.server.headersTimeout = 10_000;
  app.server.requestTimeout = 0;
  app.server.maxRequestsPerSocket = 0;
  // What a client expects beside 100-continue is nothing that is known: done without, rather than refused by Node with an answer of its own.
  app.server.on("checkExpectation", (request, response) => app.server.emit("request", request, response));
  app.setNotFoundHandler((request, reply) =>
    answerProblem(nothingHere(), request, reply.header("x-request-id", request.id)),
  );
  return app;
}

/** A caller's, where it can be one; otherwise a new one. */
function requestIdOf(header: string | readonly string[] | undefined): string {
  return typeof header === "string" && /^[A-Za-z0-9._:-]{1,100}$/.test(header) ? header : uuidv7();
}

/** What cannot be read as HTTP has no request to answer to: written to the connection by hand. */
function answerUnreadable(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const isKnown = error.code === "HPE_HEADER_OVERFLOW" || error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const problem = toProblem(isKnown ? error : { statusCode: 400 });
  const { status, title, ...rest } = bodyOf(problem, uuidv7());
  const body = JSON.stringify({ ...rest, status, title });
  socket.end(
    `HTTP/1.1 ${status} Error\r\nContent-Type: ${problemType}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

async function listen(
  app: FastifyInstance,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const whys: Readonly<Record<string, string>> = {
      EADDRINUSE: "another program listens there",
      EACCES: "this user may not listen there",
      EADDRNOTAVAIL: "this machine has no such address",
      ENOTFOUND: "there is no such host",
    };
    const why = whys[code ?? ""];
    if (why === undefined) throw cause;
    throw new Error(`Port ${port} on ${host} cannot be used: ${why}. Give another port or host.`, { cause });
  }
}

async function closeWithin(app: FastifyInstance, graceMs: number): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), graceMs);
  try {
    await app.close();
  } finally {
    clearTimeout(cut);
  }
}
