/** What a client accepts, what it knows already, and which state it wants to change (RFC 9110). */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { Problem } from "./problem.js";

/** @throws {Problem} not_acceptable */
export function requireAcceptable(accept: string | undefined, offered: readonly string[]): void {
  if (accept === undefined || accept === "" || offered.length === 0) return;
  const ranges = accept.split(",", 50).map(rangeOf);
  if (offered.some((type) => isAccepted(type, ranges))) return;
  throw new Problem("not_acceptable", `What is here is ${offered.join(" or ")}. Ask for that, or for */*.`);
}

interface Range {
  readonly range: string;
  readonly weight: number;
}

function rangeOf(text: string): Range {
  const [range = "", ...parameters] = text.split(";").map((part) => part.trim().toLowerCase());
  const weight = parameters.find((each) => each.startsWith("q="))?.slice(2);
  return { range, weight: weight === undefined ? 1 : Number(weight) || 0 };
}

/** The most specific range decides. */
function isAccepted(type: string, ranges: readonly Range[]): boolean {
  for (const wanted of [type, `${type.split("/")[0]}/*`, "*/*"]) {
    const found = ranges.find(({ range }) => range === wanted);
    if (found !== undefined) return found.weight > 0;
  }
  return false;
}

export function etagOf(text: string): string {
  return `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"`;
}

/** Weak comparison, as If-None-Match has it. */
export function isKnown(etag: string, { "if-none-match": header }: IncomingHttpHeaders): boolean {
  if (header === undefined) return false;
  const opaque = (tag: string) => tag.trim().replace(/^W\//, "");
  return header.trim() === "*" || header.split(",", 100).some((tag) => opaque(tag) === opaque(etag));
}

/** The ETags that a change was made for; null: whatever it is. */
export function wantedStates({ "if-match": header }: IncomingHttpHeaders): readonly string[] | null {
  if (header === undefined || header.trim() === "*") return null;
  return header.split(",", 100).map((tag) => tag.trim());
}
