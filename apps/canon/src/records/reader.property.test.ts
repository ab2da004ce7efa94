/** What holds for every body: nothing valid is lost, chunks do not matter, and reading may stop and go on anywhere. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { readRecords, UnreadableBody } from "./reader.js";
import type { Cursor, Limits, RecordItem } from "./reader.js";

const layouts = {
  array: (records: object[]) => JSON.stringify(records),
  prettyArray: (records: object[]) => JSON.stringify(records, null, 2),
  arrayOfLines: (records: object[]) => `[\n${records.map((record) => JSON.stringify(record)).join(",\n")}\n]\n`,
  wrapper: (records: object[]) => JSON.stringify({ v: [1, { objects: [] }], objects: records, after: { "}": "]" } }),
  prettyWrapper: (records: object[]) => JSON.stringify({ v: { a: [{}] }, objects: records }, null, 4),
  lines: (records: object[]) => records.map((record) => `${JSON.stringify(record)}\r\n`).join("\n"),
  sequence: (records: object[]) => records.map((record) => JSON.stringify(record, null, 1)).join("\n"),
};

const word = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 8 }),
  fc.string({ unit: fc.constantFrom(...'{}[]:,"\\\n x'), maxLength: 8 }),
);
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    word,
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) => !Object.is(number, -0)),
    fc.constantFrom(null, true, false),
    fc.array(tie("value"), { maxLength: 3 }),
    tie("object"),
  ),
  object: fc.dictionary(
    word.filter((name) => name !== "__proto__" && name !== "constructor"),
    tie("value"),
    { maxKeys: 4, noNullPrototype: true },
  ),
}));
// "id" first keeps a generated object from being taken for a wrapper or for nothing at all.
const record = json.object.map((fields) => ({ id: "x", ...(fields as object) }));
const world = fc.array(record, { minLength: 1, maxLength: 6 });
const layout = fc.constantFrom(...Object.values(layouts));
const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 });

const garbage = fc.oneof(
  fc.constantFrom('"', "{", "}", "[", "]", ",", ":", "\\", "\n", "\n{", ',{"', '"objects":[', "null", "\x80", "é"),
  fc.string({ maxLength: 3 }),
);
const edits = fc.array(fc.record({ at: fc.nat(), removed: fc.nat(12), added: garbage }), { maxLength: 4 });
const damagedBody = fc.tuple(world, layout, edits).map(([records, render, changes]) => {
  let text = render(records);
  for (const { at, removed, added } of changes) {
    const from = at % (text.length + 1);
    text = text.slice(0, from) + added + text.slice(from + removed);
  }
  return Buffer.from(text.replaceAll("\x80", "\ufffd"), "utf8");
});
const limits = fc.constantFrom<Partial<Limits>>({}, { maxRecordBytes: 40 }, { maxRecordBytes: 8, maxDepth: 2 });

test("every record of a valid body is read as it is, in order, from where it stands", async () => {
  await fc.assert(
    fc.asyncProperty(world, layout, cuts, async (records, render, sizes) => {
      const body = Buffer.from(render(records));

      const items = await read(body, { sizes });

      expect(items.map((item) => (item.kind === "record" ? item.value : item.reason))).toEqual(records);
      expect(items.map((item) => item.position.index)).toEqual(records.map((_, index) => index));
      for (const { position, next } of items) {
        expect(JSON.parse(body.toString("utf8", position.offset, next.offset))).toBeTypeOf("object");
        expect(position.line).toBe(body.toString("latin1", 0, position.offset).split("\n").length);
      }
    }),
    { numRuns: 500 },
  );
});

test("chunks do not matter, whatever the body", async () => {
  await fc.assert(
    fc.asyncProperty(damagedBody, cuts, limits, async (body, sizes, limit) => {
      expect(await read(body, { sizes, limits: limit })).toEqual(await read(body, { limits: limit }));
    }),
    { numRuns: 2000 },
  );
});

test("reading on from any cursor gives exactly the rest, whatever the body", async () => {
  await fc.assert(
    fc.asyncProperty(damagedBody, cuts, limits, async (body, sizes, limit) => {
      const items = await read(body, { limits: limit });

      for (const [index, { next }] of items.entries()) {
        const from = JSON.parse(JSON.stringify(next)) as Cursor;
        expect(await read(body, { sizes, limits: limit, from })).toEqual(items.slice(index + 1));
      }
    }),
    { numRuns: 1000 },
  );
});

test("one broken record per line costs that line only", async () => {
  await fc.assert(
    fc.asyncProperty(world, fc.nat(), garbage, async (records, place, added) => {
      const lines = records.map((value) => JSON.stringify(value));
      const at = 1 + (place % lines.length);
      lines.splice(at, 0, `{"a":oops ${added.replaceAll("\n", "")}`);

      const items = await read(Buffer.from(lines.join("\n")));

      const values = items.flatMap((item) => (item.kind === "record" ? [item.value] : []));
      expect(values).toEqual(records);
      expect(items[at]?.kind).toBe("broken");
    }),
    { numRuns: 500 },
  );
});

type HowToRead = { sizes?: number[]; limits?: Partial<Limits>; from?: Cursor };

async function read(body: Buffer, { sizes, limits = {}, from }: HowToRead = {}): Promise<RecordItem[]> {
  const rest = body.subarray(from?.offset ?? 0);
  const items: RecordItem[] = [];
  try {
    for await (const item of readRecords(inChunks(rest, sizes), { limits, ...(from && { from }) })) items.push(item);
  } catch (error) {
    if (!(error instanceof UnreadableBody) || items.length > 0) throw error;
  }
  return items;
}

async function* inChunks(body: Buffer, sizes: number[] = [body.length || 1]): AsyncGenerator<Uint8Array> {
  for (let at = 0, turn = 0; at < body.length; turn++) {
    const size = sizes[turn % sizes.length]!;
    yield body.subarray(at, at + size);
    at += size;
  }
}
