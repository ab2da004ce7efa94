/**
 * What of a job may leave the process: its view. Masked by default (S1): a value is shown because its schema declares it and does not call it
 * sensitive, never because nobody thought of it. Texts of handlers count as payload, and lose every value that is masked. Pure.
 */
import type { AnyDefinition } from "./definition.js";
import type { AttemptError, Correlation, Job, TraceCarrier } from "./job.js";
import { isObject, jsonSchemasOf, placeOf, type Place } from "./schema-view.js";

/** What stands in place of a masked value. */
export const mask = "•••";

/** As much of a definition as says what may be seen; `defineJob` answers it. */
export type Shown = Pick<AnyDefinition, "type" | "version" | "payload" | "result" | "sensitive">;

/** The JSON Schema (draft 2020-12) of what enqueue takes; null when the schema's library offers none, or it cannot be written so. */
export function jsonSchemaOf({ payload }: Pick<AnyDefinition, "payload">): object | null {
  return jsonSchemasOf(payload).input;
}

/**
 * The payload as it may be seen. A sensitive value becomes "•••" as a whole; of what no schema declares each value does, and the keys stay.
 * With a `sensitive` list and no JSON Schema all but those is shown; without either, or without a definition, nothing.
 * A list of more than 100 elements in which something is masked is cut. What is not masked is shared with the payload.
 */
export function maskPayload(
  definition: Shown | null,
  payload: unknown,
): { readonly payload: unknown; readonly isMasked: boolean } {
  const place = placeOfPayload(definition, payload);
  const hidden = [...hiddenIn(place, payload)];
  return { payload: masked(place, payload, new Secrets(hidden)), isMasked: hidden.length > 0 };
}

/** The same of a result, by the result's schema. Without one nothing is shown. */
export function maskOutput(
  definition: Shown | null,
  output: unknown,
): { readonly output: unknown; readonly isMasked: boolean } {
  if (output === undefined) return { output, isMasked: false };
  const place = placeOfOutput(definition, output);
  const hidden = [...hiddenIn(place, output)];
  return { output: masked(place, output, new Secrets(hidden)), isMasked: hidden.length > 0 };
}

/**
 * What must not be read in any text about a job: all that is masked of its payload and its result.
 * @param former Payloads that it had before (the audit keeps them): its attempts and log lines may speak of those.
 */
export function secretsOf(job: Job, definition: Shown | null, former: readonly unknown[] = []): Secrets {
  const known = thatOf(job, definition);
  const before = former.flatMap((payload) => [...hiddenIn(placeOfPayload(known, payload), payload)]);
  return new Secrets([...lookAt(job, known).hidden, ...before]);
}

interface Look {
  readonly payload: Place;
  /** Null: there is no result. */
  readonly output: Place | null;
  readonly hidden: readonly unknown[];
}

function lookAt(job: Job, known: Shown | null): Look {
  const payload = placeOfPayload(known, job.payload);
  const hidden = [...hiddenIn(payload, job.payload)];
  if (job.state !== "completed" || job.output === undefined) return { payload, output: null, hidden };
  const output = placeOfOutput(known, job.output);
  for (const value of hiddenIn(output, job.output)) hidden.push(value);
  return { payload, output, hidden };
}

/**
 * A text in which every secret, and what is left of one at a cut, is "•••": as it is, and as JSON or a URL writes it. Cut to `maxLength`
 * characters, default 8,000. Values of less than four characters stay: they would take words apart.
 */
export function scrub(text: string, secrets: Secrets | Iterable<string | number>, maxLength = 8_000): string {
  const scrubbed = (secrets instanceof Secrets ? secrets : new Secrets(secrets)).scrub(text);
  if (scrubbed.length <= maxLength) return scrubbed;
  // Half of a surrogate pair is no text.
  return `${scrubbed.slice(0, maxLength).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

/** A job of which nothing sensitive can be seen. `isMasked`: something of its payload or result is not shown. */
export type JobView = Job & { readonly isMasked: boolean };

/**
 * The whole job as it may leave the process: payload and result masked, and every text that a handler or an operator wrote scrubbed.
 * A definition of another type or version than the job's says nothing about it, and then all is masked.
 */
export function viewOf(job: Job, definition: Shown | null): JobView {
  const look = lookAt(job, thatOf(job, definition));
  const secrets = new Secrets(look.hidden);
  const view = {
    ...job,
    // Where nothing is hidden there is nothing to mask; most jobs are like that.
    payload: look.hidden.length === 0 ? job.payload : masked(look.payload, job.payload, secrets),
    isMasked: look.hidden.length > 0,
    correlation: job.correlation && viewOfCorrelation(job.correlation, secrets),
    trace: job.trace && viewOfTrace(job.trace, secrets),
  };
  switch (view.state) {
    case "completed":
      return { ...view, output: look.output === null ? undefined : masked(look.output, view.output, secrets) };
    case "retrying":
    case "failed":
      return { ...view, error: viewOfError(view.error, secrets) };
    case "cancelled":
      return { ...view, reason: scrub(view.reason, secrets) };
    case "scheduled":
    case "pending":
    case "blocked":
    case "processing":
      return view;
  }
}

/** An error of an attempt (`queue.history`) as it may leave the process. */
export function viewOfError({ name, message, stack, issues }: AttemptError, secrets: Secrets): AttemptError {
  return {
    name: scrub(name, secrets),
    message: scrub(message, secrets),
    ...(stack !== undefined && { stack: scrub(stack, secrets) }),
    ...(issues && {
      issues: issues.map((issue) => ({ path: scrub(issue.path, secrets), message: scrub(issue.message, secrets) })),
    }),
  };
}

/** Correlation values as they may leave the process. */
export function viewOfCorrelation(correlation: Correlation, secrets: Secrets): Correlation {
  return Object.fromEntries(
    Object.entries(correlation).map(([name, value]) => [name, secrets.has(value) ? mask : scrub(value, secrets)]),
  );
}

function viewOfTrace({ traceparent, tracestate }: TraceCarrier, secrets: Secrets): TraceCarrier {
  return {
    // Its digits mean nothing else, even where they look like a number of the payload.
    traceparent: /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(traceparent) ? traceparent : scrub(traceparent, secrets), // prettier-ignore
    ...(tracestate !== undefined && { tracestate: scrub(tracestate, secrets) }),
  };
}

function thatOf({ type, version }: Job, definition: Shown | null): Shown | null {
  return definition?.type === type && definition.version === version ? definition : null;
}

// ── masking ─────────────────────────────────────────────────────────────────

function placeOfPayload(definition: Shown | null, payload: unknown): Place {
  // What is stored is what enqueue took: the input. A mark on what the schema makes of it counts all the same.
  const { input, output } = definition === null ? nothing : jsonSchemasOf(definition.payload);
  const sensitive = definition?.sensitive ?? null;
  return placeOf(payload, { declaring: input, marking: output, sensitive });
}

function placeOfOutput(definition: Shown | null, value: unknown): Place {
  const { input, output } = !definition?.result ? nothing : jsonSchemasOf(definition.result);
  return placeOf(value, { declaring: output, marking: input, sensitive: null });
}

const nothing = { input: null, output: null };
const maxElements = 100;
/** Deeper, a value is masked as a whole: the stack has an end. */
const maxDepth = 64;

/** What lies in the value and may not be seen; a null more for each place that is masked as a whole, as an empty list. */
function* hiddenIn(place: Place, value: unknown, depth = 0): Iterable<unknown> {
  if (place.isSensitive || depth > maxDepth) {
    yield null;
    yield* leavesOf(value);
  } else if (Array.isArray(value)) {
    for (const [index, element] of value.entries()) yield* hiddenIn(place.at(index, element), element, depth + 1);
  } else if (isObject(value)) {
    for (const [key, each] of Object.entries(value)) {
      const there = place.at(key, each);
      if (!there.isNamed && !isPlainName(key)) yield key;
      yield* hiddenIn(there, each, depth + 1);
    }
  } else if (!place.isDeclared) yield value;
}

/** The value itself where nothing is masked in it. */
function masked(place: Place, value: unknown, secrets: Secrets, depth = 0): unknown {
  if (place.isSensitive || depth > maxDepth) return mask;
  if (Array.isArray(value)) {
    const elements: readonly unknown[] = value;
    const shown = elements.map((each, index) => masked(place.at(index, each), each, secrets, depth + 1));
    if (shown.every((each, index) => each === elements[index])) return value;
    const more = shown.length - maxElements;
    return more <= 0 ? shown : [...shown.slice(0, maxElements), `… ${more} more`];
  }
  if (isObject(value)) {
    const entries = Object.entries(value);
    const shown = entries.map(([key, each], index): [string, unknown] => {
      const there = place.at(key, each);
      const isShown = there.isNamed || (isPlainName(key) && secrets.scrub(key) === key);
      // Two keys must not become one.
      return [isShown ? key : `${mask}${index + 1}`, masked(there, each, secrets, depth + 1)];
    });
    return shown.every(([key, each], index) => key === entries[index]![0] && each === entries[index]![1])
      ? value
      : Object.fromEntries(shown);
  }
  return place.isDeclared ? value : mask;
}

/** Keys that nobody declared are shown when they look like a name, and not when they look like somebody's address. */
function isPlainName(key: string): boolean {
  return /^[A-Za-z_$][\w$-]{0,39}$/.test(key);
}

/** Whatever the depth. Keys that are no names are values, too. */
function* leavesOf(value: unknown): Iterable<unknown> {
  const open = [value];
  while (open.length > 0) {
    const each = open.pop();
    if (Array.isArray(each)) for (const element of each) open.push(element);
    else if (isObject(each)) {
      for (const [key, property] of Object.entries(each)) {
        if (!isPlainName(key)) yield key;
        open.push(property);
      }
    } else yield each;
  }
}

// ── scrubbing ───────────────────────────────────────────────────────────────

const least = 4;

/** Values that must not be read in a text. Made once for a job, whose texts may be many. */
export class Secrets {
  readonly #exact = new Set<string>();
  /** In all their forms, sorted. */
  readonly #forms: readonly string[];
  /** For each form, the index of the longest other one that it begins with; -1: none. */
  readonly #shorter: readonly number[];
  /** The first characters of each form: most places of a text begin none. */
  readonly #beginnings: ReadonlySet<string>;

  constructor(values: Iterable<unknown>) {
    const forms = new Set<string>();
    for (const value of values) {
      const text = typeof value === "number" ? String(Math.abs(value)) : value;
      if (typeof text !== "string" || text === "") continue;
      if (this.#exact.size < this.#exact.add(text).size && isLong(text, typeof value === "number")) {
        for (const form of formsOf(text)) forms.add(form);
      }
    }
    this.#forms = [...forms].sort();
    this.#shorter = beginningsOf(this.#forms);
    this.#beginnings = new Set(this.#forms.map((form) => form.slice(0, least)));
  }

  /** The whole text is one, however short. */
  has(text: string): boolean {
    return this.#exact.has(text);
  }

  scrub(text: string): string {
    if (this.#forms.length === 0) return text;
    let scrubbed = "";
    let kept = 0;
    // Stretches that overlap become one, so that no end of a secret is left between two.
    for (let at = 0, end = 0; at + least <= text.length; at++) {
      const length = this.#beginnings.has(text.slice(at, at + least)) ? this.#lengthAt(text, at) : 0;
      if (length === 0 || at + length <= end) continue;
      if (at >= end) scrubbed += text.slice(kept, at) + mask;
      end = at + length;
      kept = end;
    }
    return scrubbed + text.slice(kept);
  }

  /** How long the longest secret is that begins here, or that began here before the text was cut; 0: none does. */
  #lengthAt(text: string, at: number): number {
    const end = endOf(text, at);
    const rest = text.slice(at, end);
    const mayBeCut = end < text.length || text.length >= leastCut;
    const isCut = mayBeCut && this.#forms[this.#firstFrom(rest)]?.startsWith(rest) === true;
    return Math.max(isCut ? rest.length : 0, this.#lengthOfWhole(text, at));
  }

  /** Of the forms that do not sort after a text, the nearest begins with every form that the text begins with. */
  #lengthOfWhole(text: string, at: number): number {
    const wanted = text.slice(at);
    const next = this.#firstFrom(wanted);
    let index = this.#forms[next] === wanted ? next : next - 1;
    const length = commonLength(wanted, this.#forms[index] ?? "");
    while (index >= 0 && this.#forms[index]!.length > length) index = this.#shorter[index]!;
    return this.#forms[index]?.length ?? 0;
  }

  /** The index of the first form that does not sort before the text. */
  #firstFrom(text: string): number {
    let [low, high] = [0, this.#forms.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#forms[middle]! < text) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Of sorted texts: those that a text begins with come before it, one within the other. */
function beginningsOf(sorted: readonly string[]): readonly number[] {
  const open: number[] = [];
  return sorted.map((text, index) => {
    while (open.length > 0 && !text.startsWith(sorted[open.at(-1)!]!)) open.pop();
    const longest = open.at(-1) ?? -1;
    open.push(index);
    return longest;
  });
}

/** The shortest text that any part of Sluice cuts. */
const leastCut = 200;

/** Where the text was cut, as attempt.ts marks it. */
function endOf(text: string, at: number): number {
  const cut = text.indexOf("… (", at);
  return cut === -1 ? text.length : cut;
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

function isLong(text: string, isNumber: boolean): boolean {
  return isNumber ? text.replaceAll(/\D/g, "").length >= least : text.length >= least;
}

/** As it is, and as it comes out of JSON (in JSON), a URL and a form. */
function formsOf(text: string): readonly string[] {
  const json = JSON.stringify(text).slice(1, -1);
  const forms = [text, json, JSON.stringify(json).slice(1, -1)];
  try {
    const url = encodeURIComponent(text);
    return [...forms, url, encodeURI(text), url.replaceAll("%20", "+")];
  } catch {
    // Half of a surrogate pair is in no URL.
    return forms;
  }
}
