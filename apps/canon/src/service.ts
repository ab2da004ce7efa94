/**
 * The HTTP face of the canon: translates requests into library calls and jobs, and rows into answers. Rules about jobs are
 * in sluice, rules about objects in object.ts and library/.
 */
import type { FastifyInstance } from "fastify";
import { invalidRequest, Problem, type Edge, type Source } from "@sluice/server";
import { covers, type BlobStore, type Queue } from "sluice";
import { z } from "zod";
import type { Embedder } from "./embedding/embedder.js";
import { beginImport, importView } from "./imports.js";
import { ingest } from "./jobs.js";
import type { Library } from "./library/library.js";
import { parseObject, publicView } from "./object.js";
import { search } from "./search/search.js";

export interface ServiceDeps {
  readonly library: Library;
  readonly blobs: BlobStore;
  readonly queue: Queue<unknown>;
  readonly embedder: Embedder;
  readonly now: () => number;
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

/** The routes of the canon, on the edge of the service that they share with the jobs. */
export function canonRoutes(app: FastifyInstance, edge: Edge, deps: ServiceDeps): void {
  const { library, blobs, queue, embedder, now } = deps;
  const queryVector = remembering(500, async (query) => (await embedder.embed([query], { urgent: true }))[0]!);
  const imports = importSource(library);
  const { live } = edge;
  // The canon is what its jobs make: a key for other types has nothing to do with it.
  const principal: Edge["principal"] = async (request, access) => {
    const who = await edge.principal(request, access);
    if (covers(who, ingest.type)) return who;
    throw new Problem("forbidden", `This key is not for jobs of type ${ingest.type}.`);
  };

  app.post("/v1/games/:game/imports", async (request, reply) => {
    await principal(request, ["submit"]);
    const { game } = read(Game, request.params, "params");
    if ((request.headers["content-encoding"] ?? "identity") !== "identity") {
      throw new Problem("unsupported_encoding", "Compressed bodies are not taken. Send the file as it is.");
    }
    const body = request.body as AsyncIterable<Uint8Array> | undefined;
    const blob = await blobs.put(limited(body ?? noBytes()));
    if (blob.bytes === 0) {
      await blobs.remove([blob.id]);
      const detail = 'The body is empty. Send a JSON array, { "objects": [...] }, or one JSON object per line.';
      throw new Problem("invalid_request", detail);
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
    await principal(request, ["submit", "observe"]);
    const { game } = read(Game, request.params, "params");
    return { imports: (await library.listImports(game)).map(importView) };
  });

  app.get("/v1/games/:game/imports/:id", async (request, reply) => {
    await principal(request, ["submit", "observe"]);
    const { game, id } = read(GameAndId, request.params, "params");
    const row = await library.findImport(game, id);
    if (!row) throw noImport(game, id);
    if (row.finishedAt === null) void reply.header("retry-after", "1");
    return importView(row);
  });

  app.get("/v1/games/:game/imports/:id/events", async (request, reply) => {
    const reader = await principal(request, ["submit", "observe"]);
    const { game, id } = read(GameAndId, request.params, "params");
    if (!(await library.findImport(game, id))) throw noImport(game, id);
    await live.follow({ source: imports, key: JSON.stringify([game, id]) }, { request, reply, principal: reader });
    return reply;
  });

  app.get("/v1/games/:game/imports/:id/failures", async (request) => {
    await principal(request, ["submit", "observe"]);
    const { game, id } = read(GameAndId, request.params, "params");
    const { after, limit } = read(FailuresQuery, request.query, "query");
    if (!(await library.findImport(game, id))) throw noImport(game, id);
    const failures = await library.listFailures(id, { after, limit });
    return { failures, next: failures.length === limit ? failures.at(-1)!.index : null };
  });

  app.get("/v1/games/:game/objects/:id", async (request) => {
    await principal(request, ["submit", "observe"]);
    const { game, id } = read(GameAndId, request.params, "params");
    const { as } = read(ObjectQuery, request.query, "query");
    const row = await library.findObject(game, id);
    if (!row) throw noObject(game, id);
    const body = JSON.parse(row.body) as object;
    if (as === "gm") return { ...body, id };
    const parsed = parseObject(body);
    // What cannot be told apart from a secret is one.
    if (!parsed.ok) throw noObject(game, id);
    return publicView(parsed.object);
  });

  app.get("/v1/games/:game/search", async (request) => {
    await principal(request, ["submit", "observe"]);
    const { game } = read(Game, request.params, "params");
    const { q, as, limit } = read(SearchQuery, request.query, "query");
    const vector = await queryVector(q).catch((err: unknown) => {
      request.log.error({ err }, "searching by words only: the query could not be embedded");
      return null;
    });
    return { hits: await search(library, { game, query: q, vector, limit, as }) };
  });
}

/** Every look is the import as it is now: its progress is in the database, and never goes backwards. */
function importSource(library: Library): Source {
  return {
    event: "import",
    look: async (keys) => {
      const found = await Promise.all(
        keys.map(async (key) => {
          const [game, id] = JSON.parse(key) as [string, string];
          return { key, row: await library.findImport(game, id) };
        }),
      );
      return new Map(
        found.flatMap(({ key, row }) =>
          row ? [[key, { isFinal: row.finishedAt !== null, dataFor: () => importView(row) }] as const] : [],
        ),
      );
    },
  };
}

function read<Schema extends z.ZodType>(schema: Schema, value: unknown, at: "params" | "query"): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalidRequest(result.error, at);
}

function noImport(game: string, id: string): Problem {
  return new Problem("not_found", `There is no import ${id} in game ${game}.`);
}

function noObject(game: string, id: string): Problem {
  return new Problem("not_found", `There is no object ${id} in game ${game}.`);
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

async function* limited(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.byteLength;
    if (bytes > maxImportBytes)
      throw new Problem("body_too_large", `The body is larger than ${maxImportBytes} bytes. Send it in parts.`);
    yield chunk;
  }
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}
