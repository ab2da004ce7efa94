/**
 * What a canon object is: its shape on the wire, its normal form, and the text of it that is embedded. Pure.
 * This file alone decides what may become searchable: restricted attributes and unknown fields never reach that text.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { nameOfJsonType } from "./records/decode.js";

export type CanonObject = {
  id: string;
  kind: string;
  name: string;
  description?: string | string[];
  attributes?: Attribute[];
  aliases?: string[];
  /** Fields we do not know: kept and returned, never embedded. */
  [field: string]: unknown;
};

export type Attribute = { path: string; value: unknown; restricted?: boolean; [field: string]: unknown };

export type PublicAttribute = { path: string; value: unknown };

export type ParsedObject = { ok: true; object: CanonObject } | { ok: false; pointer: string; reason: string };

/** In UTF-16 units, after normalisation. */
const longest = { id: 200, kind: 100, name: 500, alias: 500, path: 200, embeddedText: 300_000 };
const most = { paragraphs: 2_000, attributes: 1_000, aliases: 100 };

/**
 * Checks and normalises one object from the wire. Texts become NFC and lose outer white space and control characters;
 * texts of one line (kind, name, aliases, paths) also have inner white space collapsed. `null` and blank texts count as
 * left out where a field is optional. Without `id`, kind and name make one; the same object always gets the same.
 * @returns On refusal, where (JSON Pointer) and why, in words for a game master: the first problem only.
 */
export function parseObject(value: unknown): ParsedObject {
  const parsed = wireObject.safeParse(value);
  if (!parsed.success) return describeIssue(parsed.error.issues[0]!);

  const { id, kind, name, description, attributes, aliases, ...unknownFields } = parsed.data;
  const object: CanonObject = {
    ...unknownFields,
    id: id ?? deriveId(kind, name),
    kind,
    name,
    ...(description != null && description.length > 0 && { description }),
    ...(attributes != null && { attributes: attributes as Attribute[] }),
    ...(aliases != null && { aliases }),
  };
  if (textForEmbedding(object).length > longest.embeddedText) {
    const limit = longest.embeddedText.toLocaleString("en");
    return {
      ok: false,
      pointer: "",
      reason: `has more than ${limit} characters of text. Split it into several objects.`,
    };
  }
  return { ok: true, object };
}

/**
 * The text that makes an object findable: name first, then kind, aliases, description and unrestricted attributes, a
 * line each. White space within a line is collapsed.
 */
export function textForEmbedding(object: CanonObject): string {
  const { name, kind, aliases, paragraphs, attributes } = embeddedParts(object);
  const alsoKnownAs = aliases.length > 0 ? [`also known as ${aliases.join(", ")}`] : [];
  return [name, kind, ...alsoKnownAs, ...paragraphs, ...attributes].join("\n");
}

/**
 * SHA-256 (hex) of what is embedded. Equal after edits of white space, of restricted attributes, of unknown fields and
 * of how a description is split into paragraphs; different after any other edit, also one that moves words between
 * fields.
 */
export function contentHash(object: CanonObject): string {
  const { name, kind, aliases, paragraphs, attributes } = embeddedParts(object);
  return sha256(JSON.stringify([name, kind, aliases, paragraphs.join(" "), attributes]));
}

/** The attributes that players may see. */
export function publicAttributes(object: CanonObject): PublicAttribute[] {
  return (object.attributes ?? [])
    .filter((attribute) => attribute.restricted !== true)
    .map(({ path, value }) => ({ path, value }));
}

/** The object as players may see it. Unknown fields stay out: nobody has said that they are harmless. */
export function publicView(object: CanonObject): CanonObject {
  const { id, kind, name, description, aliases } = object;
  return {
    id,
    kind,
    name,
    ...(description !== undefined && { description }),
    ...(object.attributes && { attributes: publicAttributes(object) }),
    ...(aliases && { aliases }),
  };
}

/**
 * A readable id that depends on kind and name alone, in every alphabet. The hash is what tells two names apart; the
 * words in front are for people.
 */
export function deriveId(kind: string, name: string): string {
  return `${slug(kind)}/${slug(name)}-${sha256(JSON.stringify([kind, name])).slice(0, 16)}`;
}

/** Lower case letters and digits of any script, joined by "-". May be empty, and different texts may share one. */
export function slug(text: string): string {
  const words =
    text
      .normalize("NFKC")
      .toLowerCase()
      .match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
  // By code points: half a surrogate pair is not text. Two of 40 fit into an id even if each takes two units.
  return [...words.join("-")].slice(0, 40).join("");
}

function embeddedParts(object: CanonObject) {
  const { description = [], aliases = [] } = object;
  const paragraphs = typeof description === "string" ? description.split("\n") : description;
  return {
    name: object.name,
    kind: object.kind,
    aliases,
    paragraphs: paragraphs.map(asLine).filter((paragraph) => paragraph !== ""),
    attributes: publicAttributes(object).flatMap(({ path, value }) => {
      const text = readable(value);
      return text === "" ? [] : [`${path}: ${text}`];
    }),
  };
}

// A body that came in through the reader is never deeper; one that did not may not exhaust the stack.
const deepestRead = 32;

function readable(value: unknown, depth = 0): string {
  if (value === null || value === undefined || depth > deepestRead) return "";
  if (typeof value === "string") return asLine(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(value);
  if (typeof value !== "object") return ""; // not JSON
  const isList = Array.isArray(value);
  const parts = Object.entries(value).flatMap(([name, member]) => {
    const text = readable(member, depth + 1);
    if (text === "") return [];
    return [isList ? text : `${asLine(name)}: ${text}`];
  });
  return parts.join(isList ? ", " : "; ");
}

function asLine(text: string): string {
  return wellFormed(text)
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim();
}

/** Keeps line breaks and indentation. */
function asProse(text: string): string {
  return wellFormed(text)
    .replace(/\r\n?/g, "\n")
    .replace(/(?![\n\t])\p{Cc}+/gu, " ")
    .trim();
}

/** NFC, and without halves of surrogate pairs, which no store can keep. */
function wellFormed(text: string): string {
  return text.replace(/\p{Cs}/gu, "\ufffd").normalize("NFC");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

// ── the shape on the wire ───────────────────────────────────────────────────

const mustBe = (wanted: string) => ({
  error: ({ input }: { input?: unknown }) =>
    input === undefined ? "is missing" : `must be ${wanted}, not ${nameOfJsonType(input)}`,
});

const notBlank = { error: "must not be blank" };
// Zero-width characters alone are blank to people too.
const visible = /[^\s\p{C}\p{Z}]/u;

const atMost = (characters: number) => ({ error: `must not be longer than ${characters} characters` });

const tooMany = (entries: number) => ({ error: `must not have more than ${entries.toLocaleString("en")} entries` });

const line = (characters: number) =>
  z
    .string(mustBe("text"))
    .transform(asLine)
    .pipe(z.string().regex(visible, notBlank).max(characters, atMost(characters)));

// Not repaired like other texts: two ids that differ must not become one.
const id = z
  .string(mustBe("text"))
  .transform((text) => text.normalize("NFC").trim())
  .pipe(
    z
      .string()
      .regex(visible, notBlank)
      .max(longest.id, atMost(longest.id))
      .regex(/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]*$/u, { error: "must not contain control characters" }),
  );

const prose = z.string(mustBe("text")).transform(asProse);

const paragraphs = z
  .array(prose, mustBe("text or a list of texts"))
  .max(most.paragraphs, tooMany(most.paragraphs))
  .transform((texts) => texts.filter((text) => text !== ""));

const alias = z
  .string(mustBe("text"))
  .transform(asLine)
  .pipe(z.string().max(longest.alias, atMost(longest.alias)));

const attribute = z.looseObject(
  {
    path: line(longest.path),
    value: z.unknown().refine((value) => value !== undefined, { error: "is missing" }),
    // Nothing but true and false: a secret may not get out because "yes" was not understood.
    restricted: z.boolean(mustBe("true or false")).optional(),
  },
  mustBe("an object with path and value"),
);

const wireObject = z.looseObject(
  {
    id: id.nullish(),
    kind: line(longest.kind),
    name: line(longest.name),
    description: z.union([prose, paragraphs], mustBe("text or a list of texts")).nullish(),
    attributes: z.array(attribute, mustBe("a list")).max(most.attributes, tooMany(most.attributes)).nullish(),
    aliases: z
      .array(alias, mustBe("a list of texts"))
      .max(most.aliases, tooMany(most.aliases))
      .transform((texts) => texts.filter((text) => text !== ""))
      .nullish(),
  },
  mustBe("an object in { }"),
);

/** Words for the first problem: "name is missing", "attributes, entry 3: path must be text, not a number". */
function describeIssue(issue: z.core.$ZodIssue, parents: PropertyKey[] = []): ParsedObject {
  const path = [...parents, ...issue.path];
  if (issue.code === "invalid_union") {
    const inside = issue.errors.find(([first]) => first && first.path.length > 0)?.[0];
    if (inside) return describeIssue(inside, path);
  }
  const pointer = path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
  const isMissing = issue.code === "invalid_type" && issue.expected === "nonoptional";
  return { ok: false, pointer, reason: `${nameOfField(path)} ${isMissing ? "is missing" : issue.message}` };
}

function nameOfField(path: PropertyKey[]): string {
  const [field = "the record", entry, inner] = path.map(String);
  if (entry === undefined) return field;
  return `${field}, entry ${Number(entry) + 1}${inner === undefined ? "" : `: ${inner}`}`;
}
