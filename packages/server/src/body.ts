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
export async function readJson(request: FastifyRequest, maxBytes: number): Promise<unknown> {
  return parseJson(decode(await readAll(request, maxBytes)));
}

async function readAll(request: FastifyRequest, maxBytes: number): Promise<Uint8Array> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > maxBytes) throw tooLarge(maxBytes);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of streamOf(request)) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  if (bytes === 0)
    throw new Problem("malformed_json", "The body is empty. Send a JSON value.", {
      errors: [{ pointer: "", detail: "is empty" }],
    });
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

function streamOf(request: FastifyRequest): AsyncIterable<Uint8Array> {
  return (request.body ?? []) as AsyncIterable<Uint8Array>;
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
