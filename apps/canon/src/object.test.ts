import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  contentHash,
  deriveId,
  parseObject,
  publicAttributes,
  publicView,
  textForEmbedding,
  type CanonObject,
} from "./object.js";

describe("parseObject", () => {
  test("accepts the smallest object and gives it an id", () => {
    const object = anObject({ id: undefined, kind: "npc", name: "Ölaf the Grey" });

    expect(object).toEqual({ id: deriveId("npc", "Ölaf the Grey"), kind: "npc", name: "Ölaf the Grey" });
    expect(object.id).toMatch(/^npc\/ölaf-the-grey-[0-9a-f]{16}$/);
  });

  test("keeps unknown fields, also those of attributes", () => {
    const sent = { id: "x", kind: "npc", name: "X", page: 12, attributes: [{ path: "a", value: 1, source: "p. 3" }] };

    expect(anObject(sent)).toEqual(sent);
  });

  test("keeps a list of paragraphs a list, and a text a text", () => {
    expect(anObject({ description: [" one\r\n two ", " ", "three"] }).description).toEqual(["one\n two", "three"]);
    expect(anObject({ description: " one\r\n two " }).description).toBe("one\n two");
  });

  test("normalises names: NFC, one line, no control characters, no half characters", () => {
    expect(anObject({ name: "  Ele\u0301a\t of\r\n the\u0000Lake\ud800 " }).name).toBe("El\u00e9a of the Lake\ufffd");
  });

  test("takes null and blank as left out where a field is optional", () => {
    const sent = { id: null, kind: "npc", name: "X", description: null, attributes: null, aliases: [" ", "Y"] };

    expect(anObject(sent)).toEqual({ id: deriveId("npc", "X"), kind: "npc", name: "X", aliases: ["Y"] });
  });

  test.each([
    [null, "", "the record must be an object in { }, not null"],
    [["npc"], "", "the record must be an object in { }, not a list"],
    [{ name: "X" }, "/kind", "kind is missing"],
    [{ kind: "npc" }, "/name", "name is missing"],
    [{ kind: 5, name: "X" }, "/kind", "kind must be text, not a number"],
    [{ kind: "npc", name: null }, "/name", "name must be text, not null"],
    [{ kind: "npc", name: " \u200b\n" }, "/name", "name must not be blank"],
    [{ kind: "npc", name: "x".repeat(501) }, "/name", "name must not be longer than 500 characters"],
    [{ kind: "x".repeat(101), name: "X" }, "/kind", "kind must not be longer than 100 characters"],
    [{ kind: "npc", name: "X", id: 17 }, "/id", "id must be text, not a number"],
    [{ kind: "npc", name: "X", id: "" }, "/id", "id must not be blank"],
    [{ kind: "npc", name: "X", id: "a\nb" }, "/id", "id must not contain control characters"],
    [{ kind: "npc", name: "X", id: "x".repeat(201) }, "/id", "id must not be longer than 200 characters"],
    [with_({ description: 5 }), "/description", "description must be text or a list of texts, not a number"],
    [with_({ description: ["a", {}] }), "/description/1", "description, entry 2 must be text, not an object"],
    [with_({ aliases: "Y" }), "/aliases", "aliases must be a list of texts, not a text"],
    [with_({ aliases: ["Y", 1] }), "/aliases/1", "aliases, entry 2 must be text, not a number"],
    [with_({ attributes: { a: 1 } }), "/attributes", "attributes must be a list, not an object"],
    [with_({ attributes: [{ value: 1 }] }), "/attributes/0/path", "attributes, entry 1: path is missing"],
    [with_({ attributes: [{ path: "a" }] }), "/attributes/0/value", "attributes, entry 1: value is missing"],
    [
      with_({ attributes: [{ path: "a", value: 1, restricted: "true" }] }),
      "/attributes/0/restricted",
      "attributes, entry 1: restricted must be true or false, not a text",
    ],
    [
      with_({ description: "word ".repeat(70_000) }),
      "",
      "has more than 300,000 characters of text. Split it into several objects.",
    ],
  ])("refuses %j", (value, pointer, reason) => {
    expect(parseObject(value)).toEqual({ ok: false, pointer, reason });
  });

  test("never throws, whatever the value", () => {
    const field = fc.constantFrom("id", "kind", "name", "description", "attributes", "aliases", "path", "value");
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.string({ unit: "binary" }),
        fc.constantFrom(null, 1, true, undefined),
        fc.array(tie("value")),
        fc.dictionary(field, tie("value")),
      ),
    }));

    fc.assert(fc.property(value, (anything) => typeof parseObject(anything).ok === "boolean"));
  });

  test("parsing what was parsed changes nothing", () => {
    fc.assert(
      fc.property(text, text, fc.array(text), (kind, name, description) => {
        const first = parseObject({ kind, name, description });
        if (first.ok) expect(parseObject(first.object)).toEqual(first);
      }),
    );
  });
});

describe("derived ids", () => {
  test("are the same for the same object, however its white space is written", () => {
    expect(anObject({ id: undefined, name: " Old  Mill" }).id).toBe(anObject({ id: undefined, name: "Old Mill\n" }).id);
  });

  test("differ for names that differ only in case, signs or script", () => {
    const names = ["Old Mill", "old mill", "Old-Mill", "Old Mill!", "Öld Mill", "!", "?", "龍", "竜"];

    expect(new Set(names.map((name) => deriveId("place", name))).size).toBe(names.length);
    expect(deriveId("a b", "c")).not.toBe(deriveId("a", "b c"));
  });

  test("fit into an id, however long the names are", () => {
    expect(anObject({ id: undefined, kind: "k".repeat(100), name: "𠮷".repeat(250) }).id.length).toBeLessThan(200);
  });
});

describe("the embedded text", () => {
  const vault = {
    kind: "place",
    name: "The Vault",
    aliases: ["Old Bank", "The Hole"],
    description: ["A cold  room.", "Coins glitter."],
    attributes: [
      { path: "depth", value: 30 },
      { path: "doors.north", value: { locked: true, keys: ["iron", "bone"], hinges: null } },
      { path: "owner", value: "the lich", restricted: true },
      { path: "open", value: false, restricted: false },
    ],
    notes: "unknown field",
  };

  test("has the name first, then kind, aliases, description and attributes", () => {
    expect(textForEmbedding(anObject(vault)).split("\n")).toEqual([
      "The Vault",
      "place",
      "also known as Old Bank, The Hole",
      "A cold room.",
      "Coins glitter.",
      "depth: 30",
      "doors.north: locked: yes; keys: iron, bone",
      "open: no",
    ]);
  });

  test("never holds restricted attributes or unknown fields", () => {
    const secret = text.map((word) => `secret${word}`);

    fc.assert(
      fc.property(secret, secret, (path, value) => {
        const object = anObject({ attributes: [{ path, value, restricted: true }], notes: value, [path]: value });

        expect(textForEmbedding(object)).not.toContain("secret");
        expect(JSON.stringify(publicView(object))).not.toContain("secret");
      }),
    );
  });

  test("publicAttributes and publicView leave out what is restricted or unknown", () => {
    const object = anObject(vault);

    expect(publicAttributes(object).map(({ path }) => path)).toEqual(["depth", "doors.north", "open"]);
    expect(publicView(object)).toEqual({
      id: object.id,
      kind: "place",
      name: "The Vault",
      description: vault.description,
      attributes: publicAttributes(object),
      aliases: ["Old Bank", "The Hole"],
    });
  });

  test("survives a value that is nested deeper than the stack", () => {
    let value: unknown = "deep";
    for (let level = 0; level < 50_000; level++) value = [value];

    expect(textForEmbedding(anObject({ name: "X", attributes: [{ path: "a", value }] }))).not.toContain("deep");
  });
});

describe("contentHash", () => {
  const before = {
    name: "Old Mill",
    description: "It grinds.\nSlowly.",
    attributes: [{ path: "age", value: "very old" }],
  };

  test.each([
    ["white space", { ...before, name: " Old  Mill", description: " It  grinds. Slowly.\n\n" }],
    ["paragraphs", { ...before, description: ["It grinds.", "Slowly."] }],
    ["white space in a value", { ...before, attributes: [{ path: "age", value: "very\told " }] }],
    [
      "a restricted attribute",
      { ...before, attributes: [...before.attributes, { path: "x", value: 1, restricted: true }] },
    ],
    ["an unknown field", { ...before, page: 7 }],
  ])("stays the same after an edit of %s", (_, after) => {
    expect(contentHash(anObject(after))).toBe(contentHash(anObject(before)));
  });

  test.each([
    ["a word", { ...before, description: "It grinds. Fast." }],
    ["case", { ...before, name: "Old mill" }],
    ["the kind", { ...before, kind: "ruin" }],
    ["an alias", { ...before, aliases: ["The Mill"] }],
    ["a value", { ...before, attributes: [{ path: "age", value: "new" }] }],
    ["a restriction", { ...before, attributes: [{ path: "age", value: "very old", restricted: true }] }],
    ["words moved to another field", { ...before, name: "Old", kind: "place Mill" }],
  ])("differs after an edit of %s", (_, after) => {
    expect(contentHash(anObject(after))).not.toBe(contentHash(anObject(before)));
  });
});

const text = fc.string({ unit: "binary", maxLength: 12 });

function with_(fields: object): object {
  return { kind: "npc", name: "X", ...fields };
}

function anObject(fields: object): CanonObject {
  const parsed = parseObject({ kind: "place", name: "Somewhere", ...fields });
  if (!parsed.ok) throw new Error(`${parsed.pointer}: ${parsed.reason}`);
  return parsed.object;
}
