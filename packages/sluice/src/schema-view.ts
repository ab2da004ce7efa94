/**
 * What a JSON Schema says of each place in a value: declared, sensitive, or nothing. Pure. In doubt it says less: an alternative that may not be
 * the one that holds declares nothing, but what it marks as sensitive is so; a reference that leads nowhere is taken for a mark.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";

export type JsonObject = Readonly<Record<string, unknown>>;

/** The two sides of a schema, as draft 2020-12; null where it cannot be written so, or the library offers none (Standard JSON Schema). */
export interface JsonSchemas {
  readonly input: JsonObject | null;
  readonly output: JsonObject | null;
}

/** Made once: a page of jobs asks for each. */
const made = new WeakMap<StandardSchemaV1, JsonSchemas>();

export function jsonSchemasOf(schema: StandardSchemaV1): JsonSchemas {
  let schemas = made.get(schema);
  if (schemas === undefined) {
    schemas = { input: convert(schema, "input"), output: convert(schema, "output") };
    made.set(schema, schemas);
  }
  return schemas;
}

function convert(schema: StandardSchemaV1, side: "input" | "output"): JsonObject | null {
  const standard: StandardSchemaV1.Props & { readonly jsonSchema?: unknown } = schema["~standard"];
  const { jsonSchema, vendor } = standard;
  if (!isObject(jsonSchema)) return null;
  const converter = jsonSchema[side];
  if (typeof converter !== "function") return null;
  // One field that JSON Schema has no words for would otherwise hide all others.
  const libraryOptions = vendor === "zod" ? { unrepresentable: "any" } : undefined;
  try {
    const options = { target: "draft-2020-12", ...(libraryOptions && { libraryOptions }) };
    const answer: unknown = converter.call(jsonSchema, options);
    return isObject(answer) ? answer : null;
  } catch {
    // By the standard, what cannot be converted throws: there is no JSON Schema then, and nothing is declared.
    return null;
  }
}

/** A schema that speaks of a place. `isDoubtful`: perhaps not of this value, so that only its marks count. */
interface Part {
  readonly schema: JsonObject;
  readonly root: JsonObject;
  readonly isDoubtful: boolean;
}

export class Place {
  /** Null: no schema is known, and everything counts as declared. */
  readonly #parts: readonly Part[] | null;
  /** What is left of the pointers to sensitive places from here on. */
  readonly #pointers: readonly (readonly string[])[];
  readonly #value: unknown;

  constructor(value: unknown, parts: readonly Part[] | null, pointers: readonly (readonly string[])[]) {
    this.#value = value;
    this.#pointers = pointers;
    this.#parts = parts && expand(parts, value);
  }

  /** Neither the value, nor how it looks inside, may be seen. */
  get isSensitive(): boolean {
    const value = this.#value;
    if (this.#pointers.some(([next]) => next === undefined || !canLead(next, value))) return true;
    return (this.#parts ?? []).some(
      ({ schema, root }) => isMarked(schema) || (isObject(value) && hasSensitiveNames(schema, root)),
    );
  }

  /** For what is no object and no list: the schema knows that there may be such a value here. */
  get isDeclared(): boolean {
    const value = this.#value;
    return this.#parts === null || this.#parts.some(({ schema, isDoubtful }) => !isDoubtful && declares(schema, value));
  }

  /** Some schema has a word for what lies here, whatever the value is. */
  get isNamed(): boolean {
    const saysNothing = (schema: JsonObject) => Object.keys(schema).length === 0;
    return this.#parts === null || this.#parts.some(({ schema, isDoubtful }) => !isDoubtful && !saysNothing(schema));
  }

  /** The place of an own property, or of an element by its index. */
  at(key: string | number, value: unknown): Place {
    const parts = this.#parts?.flatMap(({ schema, root, isDoubtful }) =>
      (typeof key === "number" ? schemasOfElement(schema, key) : schemasOfProperty(schema, key)).map((found) => ({
        schema: found.schema,
        root,
        isDoubtful: isDoubtful || found.isDoubtful,
      })),
    );
    const name = String(key);
    const pointers = this.#pointers.filter(([next]) => next === "*" || next === name).map(([, ...rest]) => rest);
    return new Place(value, parts ?? null, pointers);
  }
}

/**
 * @param declaring What the value was checked against.
 * @param marking Another view of the same value, from which only marks are taken.
 * @param sensitive JSON Pointers; `*` stands for any element.
 */
export function placeOf(
  value: unknown,
  {
    declaring,
    marking,
    sensitive,
  }: {
    readonly declaring: JsonObject | null;
    readonly marking: JsonObject | null;
    readonly sensitive: readonly string[] | null;
  },
): Place {
  const parts = [
    ...(declaring === null ? [] : [{ schema: declaring, root: declaring, isDoubtful: false }]),
    ...(marking === null ? [] : [{ schema: marking, root: marking, isDoubtful: true }]),
  ];
  const isUnknown = parts.length === 0 && sensitive !== null;
  return new Place(value, isUnknown ? null : parts, (sensitive ?? []).map(stepsOf));
}

function stepsOf(pointer: string): readonly string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** A pointer that cannot be followed may have been meant for just what is here. */
function canLead(step: string, value: unknown): boolean {
  if (Array.isArray(value)) return step === "*" || /^\d+$/.test(step);
  return isObject(value) || value === null;
}

function isMarked(schema: JsonObject): boolean {
  return schema["sensitive"] !== undefined && schema["sensitive"] !== false;
}

function hasSensitiveNames({ propertyNames }: JsonObject, root: JsonObject): boolean {
  return (
    isObject(propertyNames) &&
    expand([{ schema: propertyNames, root, isDoubtful: true }], "").some(({ schema }) => isMarked(schema))
  );
}

/** A schema without a type, a constant or an enumeration says nothing of what is there: anything may be. */
function declares(schema: JsonObject, value: unknown): boolean {
  const { type, const: only, enum: some } = schema;
  if (only !== undefined) return isSame(only, value);
  if (Array.isArray(some)) return some.some((each) => isSame(each, value));
  return type !== undefined && isOfType(type, value);
}

// ── which schemas speak of a place ──────────────────────────────────────────

/** With those that they refer to, combine and choose from. */
function expand(parts: readonly Part[], value: unknown): readonly Part[] {
  const found = new Map<JsonObject, Part>();
  const open = [...parts];
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    const { schema, root, isDoubtful } = part;
    const before = found.get(schema);
    if (before !== undefined && (!before.isDoubtful || isDoubtful)) continue;
    found.set(schema, part);
    const add = (each: unknown, isSure: boolean) => {
      if (isObject(each)) open.push({ schema: each, root, isDoubtful: isDoubtful || !isSure });
    };
    for (const key of ["$ref", "$dynamicRef", "$recursiveRef"]) {
      if (schema[key] !== undefined)
        add((key === "$ref" && resolve(schema[key], root)) || leadsNowhere, key === "$ref");
    }
    for (const each of listOf(schema["allOf"])) add(each, true);
    for (const each of [...listOf(schema["anyOf"]), ...listOf(schema["oneOf"])]) add(each, canHold(each, value, root));
    for (const key of ["if", "then", "else"]) add(schema[key], false);
    if (isObject(schema["dependentSchemas"])) for (const each of Object.values(schema["dependentSchemas"])) add(each, false); // prettier-ignore
  }
  return [...found.values()];
}

const leadsNowhere: JsonObject = { sensitive: true };

/** Within the document, by JSON Pointer. Anchors and other documents are not known here. */
function resolve(ref: unknown, root: JsonObject): JsonObject | null {
  if (typeof ref !== "string" || !/^#(\/|$)/.test(ref)) return null;
  let at: unknown = root;
  for (const step of stepsOf(decoded(ref.slice(1)))) {
    const isThere = (isObject(at) || Array.isArray(at)) && Object.hasOwn(at, step);
    at = isThere ? (at as JsonObject)[step] : undefined;
  }
  return isObject(at) ? at : null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

interface Found {
  readonly schema: JsonObject;
  readonly isDoubtful: boolean;
}

function schemasOfProperty(schema: JsonObject, key: string): readonly Found[] {
  const found: Found[] = [];
  const add = (each: unknown, isDoubtful = false) => {
    if (isObject(each)) found.push({ schema: each, isDoubtful });
  };
  const { properties, patternProperties, additionalProperties, unevaluatedProperties } = schema;
  let isKnown = false;
  if (isObject(properties) && Object.hasOwn(properties, key)) {
    isKnown = true;
    add(properties[key]);
  }
  for (const [pattern, each] of Object.entries(isObject(patternProperties) ? patternProperties : {})) {
    const answer = isMatch(pattern, key);
    if (answer === false) continue;
    isKnown ||= answer === true;
    add(each, answer === null);
  }
  if (isKnown) return found;
  add(additionalProperties);
  add(unevaluatedProperties);
  return found;
}

function schemasOfElement(schema: JsonObject, index: number): readonly Found[] {
  const { prefixItems, items, additionalItems, unevaluatedItems, contains } = schema;
  const isOldTuple = Array.isArray(items);
  const first = listOf(isOldTuple ? items : prefixItems);
  const sure = index < first.length ? [first[index]] : [isOldTuple ? additionalItems : items, unevaluatedItems];
  return [
    ...sure.filter(isObject).map((each) => ({ schema: each, isDoubtful: false })),
    ...[contains].filter(isObject).map((each) => ({ schema: each, isDoubtful: true })),
  ];
}

/** Null: the pattern is none of ours. */
function isMatch(pattern: string, key: string): boolean | null {
  try {
    return new RegExp(pattern, "u").test(key);
  } catch {
    return null;
  }
}

/** False: this alternative is certainly another one's. Looks at types, constants and names, one level deep. */
function canHold(schema: unknown, value: unknown, root: JsonObject, isDeep = true): boolean {
  if (!isObject(schema)) return schema !== false;
  const target = schema["$ref"] === undefined ? schema : (resolve(schema["$ref"], root) ?? schema);
  const { type, const: only, enum: some, required, properties, additionalProperties } = target;
  if (type !== undefined && !isOfType(type, value)) return false;
  if (only !== undefined && !isSame(only, value)) return false;
  if (Array.isArray(some) && !some.some((each) => isSame(each, value))) return false;
  if (!isDeep || !isObject(value)) return true;
  const known = isObject(properties) ? properties : {};
  if (listOf(required).some((key) => typeof key === "string" && !Object.hasOwn(value, key))) return false;
  return Object.entries(value).every(([key, each]) =>
    Object.hasOwn(known, key) ? canHold(known[key], each, root, false) : additionalProperties !== false,
  );
}

function isOfType(type: unknown, value: unknown): boolean {
  if (Array.isArray(type)) return type.some((each) => isOfType(each, value));
  switch (type) {
    case "integer":
      return Number.isInteger(value);
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    default:
      return typeof value === type;
  }
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === "object" && a !== null && JSON.stringify(a) === JSON.stringify(b));
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
