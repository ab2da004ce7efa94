/**
 * Bodies as they come in: what they say they are, how large they may be, and lines of a stream. Everything is counted while it
 * streams; nothing is read that nobody asked for.
 */
import type { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { BodyRule } from "./contract/endpoint.js";
import { parseJson } from "./json.js";
import { Problem } from "./problem.js";

/** Bodies reach the routes as streams: each reads what it takes. */
export function takeStreams(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
}

/** A client has so long to finish a body that nobody wants, and gets to its answer. */
const restMs = 2_000;

/** What is left of a body after the answer is thrown away; one that does not end takes its connection with it. */
export function giveUpRests(app: FastifyInstance): void {
  app.addHook("onResponse", async ({ raw }) => {
    if (raw.complete) return;
    const { socket } = raw;
    const cut = setTimeout(() => socket.destroy(), restMs);
    raw.once("end", () => clearTimeout(cut));
    raw.once("close", () => clearTimeout(cut));
    raw.resume();
  });
}

/** @throws {Problem} unsupported_encoding, unsupported_media_type */
export function mediaTypeOf(request: FastifyRequest, { types }: Pick<BodyRule, "types">): string {
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    throw new Problem(
      "unsupported_encoding",
      "Compressed bodies are not taken. Send it as it is, without Content-Encoding.",
    );
  }
  const [essence = "", ...parameters] = (request.headers["content-type"] ?? "").toLowerCase().split(";");
  const type = essence.trim();
  const charset = parameters.map((each) => each.trim()).find((each) => each.startsWith("charset="));
  const isUtf8 = charset === undefined || /^charset="?utf-8"?$/.test(charset);
  if (types.includes(type) && isUtf8) return type;
  throw new Problem(
    "unsupported_media_type",
    `Send ${types.join(" or ")}${isUtf8 ? "" : " in UTF-8"}, and say so in Content-Type.`,
    {
      headers: { accept: types.join(", ") },
    },
  );
}

/** Not of one in chunks that ends before the first: Node's own client says "chunked" where it has nothing to send. */
export async function hasBody(request: FastifyRequest): Promise<boolean> {
  const { "content-length": length, "transfer-encoding": transfer } = request.headers;
  if (transfer === undefined) return length !== undefined && length !== "0";
  const stream = request.body as Readable | undefined;
  if (stream === undefined || stream.readableEnded) return false;
  if (stream.readableLength === 0) {
    await new Promise((resolve) => {
      for (const event of ["readable", "end", "close", "error"]) stream.once(event, resolve);
    });
  }
  const chunk = stream.read() as Uint8Array | null;
  if (chunk === null) return false;
  stream.unshift(chunk);
  return true;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws {Problem} malformed_json */
export function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new Problem("malformed_json", "The body is not UTF-8.", {
      cause,
      errors: [{ pointer: "", detail: "is not UTF-8" }],
    });
  }
}

/** @throws {Problem} body_too_large, malformed_json */
export async function readJson(request: FastifyRequest, limits: ReadLimits): Promise<unknown> {
  return parseJson(decode(await readAll(request, limits)));
}

export interface ReadLimits {
  readonly maxBytes: number;
  readonly withinMs: number;
}

function readAll(request: FastifyRequest, { maxBytes, withinMs }: ReadLimits): Promise<Uint8Array> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > maxBytes) return Promise.reject(tooLarge(maxBytes));
  const stream = request.body as Readable | undefined;
  if (stream === undefined) return Promise.reject(emptyBody());
  // By events: an iterator costs a small request more than all else that is done to its body.
  return new Promise<Uint8Array>((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let isWhole = false;
    // A few bytes now and then would hold a place here for ever.
    const timer = setTimeout(() => reject(tooLate(withinMs)), withinMs);
    stream.on("data", (chunk: Uint8Array) => {
      bytes += chunk.byteLength;
      if (bytes <= maxBytes) return chunks.push(chunk);
      stream.pause();
      clearTimeout(timer);
      return reject(tooLarge(maxBytes));
    });
    stream.on("end", () => {
      isWhole = true;
      clearTimeout(timer);
      if (bytes === 0) return reject(emptyBody());
      return resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    });
    stream.on("error", (error) => reject(brokenOff(error)));
    stream.on("close", () => {
      clearTimeout(timer);
      if (!isWhole) reject(brokenOff());
    });
  });
}

export function emptyBody(advice = "Send a JSON value."): Problem {
  return new Problem("malformed_json", `The body is empty. ${advice}`, {
    errors: [{ pointer: "", detail: "is empty" }],
  });
}

/** Nobody will read it, but for the log. */
function brokenOff(cause?: unknown): Problem {
  return new Problem("malformed_request", "The body broke off before its end.", { cause });
}

function tooLate(withinMs: number): Problem {
  return new Problem("request_timeout", `The body did not arrive within ${withinMs / 1_000} s.`);
}

/** @throws {Problem} malformed_request, when the client goes away before the end */
async function* streamOf(request: FastifyRequest): AsyncGenerator<Uint8Array> {
  try {
    yield* (request.body ?? []) as AsyncIterable<Uint8Array>;
  } catch (cause) {
    throw brokenOff(cause);
  }
}

function tooLarge(maxBytes: number): Problem {
  const most = maxBytes >= 1_048_576 ? `${maxBytes / 1_048_576} MiB` : `${maxBytes / 1_024} KiB`;
  return new Problem("body_too_large", `The body is larger than ${most}. Send it in parts.`);
}

export interface Line {
  /** From 1. */
  readonly number: number;
  /** Null: it is longer than may be, and was passed over. */
  readonly bytes: Uint8Array | null;
}

/**
 * The lines of a body that are not blank, in groups: as many as have come, so that what is there is answered before more is read.
 * A line that is too long is passed over without being kept.
 */
export async function* linesOf(
  request: FastifyRequest,
  { maxLineBytes, most }: { readonly maxLineBytes: number; readonly most: number },
): AsyncGenerator<readonly Line[]> {
  let number = 0;
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  let group: Line[] = [];
  const end = () => {
    number++;
    const isTooLong = bytes > maxLineBytes;
    const line = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    pieces = [];
    bytes = 0;
    if (isTooLong) group.push({ number, bytes: null });
    else if (!isBlank(line)) group.push({ number, bytes: line });
  };
  const add = (piece: Uint8Array) => {
    bytes += piece.byteLength;
    if (bytes > maxLineBytes) pieces = [];
    else if (piece.byteLength > 0) pieces.push(piece);
  };
  for await (const chunk of streamOf(request)) {
    let from = 0;
    for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, from)) {
      add(chunk.subarray(from, at));
      end();
      from = at + 1;
      if (group.length >= most) {
        yield group;
        group = [];
      }
    }
    add(chunk.subarray(from));
    if (group.length > 0) {
      yield group;
      group = [];
    }
  }
  if (bytes > 0) end();
  if (group.length > 0) yield group;
}

function isBlank(line: Uint8Array): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
