/**
 * The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): what a key is of a caller's, and what it was used for.
 * That it is done once is for the library to see (`EnqueueOptions.idempotency`).
 */
import { createHash } from "node:crypto";
import { configure } from "safe-stable-stringify";
import { Problem } from "./problem.js";

// Numbers beyond what JSON can hold are for the schema to refuse, not for here.
const canonical = configure({ bigint: false });

/** The key, or null. Quoted, as the draft's structured field, or bare. @throws {Problem} malformed_request */
export function idempotencyKeyOf(header: string | readonly string[] | undefined): string | null {
  if (header === undefined) return null;
  const text = (typeof header === "string" ? header : header.join(",")).trim();
  const quoted = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/.exec(text)?.[1];
  const key = quoted?.replace(/\\(.)/g, "$1") ?? text;
  if (/^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(key) && (quoted !== undefined || !key.includes('"')))
    return key;
  throw new Problem(
    "malformed_request",
    "The Idempotency-Key cannot be used. Give 1 to 255 visible ASCII characters.",
    {
      errors: [{ parameter: "Idempotency-Key", detail: "takes 1 to 255 visible ASCII characters" }],
    },
  );
}

/** As the library keeps it: a hash, since callers may use the same key for different things, and keys may be long. */
export function scopedKey(caller: string, key: string): string {
  return createHash("sha256").update(`${caller}\n${key}`).digest("base64url");
}

/** The same for two bodies that say the same, however they are written. */
export function fingerprintOf(what: string, body: unknown): string {
  return createHash("sha256")
    .update(what)
    .update("\n")
    .update(canonical(body) ?? "")
    .digest("base64url");
}
