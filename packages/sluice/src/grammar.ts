/**
 * The language of searches, text to terms and back: `state:failed -type:mail.* since:24h "connection reset"`. Pure, and the same in a
 * browser. Says what is wrong with a text and where; what a term finds is search.ts's to know.
 *
 *     query := term (WS term)*            all must hold
 *     term  := ["-"] (key ":" value ("," value)* | "quoted" | word)      a comma means or, a minus means not
 *     value := word | "quoted, with \" and \\"
 */
import { failReasons, jobStates, type FailReason, type JobState, type JobStatus } from "./job.js";

/** A text that was understood: nothing but what it says. Make texts of it with `printQuery`. */
export interface Query {
  readonly terms: readonly Term[];
}

/** One condition. Of its values, one must hold; `isNegated`: none may. */
export type Term = { readonly isNegated: boolean } & (
  | { readonly key: "text"; readonly text: string }
  | { readonly key: "id" | "error" | "worker"; readonly values: readonly string[] }
  | { readonly key: "type"; readonly values: readonly TypeName[] }
  | { readonly key: "state"; readonly values: readonly JobState[] }
  | { readonly key: "status"; readonly values: readonly JobStatus[] }
  | { readonly key: "reason"; readonly values: readonly FailReason[] }
  | { readonly key: "attempt" | "priority" | "version"; readonly values: readonly NumberRange[] }
  | { readonly key: "since" | "until"; readonly values: readonly Time[] }
  | { readonly key: "correlation"; readonly name: string; readonly values: readonly string[] }
);

export interface TypeName {
  readonly name: string;
  /** All types whose names begin so. */
  readonly isPrefix: boolean;
}

/** Whole numbers, both ends included; null: no end. */
export interface NumberRange {
  readonly from: number | null;
  readonly to: number | null;
}

/**
 * `ago`: so long before the search. `at`: a day of UTC, or an instant, which is a millisecond long. `between`: from the begin of one
 * to the end of another. All in milliseconds; `before` is not included.
 */
export type Time =
  | { readonly kind: "ago"; readonly ms: number }
  | { readonly kind: "at" | "between"; readonly from: number; readonly before: number };

/** What is wrong with a text. Position and length in UTF-16 units, as strings count; the message says what to write. */
export interface QueryFault {
  readonly position: number;
  readonly length: number;
  readonly message: string;
}

export type ParsedQuery =
  { readonly ok: true; readonly query: Query } | { readonly ok: false; readonly faults: readonly QueryFault[] };

export const maxQueryLength = 2_000;
const maxTerms = 50;
const maxValues = 100;

/** The words before a colon. */
export const queryKeys = [
  "id",
  "state",
  "status",
  "type",
  "reason",
  "error",
  "attempt",
  "priority",
  "version",
  "worker",
  "since",
  "until",
  "correlation.<name>",
] as const;
type PlainKey = Exclude<(typeof queryKeys)[number], "correlation.<name>">;

const jobStatuses: readonly JobStatus[] = ["pending", "processing", "completed", "failed", "cancelled"];

/** Understands a text, or says everything that is wrong with it. Never throws. At most 2,000 characters, 50 terms and 100 values. */
export function parseQuery(text: string): ParsedQuery {
  if (text.length > maxQueryLength) {
    const message = `A search has at most ${maxQueryLength} characters, and this one has ${text.length}. Leave something out.`;
    return { ok: false, faults: [{ position: maxQueryLength, length: text.length - maxQueryLength, message }] };
  }
  const reader = new Reader(text);
  const terms = reader.terms();
  return reader.faults.length > 0 ? { ok: false, faults: reader.faults } : { ok: true, query: { terms } };
}

/** A text that is understood as this query. */
export function printQuery({ terms }: Query): string {
  return terms.map((term) => `${term.isNegated ? "-" : ""}${printTerm(term)}`).join(" ");
}

interface Word {
  readonly text: string;
  readonly position: number;
  readonly length: number;
}

/** Thrown within a term, and caught at its end: one fault each is enough. */
class Fault extends Error {
  constructor(
    readonly position: number,
    readonly length: number,
    message: string,
  ) {
    super(message);
  }
}

class Reader {
  readonly faults: QueryFault[] = [];
  readonly #text: string;
  #at = 0;
  #values = 0;

  constructor(text: string) {
    this.#text = text;
  }

  terms(): readonly Term[] {
    const terms: Term[] = [];
    let count = 0;
    for (this.#read(/\s*/y); this.#at < this.#text.length; this.#read(/\s*/y)) {
      const position = this.#at;
      try {
        if (++count > maxTerms) {
          const length = this.#text.length - position;
          this.#at = this.#text.length;
          throw new Fault(position, length, `A search has at most ${maxTerms} terms. Leave out those from here on.`);
        }
        terms.push(this.#term());
        this.#endOfTerm();
      } catch (fault) {
        if (!(fault instanceof Fault)) throw fault;
        this.faults.push({ position: fault.position, length: fault.length, message: fault.message });
        this.#read(/\S*/y);
      }
    }
    return terms;
  }

  #term(): Term {
    const start = this.#at;
    const isNegated = this.#take("-");
    if (this.#isAtEnd()) {
      throw new Fault(start, 1, 'Nothing follows the minus. Write -state:completed, or "-" to look for a minus.');
    }
    if (this.#peek() === '"') return { key: "text", isNegated, text: notEmpty(this.#quoted(), "A search for no text") };
    const word = this.#word(/[^\s":]*/y);
    if (word.text === "correlation." && this.#peek() === '"') {
      const name = this.#quoted();
      if (this.#peek() === ":") return this.#pair(isNegated, { ...word, text: word.text + name.text });
      throw new Fault(name.position, name.length, 'A colon must follow the name: correlation."my name":value.');
    }
    if (this.#peek() === ":") return this.#pair(isNegated, word);
    // A type, as one types it out of habit: what a word finds begins with it anyhow.
    const text = word.text.length > 1 && word.text.endsWith("*") ? word.text.slice(0, -1) : word.text;
    return { key: "text", isNegated, text };
  }

  #pair(isNegated: boolean, word: Word): Term {
    this.#take(":");
    const key = keyOf(word);
    const values = this.#valuesOf(word.text);
    if (typeof key === "object") return { key: "correlation", isNegated, name: key.name, values: values.map(textOf) };
    switch (key) {
      case "id":
        return { key, isNegated, values: values.map((value) => idText(notEmpty(value, "An id"))) };
      case "error":
      case "worker":
        return { key, isNegated, values: values.map((value) => notEmpty(value, key === "error" ? "An error" : "A worker")) }; // prettier-ignore
      case "type":
        return { key, isNegated, values: values.map(typeOf) };
      case "state":
        return { key, isNegated, values: values.map((value) => oneOf(value, jobStates, "state")) };
      case "status":
        return { key, isNegated, values: values.map((value) => oneOf(value, jobStatuses, "status")) };
      case "reason":
        return { key, isNegated, values: values.map((value) => oneOf(value, failReasons, "reason")) };
      case "attempt":
      case "priority":
      case "version":
        return { key, isNegated, values: values.map((value) => numbersOf(value, key)) };
      case "since":
      case "until":
        return { key, isNegated, values: values.map((value) => timeOf(value, key)) };
    }
  }

  #valuesOf(key: string): readonly Word[] {
    const values: Word[] = [];
    do {
      const value = this.#peek() === '"' ? this.#quoted() : this.#word(/[^\s",]*/y);
      if (value.length === 0) {
        throw new Fault(value.position, 0, `A value of ${key} is missing here. ${exampleOf(key)}`);
      }
      if (++this.#values > maxValues) {
        throw new Fault(value.position, value.length, `A search has at most ${maxValues} values. Leave some out.`);
      }
      values.push(value);
    } while (this.#take(","));
    return values;
  }

  #quoted(): Word {
    const position = this.#at;
    const [whole] = this.#read(/"(?:[^"\\]|\\["\\]?)*"/y);
    if (whole === "") {
      const length = this.#text.length - position;
      this.#at = this.#text.length;
      throw new Fault(position, length, 'This quote has no end. Add one, and write \\" for a quote within the text.');
    }
    return { text: whole.slice(1, -1).replaceAll(/\\(["\\])/g, "$1"), position, length: whole.length };
  }

  #endOfTerm(): void {
    if (this.#isAtEnd()) return;
    const what = this.#peek() === '"' ? "a quote" : `"${this.#peek()}"`;
    throw new Fault(
      this.#at,
      1,
      `There may not be ${what} here. Put a space between terms, and quote a value that has quotes, commas or spaces as a whole.`,
    );
  }

  #word(pattern: RegExp): Word {
    const position = this.#at;
    const [text] = this.#read(pattern);
    return { text, position, length: text.length };
  }

  /** What the pattern finds here, be it nothing. */
  #read(pattern: RegExp): readonly [string] {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return [found];
  }

  #take(char: string): boolean {
    const isThere = this.#peek() === char;
    if (isThere) this.#at += 1;
    return isThere;
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #isAtEnd(): boolean {
    return this.#at === this.#text.length || /\s/.test(this.#peek());
  }
}

// ── keys and values ─────────────────────────────────────────────────────────

function keyOf({ text, position, length }: Word): PlainKey | { readonly name: string } {
  if (text.startsWith("correlation.") && text.length > "correlation.".length) {
    return { name: text.slice("correlation.".length) };
  }
  const plain = queryKeys.find((key) => key === text);
  if (plain !== undefined && plain !== "correlation.<name>") return plain;
  const near =
    text.split(".")[0]!.toLowerCase() === "correlation" ? "correlation.<name>" : nearest(text.toLowerCase(), queryKeys);
  const hint = near === null ? "To look for a text with a colon, put it in quotes." : `Did you mean ${near}?`;
  throw new Fault(
    position,
    Math.max(1, length),
    `There is no key ${text === "" ? "before this colon" : text}. ${hint} Keys: ${queryKeys.join(", ")}.`,
  );
}

function textOf({ text }: Word): string {
  return text;
}

function notEmpty({ text, position, length }: Word, what: string): string {
  if (text === "")
    throw new Fault(position, length, `${what} may not be empty. Write what to look for, or leave it out.`);
  return text;
}

export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

/** As stores write it. */
export function idText(text: string): string {
  return isUuid(text) ? text.toLowerCase() : text;
}

function typeOf({ text, position, length }: Word): TypeName {
  const isPrefix = text.endsWith("*");
  const name = isPrefix ? text.slice(0, -1) : text;
  if (/^[A-Za-z0-9._:-]{0,100}$/.test(name) && (isPrefix || name !== "")) return { name, isPrefix };
  throw new Fault(
    position,
    length,
    "This is no name of a type. It has 1 to 100 letters, digits, '.', '_', '-' and ':', and may end in * for all that begin so.",
  );
}

function oneOf<T extends string>({ text, position, length }: Word, all: readonly T[], what: string): T {
  const found = all.find((each) => each === text);
  if (found !== undefined) return found;
  const near = nearest(text.toLowerCase(), all);
  const hint = near === null ? "" : ` Did you mean ${near}?`;
  throw new Fault(position, length, `There is no ${what} ${text}.${hint} It is one of ${all.join(", ")}.`);
}

function numbersOf({ text, position, length }: Word, key: string): NumberRange {
  const refuse = (why: string) =>
    new Fault(position, length, `${why} Write ${key}:3, ${key}:>=3, ${key}:<5 or ${key}:2..4.`);
  const [, op, bound] = /^(>=|<=|>|<)?(-?\d{1,9})$/.exec(text) ?? [];
  if (bound === undefined) {
    const [, first, last] = /^(-?\d{1,9})\.\.(-?\d{1,9})$/.exec(text) ?? [];
    if (first === undefined) throw refuse(`This is no whole number of at most nine digits.`);
    if (wholeOf(first) > wholeOf(last!)) throw refuse("Nothing lies between these: the first is the greater one.");
    return { from: wholeOf(first), to: wholeOf(last!) };
  }
  const number = wholeOf(bound);
  switch (op) {
    case ">":
      return { from: number + 1, to: null };
    case ">=":
      return { from: number, to: null };
    case "<":
      return { from: null, to: number - 1 };
    case "<=":
      return { from: null, to: number };
    default:
      return { from: number, to: number };
  }
}

/** Without a negative zero. */
function wholeOf(text: string): number {
  return Number(text) + 0;
}

const dayMs = 86_400_000;
const units = { w: 7 * dayMs, d: dayMs, h: 3_600_000, m: 60_000, s: 1_000 } as const;
const longestAgoMs = 36_600 * dayMs;
const lastMs = Date.UTC(9999, 11, 31) + dayMs;

function timeOf({ text, position, length }: Word, key: "since" | "until"): Time {
  const refuse = (why: string) =>
    new Fault(position, length, `${why} Write ${key}:24h (ago; s, m, h, d or w), ${key}:2026-11-24 or ${key}:2026-11-24T08:00:00Z; times are UTC.`); // prettier-ignore
  const [, amount, unit] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  if (amount !== undefined) {
    const ms = Number(amount) * units[unit as keyof typeof units];
    if (ms > longestAgoMs) throw refuse("That is more than a hundred years ago.");
    return { kind: "ago", ms };
  }
  const [first, last, ...more] = text.split("..").map(stretchOf);
  if (first === undefined || first === null || last === null || more.length > 0) throw refuse("This is no time.");
  if (last === undefined) return { kind: "at", ...first };
  if (key === "until") throw refuse("A search until a time has one end: a stretch of time is written since:A..B.");
  if (first.from >= last.before) throw refuse("Nothing lies between these: the first is the later one.");
  return { kind: "between", from: first.from, before: last.before };
}

/** A day, or an instant. */
function stretchOf(text: string): { readonly from: number; readonly before: number } | null {
  const [, day, clock, zone] =
    /^(\d{4}-\d\d-\d\d)(?:(T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:\d\d)?)?$/.exec(text) ?? [];
  if (day === undefined) return null;
  const midnight = Date.parse(`${day}T00:00:00Z`);
  // The 30th of February would be a day in March.
  if (Number.isNaN(midnight) || new Date(midnight).toISOString().slice(0, 10) !== day) return null;
  const from = clock === undefined ? midnight : Date.parse(`${day}${clock}${zone ?? "Z"}`);
  const before = from + (clock === undefined ? dayMs : 1);
  return from >= 0 && before <= lastMs ? { from, before } : null;
}

function exampleOf(key: string): string {
  switch (key) {
    case "state":
      return "Write state:failed or state:failed,retrying.";
    case "since":
    case "until":
      return `Write ${key}:24h or ${key}:2026-11-24.`;
    default:
      return `Write ${key}:value, or ${key}:a,b for either; a value with spaces or commas in quotes.`;
  }
}

/** The word that was meant, if one is close. */
function nearest(text: string, words: readonly string[]): string | null {
  if (text === "") return null;
  const ranked = words
    .map((word) => ({ word, distance: word.startsWith(text) ? 1 : distance(text, word) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= (text.length < 4 ? 1 : 2) ? best.word : null;
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row.at(-1)!;
}

// ── back to text ────────────────────────────────────────────────────────────

function printTerm(term: Term): string {
  switch (term.key) {
    case "text":
      return /^[^\s":-][^\s":]*(?<!\*)$/.test(term.text) ? term.text : quote(term.text);
    case "id":
    case "error":
    case "worker":
    case "state":
    case "status":
    case "reason":
      return `${term.key}:${term.values.map(printText).join(",")}`;
    case "type":
      return `type:${term.values.map(({ name, isPrefix }) => `${name}${isPrefix ? "*" : ""}`).join(",")}`;
    case "attempt":
    case "priority":
    case "version":
      return `${term.key}:${term.values.map(printNumbers).join(",")}`;
    case "since":
    case "until":
      return `${term.key}:${term.values.map(printTime).join(",")}`;
    case "correlation": {
      const name = /^[^\s":]+$/.test(term.name) ? term.name : quote(term.name);
      return `correlation.${name}:${term.values.map(printText).join(",")}`;
    }
  }
}

function printText(text: string): string {
  return /^[^\s",]+$/.test(text) ? text : quote(text);
}

function quote(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
}

function printNumbers({ from, to }: NumberRange): string {
  if (from === to) return String(from);
  if (to === null) return `>=${from}`;
  return from === null ? `<=${to}` : `${from}..${to}`;
}

function printTime(time: Time): string {
  if (time.kind === "ago") {
    const [unit, ms] = Object.entries(units).find(([, each]) => time.ms % each === 0)!;
    return `${time.ms / ms}${unit}`;
  }
  const { kind, from, before } = time;
  const isInDays = from % dayMs === 0 && before % dayMs === 0;
  const print = (ms: number) => new Date(ms).toISOString().slice(0, isInDays ? 10 : undefined);
  if (kind === "at") return print(from);
  return `${print(from)}..${print(isInDays ? before - dayMs : before - 1)}`;
}
