/**
 * The HTTP face of the canon: translates requests into library calls and jobs, and rows into answers. Rules about jobs are
 * in sluice, rules about objects in object.ts and library/.
 */
import { STATUS_CODES } from "node:http";
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply } from "fastify";
import { isRetryable, type BlobStore, type Queue } from "sluice";
import { v7 as uuidv7 } from "uuid";
import { z } from "zod";
import type { Embedder } from "./embedding/embedder.js";
import { beginImport, importView } from "./imports.js";
import type { Library } from "./library/library.js";
import { parseObject, publicView } from "./object.js";
import { search } from "./search/search.js";

export interface ServiceDeps {
  readonly library: Library;
  readonly blobs: BlobStore;
  readonly queue: Queue<unknown>;
  readonly embedder: Embedder;
  readonly now: () => number;
  readonly logger: FastifyBaseLogger;
}

/** Larger bodies are refused while they stream in. */
const maxImportBytes = 4 * 1024 ** 3;

const game = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "takes 1 to 64 letters, digits, '-' or '_'");
const Game = z.object({ game });
const GameAndId = z.object({ game, id: z.string().min(1).max(200).normalize("NFC") });
const Role = z.enum(["gm", "player"]).default("gm");
const SearchQuery = z.strictObject({
  q: z.string().trim().min(1, "is empty; say what you are looking for").max(1_000),
  as: Role,
  limit: z.coerce.number().int().min(1).max(50).default(10),
});
const FailuresQuery = z.strictObject({
  after: z.coerce.number().int().default(-1),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
const ObjectQuery = z.strictObject({ as: Role });

export function buildService({ library, blobs, queue, embedder, now, logger }: ServiceDeps): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    genReqId: () => uuidv7(),
    // Ids may be 200 characters long, each of them up to nine when it is encoded.
    routerOptions: { maxParamLength: 2_000 },
    // An upload that stands still for a minute is given up.
    connectionTimeout: 60_000,
    frameworkErrors: (error, _request, reply) => void problem(reply, statusOf(error), messageOf(error)),
  });
  // Bodies are streamed by the routes that want them, whatever they call themselves; nothing is buffered here.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, payload, done) => done(null, payload));

  const queryVector = remembering(500, async (query) => (await embedder.embed([query], { urgent: true }))[0]!);

  app.setErrorHandler((error, request, reply) => {
    if (error instanceof z.ZodError) return problem(reply, 422, messageOf(error), pointersOf(error));
    if (isRetryable(error)) void reply.header("retry-after", "1");
    const status = isRetryable(error) ? 503 : statusOf(error);
    if (status < 500) return problem(reply, status, messageOf(error));
    request.log.error({ err: error }, "request failed");
    return problem(reply, status, "The service could not answer. Nothing was lost; try again.");
  });
  app.setNotFoundHandler((_request, reply) => problem(reply, 404, "There is nothing at this address."));
  app.addHook("onSend", async (request, reply) => void reply.header("x-request-id", request.id));
  app.addHook("onRequest", async (request, reply) => {
    // A web page of somebody else's may reach a loopback address; it may not change anything there.
    const site = request.headers["sec-fetch-site"];
    if (request.method !== "GET" && site !== undefined && site !== "same-origin" && site !== "none") {
      return problem(reply, 403, "Requests from other web sites are not taken.");
    }
    return undefined;
  });

  app.get("/livez", async () => ({ status: "ok" }));

  app.post("/v1/games/:game/imports", async (request, reply) => {
    const { game } = Game.parse(request.params);
    if ((request.headers["content-encoding"] ?? "identity") !== "identity") {
      return problem(reply, 415, "Compressed bodies are not taken. Send the file as it is.");
    }
    const body = request.body as AsyncIterable<Uint8Array> | undefined;
    const blob = await blobs.put(limited(body ?? noBytes()));
    if (blob.bytes === 0) {
      await blobs.remove([blob.id]);
      return problem(
        reply,
        422,
        'The body is empty. Send a JSON array, { "objects": [...] }, or one JSON object per line.',
      );
    }
    const id = await beginImport({ library, queue, now }, { game, blob }).catch(async (error: unknown) => {
      await blobs.remove([blob.id]);
      throw error;
    });
    const location = `/v1/games/${game}/imports/${id}`;
    return reply
      .code(202)
      .header("location", location)
      .header("retry-after", "1")
      .send(importView((await library.findImport(game, id))!));
  });

  app.get("/v1/games/:game/imports", async (request) => {
    const { game } = Game.parse(request.params);
    return { imports: (await library.listImports(game)).map(importView) };
  });

  app.get("/v1/games/:game/imports/:id", async (request, reply) => {
    const { game, id } = GameAndId.parse(request.params);
    const row = await library.findImport(game, id);
    if (!row) return problem(reply, 404, `There is no import ${id} in game ${game}.`);
    if (row.finishedAt === null) void reply.header("retry-after", "1");
    return importView(row);
  });

  app.get("/v1/games/:game/imports/:id/failures", async (request, reply) => {
    const { game, id } = GameAndId.parse(request.params);
    const { after, limit } = FailuresQuery.parse(request.query);
    if (!(await library.findImport(game, id))) return problem(reply, 404, `There is no import ${id} in game ${game}.`);
    const failures = await library.listFailures(id, { after, limit });
    return { failures, next: failures.length === limit ? failures.at(-1)!.index : null };
  });

  app.get("/v1/games/:game/objects/:id", async (request, reply) => {
    const { game, id } = GameAndId.parse(request.params);
    const { as } = ObjectQuery.parse(request.query);
    const row = await library.findObject(game, id);
    if (!row) return problem(reply, 404, `There is no object ${id} in game ${game}.`);
    const body = JSON.parse(row.body) as object;
    if (as === "gm") return { ...body, id };
    const parsed = parseObject(body);
    // What cannot be told apart from a secret is one.
    return parsed.ok ? publicView(parsed.object) : problem(reply, 404, `There is no object ${id} in game ${game}.`);
  });

  app.get("/v1/games/:game/search", async (request) => {
    const { game } = Game.parse(request.params);
    const { q, as, limit } = SearchQuery.parse(request.query);
    const vector = await queryVector(q).catch((err: unknown) => {
      request.log.error({ err }, "searching by words only: the query could not be embedded");
      return null;
    });
    return { hits: await search(library, { game, query: q, vector, limit, as }) };
  });

  return app;
}

interface Pointer {
  readonly pointer: string;
  readonly detail: string;
}

/** RFC 9457. */
function problem(reply: FastifyReply, status: number, detail: string, errors?: readonly Pointer[]): FastifyReply {
  const title = STATUS_CODES[status] ?? "Error";
  return reply
    .code(status)
    .type("application/problem+json")
    .send({ type: "about:blank", title, status, detail, ...(errors && { errors }), requestId: reply.request.id });
}

/** The same answer for the same question while it is among the newest; people page and reload. */
function remembering<T>(most: number, ask: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const answers = new Map<string, Promise<T>>();
  return (key) => {
    const answer = answers.get(key) ?? ask(key);
    answers.delete(key);
    answers.set(key, answer);
    answer.catch(() => answers.delete(key));
    if (answers.size > most) answers.delete(answers.keys().next().value!);
    return answer;
  };
}

class BodyTooLarge extends Error {
  readonly statusCode = 413;
}

function statusOf(error: unknown): number {
  const status = (error as { statusCode?: unknown }).statusCode;
  return typeof status === "number" && status >= 400 ? status : 500;
}

function messageOf(error: unknown): string {
  if (!(error instanceof z.ZodError)) return error instanceof Error ? error.message : "The request could not be read.";
  return error.issues.map((issue) => `${issue.path.join(".") || "request"}: ${issue.message}`).join("; ");
}

function pointersOf(error: z.ZodError): readonly Pointer[] {
  return error.issues.map(({ path, message }) => ({
    pointer: path.map((key) => `/${String(key)}`).join(""),
    detail: message,
  }));
}

async function* limited(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.byteLength;
    if (bytes > maxImportBytes)
      throw new BodyTooLarge(`The body is larger than ${maxImportBytes} bytes. Send it in parts.`);
    yield chunk;
  }
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}
