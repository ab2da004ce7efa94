/**
 * Turns the bytes of one record into a value, or into a plain reason why not. Pure.
 * Knows JSON and what is refused in any JSON from outside; what a canon object looks like is in ../object.ts.
 */
import { isUtf8 } from "node:buffer";
import { ascii } from "./ascii.js";
import type { Limits } from "./items.js";

export type Decoded = { ok: true; value: unknown } | { ok: false; reason: string; isCutShort?: boolean };

/** A record in the middle of other bytes. */
export type Encoded = { bytes: Buffer; from: number; to: number; limits: Limits };

const replacementCharacter = "\ufffd";
// Naming the field takes a quarter of a second for a megabyte of fields, on the main thread.
const longestSearched = 64 * 1024;

/**
 * Refused, never rewritten: invalid UTF-8, invalid JSON, anything but an object, nesting deeper than `limits.maxDepth`, a
 * member twice in one object, a member `__proto__`, and a member `constructor` that holds a member `prototype` (the two
 * ways to reach a prototype through a careless merge). `constructor` and `prototype` alone are words like any other.
 */
export function decodeRecord({ bytes, from, to, limits }: Encoded): Decoded {
  const { colons, depth, isAscii } = survey(bytes, from, to);
  // Before parsing: four million brackets would be half a second of JSON.parse, and a deep recursion below.
  if (depth > limits.maxDepth) {
    return refuse(`This record is nested deeper than ${limits.maxDepth} levels. Flatten it and send it again.`);
  }
  // Latin-1 is a plain copy, four times as fast as decoding UTF-8; slicing first would cost as much again.
  const text = isAscii ? bytes.toString("latin1", from, to) : bytes.toString("utf8", from, to);
  if (!isAscii && text.includes(replacementCharacter) && !isUtf8(bytes.subarray(from, to))) {
    return refuse("This record contains bytes that are not UTF-8 text. Save the file as UTF-8 and send it again.");
  }

  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return syntaxProblem(text, error instanceof Error ? error.message : "");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return refuse(`A record must be an object in { }, but this one is ${nameOfJsonType(value)}.`);
  }

  const members = countMembers(value);
  if (members === unsafe) {
    return refuse("This record has a field named __proto__ or constructor.prototype, which is not allowed. Rename it.");
  }
  // JSON.parse keeps the last of two members with the same name. In valid JSON each member has one colon outside of
  // texts, so fewer members than colons means that one was lost: cheaper than a parser of our own.
  if (members !== colons) {
    const name = text.length > longestSearched ? "" : ` ${JSON.stringify(findRepeatedMember(text))}`;
    return refuse(`A field${name} appears twice in the same object. Keep one of them.`);
  }
  return { ok: true, value };
}

/** What a person calls a value's type: "a number", "null". */
export function nameOfJsonType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  switch (typeof value) {
    case "string":
      return "a text";
    case "number":
      return "a number";
    case "boolean":
      return "true or false";
    default:
      return "an object";
  }
}

function refuse(reason: string): Decoded {
  return { ok: false, reason };
}

function syntaxProblem(text: string, message: string): Decoded {
  // The wording is V8's and differs between versions of Node; without a position the reason is only less precise.
  const position = /position (\d+)/.exec(message)?.[1];
  const isCutShort = /end of JSON input|Unterminated string/.test(message);
  const near = position === undefined || isCutShort ? "" : excerpt(text, Number(position));
  return {
    ok: false,
    reason: `This record is not valid JSON${near}. Look for a missing or extra comma, quotation mark or bracket.`,
    isCutShort,
  };
}

function excerpt(text: string, position: number): string {
  const shown = text.slice(Math.max(0, position - 20), position + 10).replace(/[\s\p{Cc}\p{Cs}]+/gu, " ");
  return shown.trim() === "" ? "" : ` near «${shown.trim()}»`;
}

const unsafe = -1;

function countMembers(value: object): number {
  let count = 0;
  if (Array.isArray(value)) {
    for (const element of value as unknown[]) {
      if (typeof element !== "object" || element === null) continue;
      const inner = countMembers(element);
      if (inner === unsafe) return unsafe;
      count += inner;
    }
    return count;
  }
  // Not Object.entries: it allocates a pair for each member, and this runs over every value of a body.
  for (const name in value) {
    if (name === "__proto__") return unsafe;
    count++;
    const member = (value as Record<string, unknown>)[name];
    if (typeof member !== "object" || member === null) continue;
    if (name === "constructor" && Object.hasOwn(member, "prototype")) return unsafe;
    const inner = countMembers(member);
    if (inner === unsafe) return unsafe;
    count += inner;
  }
  return count;
}

/** What the bytes tell before parsing: colons outside of texts, nesting, and whether all of them are ASCII. */
function survey(bytes: Buffer, from: number, to: number): { colons: number; depth: number; isAscii: boolean } {
  let colons = 0;
  let open = 0;
  let depth = 0;
  let bits = 0;
  let isInString = false;
  for (let at = from; at < to; at++) {
    const byte = bytes[at]!;
    bits |= byte;
    if (byte === ascii.quote) isInString = !isInString;
    else if (byte === ascii.backslash) at++;
    else if (isInString) continue;
    else if (byte === ascii.colon) colons++;
    else if (byte === ascii.openObject || byte === ascii.openList) depth = Math.max(depth, ++open);
    else if (byte === ascii.closeObject || byte === ascii.closeList) open--;
  }
  return { colons, depth, isAscii: bits < 0x80 };
}

/** Only called for valid JSON that has one. */
function findRepeatedMember(text: string): string {
  const open: Set<string>[] = [];
  for (const [token, name] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/gs)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (name !== undefined) {
      const names = open.at(-1);
      const decoded = JSON.parse(name) as string;
      if (names?.has(decoded)) return decoded;
      names?.add(decoded);
    }
  }
  return "";
}
