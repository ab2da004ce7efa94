/**
 * The service as a process of its own: listens, and stops in the order that loses nothing. Without keys it is for this machine only,
 * and refuses any other address.
 */
import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from "fastify";
import { pino } from "pino";
import { isGood } from "sluice";
import { v7 as uuidv7 } from "uuid";
import { isLoopback } from "./auth.js";
import { giveUpRests, takeStreams } from "./body.js";
import { answerProblem, bodyOf, Problem, problemType, toProblem } from "./problem.js";
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
  const keys = options.authenticate === undefined ? await keysOf(options) : null;
  const isOpen = keys?.all === 0;
  if (keys?.good === 0 && !isLoopback(host)) {
    throw new Error(
      `There is no API key that is good, so the service is for this machine only, and ${host} is not. Make a key with "sluice keys create --name … --role admin", or listen on 127.0.0.1.`,
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

/** How many keys there are, and how many of them are good. */
async function keysOf({ queue }: ServiceOptions): Promise<{ readonly all: number; readonly good: number }> {
  const now = Date.now();
  const keys = await queue.accessKeys();
  const good = keys.filter((key) => key.parent === null && isGood(key, now, () => undefined));
  return { all: keys.length, good: good.length };
}

/** What must be said to Fastify before there is a plugin: limits of the connection, and errors of requests that reach no route. */
function bareApp(logger: FastifyBaseLogger, trustProxy: string | readonly string[] | undefined): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    genReqId: requestIds(),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
    ...(trustProxy !== undefined && { trustProxy: typeof trustProxy === "string" ? trustProxy : [...trustProxy] }),
    routerOptions: { maxParamLength: 500 },
    // A connection on which nothing moves is given up; streams send a heartbeat well before.
    connectionTimeout: 60_000,
    keepAliveTimeout: 30_000,
    forceCloseConnections: "idle",
    // Node looks for connections that are late every 30 seconds, and answers a request without a Host by itself.
    http: { connectionsCheckingInterval: 2_000, maxHeaderSize: 16_384, requireHostHeader: false },
    // Fastify's own answer while it closes is no problem of ours, and keeps `/readyz` from saying why; the gate refuses what must be.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) =>
      void answerProblem(error, request, reply.header("x-request-id", request.id)),
    clientErrorHandler: (error, socket) => answerUnreadable(error, socket),
  });
  // A client has ten seconds for its headers; a body may take as long as it moves.
  app.server.headersTimeout = 10_000;
  app.server.requestTimeout = 0;
  app.server.maxRequestsPerSocket = 0;
  // Node would pass over headers beyond the 2,000th in silence, such as the one by which a proxy is known. Their bytes are counted.
  app.server.maxHeadersCount = 0;
  // An expectation that nobody here knows is no reason not to answer (RFC 9110 10.1.1).
  app.server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) =>
    app.server.emit("request", request, response),
  );
  takeStreams(app);
  giveUpRests(app);
  app.addHook("onRequest", (request, reply, done) => {
    void reply.header("x-request-id", request.id);
    done(faultOfHost(request.raw));
  });
  app.setErrorHandler((error, request, reply) => answerProblem(error, request, reply));
  app.setNotFoundHandler((request, reply) => answerProblem(nothingHere(), request, reply));
  return app;
}

/** One Host, and no other for somebody else to go by (RFC 9112 3.2). */
function faultOfHost({ rawHeaders, httpVersion }: IncomingMessage): Problem | undefined {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  if (hosts === 1 || (hosts === 0 && httpVersion === "1.0")) return undefined;
  return new Problem("malformed_request", "A request has one header Host.", {
    errors: [{ parameter: "Host", detail: hosts === 0 ? "is missing" : "is there more than once" }],
  });
}

/** A caller's, where it can be one; otherwise a new one: the process by chance, the request by number. */
function requestIds(): (request: Pick<IncomingMessage, "headers">) => string {
  const process = randomBytes(9).toString("base64url");
  let count = 0;
  return ({ headers: { "x-request-id": header } }) => {
    if (typeof header === "string" && /^[A-Za-z0-9._:-]{1,100}$/.test(header)) return header;
    return `${process}.${(++count).toString(36)}`;
  };
}

/** What cannot be read as HTTP has no request to answer to: written to the connection by hand. */
function answerUnreadable(error: Error & { code?: string }, socket: Socket): void {
  // An answer that has begun cannot be taken back: another in the midst of it would be read as a part of it.
  const { _httpMessage: begun } = socket as { readonly _httpMessage?: ServerResponse | null };
  if (error.code === "ECONNRESET" || !socket.writable || begun?.headersSent === true) {
    socket.destroy();
    return;
  }
  const isKnown = error.code === "HPE_HEADER_OVERFLOW" || error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const problem = toProblem(isKnown ? error : { statusCode: 400 });
  const told = bodyOf(problem, uuidv7());
  const { status } = told;
  const body = JSON.stringify(told);
  socket.end(
    `HTTP/1.1 ${status} Error\r\nContent-Type: ${problemType}\r\nX-Request-Id: ${told.requestId}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
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
