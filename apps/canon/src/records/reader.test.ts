import { describe, expect, test } from "vitest";
import { readRecords, UnreadableBody } from "./reader.js";
import type { Limits, RecordItem, Turns } from "./reader.js";

describe("shapes", () => {
  test.each([
    ["an array", '[{"a":1},{"a":2}]'],
    ["a pretty-printed array", '[\n  {\n    "a": 1\n  },\n  {\n    "a": 2\n  }\n]\n'],
    ["a wrapper", '{"objects":[{"a":1},{"a":2}]}'],
    ["a wrapper with other members", '{"v":{"objects":[9]},"t":["{"],"objects":[{"a":1},{"a":2}],"z":[{"q":"]"}]}'],
    ["a wrapper with an escaped name", '{"\\u006fbjects":[{"a":1},{"a":2}]}'],
    ["a wrapper with two lists", '{"objects":[{"a":1}],"objects":[{"a":2}]}'],
    ["one record per line", '{"a":1}\n{"a":2}\n'],
    ["lines with CRLF, blank lines and no last line end", '\r\n{"a":1}\r\n\r\n  \r\n{"a":2}'],
    ["pretty-printed objects one after another", '{\n"a":1\n}\n{\n"a":2\n}\n'],
    ["objects separated by commas without brackets", '{"a":1},\n{"a":2}'],
    ["a byte order mark", '\ufeff[{"a":1},{"a":2}]'],
    ["a trailing comma", '[{"a":1},{"a":2},]'],
  ])("reads %s", async (_, body) => {
    expect(outline(await read(body))).toEqual([{ a: 1 }, { a: 2 }]);
  });

  test("reads one object without objects as one record", async () => {
    expect(outline(await read('{\n "foo": 1\n}'))).toEqual([{ foo: 1 }]);
    expect(outline(await read('{"objects": {"foo": 1}}'))).toEqual([{ objects: { foo: 1 } }]);
  });

  test("reads an empty list as no records", async () => {
    expect(await read("[]")).toEqual([]);
    expect(await read('{"objects": [ ], "v": 1}\n')).toEqual([]);
  });

  test("skips members of a wrapper that are larger than a record may be", async () => {
    const body = `{"map":"${"x".repeat(500)}","objects":[{"a":1}],"after":["${"y".repeat(500)}"]}`;

    expect(outline(await read(body, { maxRecordBytes: 64 }))).toEqual([{ a: 1 }]);
  });

  test("gives each item its number, line and byte offset", async () => {
    const items = await read('[\n{"a":"ü"}, {"a":2},\n\n  oops,\n{"a":3}]');

    expect(items.map((item) => item.position)).toEqual([
      { index: 0, line: 2, offset: 2 },
      { index: 1, line: 2, offset: 14 },
      { index: 2, line: 4, offset: 26 },
      { index: 3, line: 5, offset: 32 },
    ]);
  });
});

describe("a broken record leaves its neighbours alone", () => {
  test.each([
    ["a syntax error inside brackets", '{"a":,"b":[1 2]}'],
    ["a missing closing quote", '{"a":"x, "b":"y"}'],
    ["a missing closing quote at the end", '{"a":"x}'],
    ["a missing opening quote", '{"a":x","b":"y"}'],
    ["an unescaped quote", '{"a":"he said "hi" to {me} and left"}'],
    ["a missing comma", '{"a":"x" "b":"y"}'],
    ["a raw line break in a text", '{"a":"x\n[y","b":1}'],
    ["a missing closing brace", '{"a":{"b":1}'],
    ["a missing closing brace inside a list", '{"a":[{"b":1, {"b":2}]}'],
    ["a missing closing bracket", '{"a":["x","y","b":1}'],
    ["a wrong closing bracket", '{"a":1]}'],
    ["a stray word", "oops"],
    ["a stray word with a colon", 'foo: "bar"'],
    ["a trailing escape", '{"a":"x\\"}'],
  ])("in a list: %s", async (_, broken) => {
    const body = `[{"n":1}, ${broken}, {"n":2}, {"n":3}]`;

    expect(outline(await read(body))).toEqual([{ n: 1 }, "broken", { n: 2 }, { n: 3 }]);
  });

  test.each([
    ["cut off in a text", '{"a":"x'],
    ["cut off in nested lists", '{"a":[["x",'],
    ["with a stray bracket", '{"a":1}]}'],
    ["not JSON", "# a comment"],
    ["a list", "[1]"],
  ])("in lines: %s", async (_, broken) => {
    const body = `{"n":1}\n${broken}\n{"n":2}\n`;

    expect(outline(await read(body))).toEqual([{ n: 1 }, "broken", { n: 2 }]);
  });

  test("in lines: the first one", async () => {
    expect(outline(await read('{"a":"x\n{"n":1}\n{"n":2}\n'))).toEqual(["broken", { n: 1 }, { n: 2 }]);
    expect(outline(await read('{"a":1,\n{"n":1}\n{"n":[\n'))).toEqual(["broken", { n: 1 }, "broken"]);
  });

  test("in a list that is closed too early", async () => {
    expect(outline(await read('[{"n":1}], {"n":2}]'))).toEqual([{ n: 1 }, "broken", { n: 2 }]);
    expect(outline(await read('{"objects":[{"n":1}], {"n":2}], "v":1}'))).toEqual([{ n: 1 }, "broken", { n: 2 }]);
    expect(outline(await read('[{"n":1}]\n[{"n":2}]'))).toEqual([{ n: 1 }, "broken", { n: 2 }]);
  });

  test("reports every value that is not an object", async () => {
    const items = await read('[1, -2.5e3, "a", null, true, [{"n":1}], {"n":2}]');

    expect(outline(items).slice(6)).toEqual([{ n: 2 }]);
    expect(reasons(items)).toEqual([
      "A record must be an object in { }, but this one is a number.",
      "A record must be an object in { }, but this one is a number.",
      "A record must be an object in { }, but this one is a text.",
      "A record must be an object in { }, but this one is null.",
      "A record must be an object in { }, but this one is true or false.",
      "A record must be an object in { }, but this one is a list.",
    ]);
  });
});

describe("truncated bodies", () => {
  test.each([
    ["in a text", '[{"n":1},\n{"a":"Once upon'],
    ["between members", '[{"n":1},\n{"a":1,'],
    ["in the lines", '{"n":1}\n{"a":"Once upon'],
    ["in a wrapper", '{"objects":[{"n":1},\n{"a":[{"b":1}'],
  ])("names the line of the record that is cut off %s", async (_, body) => {
    const items = await read(body);

    expect(outline(items)).toEqual([{ n: 1 }, "broken"]);
    expect(reasons(items)).toEqual([
      "The file ends in the middle of a record that begins on line 2. It may be truncated; send it again.",
    ]);
  });

  test("says that the end of the list is missing", async () => {
    expect(reasons(await read('[{"n":1},\n'))).toEqual([
      "The file ends before its list of records is closed with ]. It may be truncated; send it again.",
    ]);
    expect(reasons(await read('{"objects":[{"n":1}]'))).toEqual([
      "The file ends before its closing }. It may be truncated; send it again.",
    ]);
  });
});

describe("refused records", () => {
  test.each([
    ["__proto__", '{"a":{"__proto__":{"x":1}}}', "__proto__"],
    ["an escaped __proto__", '{"\\u005f_proto__":1}', "__proto__"],
    ["constructor.prototype", '{"constructor":{"prototype":{"x":1}}}', "constructor.prototype"],
    ["a field that appears twice", '{"a":[{"x":1,"y":{"x":2},"x":3}]}', 'field "x" appears twice'],
    ["deep nesting", `${'{"a":['.repeat(16)}{}${"]}".repeat(16)}`, "deeper than 32 levels"],
  ])("%s", async (_, record, reason) => {
    const items = await read(`[${record}, {"n":1}]`);

    expect(outline(items)).toEqual(["broken", { n: 1 }]);
    expect(reasons(items)[0]).toContain(reason);
  });

  test("does not refuse constructor as a value or as a plain field", async () => {
    const record = { kind: "constructor", constructor: "Imhotep", prototype: ["a:b", { "c:": "\\" }] };

    expect(outline(await read(JSON.stringify([record])))).toEqual([record]);
  });

  test("accepts 32 levels", async () => {
    const record = `${'{"a":['.repeat(16)}${"]}".repeat(16)}`;

    expect(outline(await read(`[${record}]`))).toEqual([JSON.parse(record)]);
  });

  test("bytes that are not UTF-8", async () => {
    const body = Buffer.concat([Buffer.from('[{"a":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"},{"a":"\ufffd"}]')]);

    const items = await read(body);

    expect(outline(items)).toEqual(["broken", { a: "\ufffd" }]);
    expect(reasons(items)[0]).toContain("UTF-8");
  });

  test("a text of 40 MB, without keeping it", async () => {
    const megabyte = Buffer.alloc(1_000_000, "x");
    const parts = [Buffer.from('[{"n":1},{"a":"'), ...Array<Buffer>(40).fill(megabyte), Buffer.from('"},{"n":2}]')];
    const before = process.memoryUsage().arrayBuffers;

    const items: RecordItem[] = [];
    for await (const item of readRecords(stream(parts))) items.push(item);

    expect(outline(items)).toEqual([{ n: 1 }, "broken", { n: 2 }]);
    expect(reasons(items)).toEqual(["This record is larger than 4 MiB. Split it up and send it again."]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(24_000_000);
  });

  test("a line that is too large", async () => {
    const body = `{"n":1}\n{"a":"${"x".repeat(200)}"}\n{"n":2}\n`;

    expect(outline(await read(body, { maxRecordBytes: 64 }))).toEqual([{ n: 1 }, "broken", { n: 2 }]);
  });
});

describe("bodies that hold no record at all", () => {
  test.each([
    ["empty", "", "empty"],
    ["white space", " \n\r\n ", "empty"],
    ["a word", "hello", "neither [ nor {"],
    ["HTML", "\n<!doctype html>", "web page"],
    ["binary", Buffer.from([0, 1, 2, 3, 4]), "not JSON"],
    ["gzip", Buffer.from([0x1f, 0x8b, 8, 0]), "gzip"],
    ["ZIP", Buffer.from("PK\x03\x04"), "ZIP"],
    ["UTF-16", Buffer.from("\ufeff[]", "utf16le"), "UTF-16"],
  ])("%s", async (_, body, sentence) => {
    const failure = await read(body).catch((error: unknown) => error);

    expect(failure).toBeInstanceOf(UnreadableBody);
    expect((failure as Error).message).toContain(sentence);
  });
});

test("gives the event loop back when it has worked for 5 ms, also without items", async () => {
  let time = 0;
  let turns = 0;
  const slow: Turns = { now: () => (time += 2), giveWay: () => Promise.resolve(turns++) };
  const parts = [Buffer.from('[{"a":"'), ...Array<Buffer>(30).fill(Buffer.alloc(65_536, "x")), Buffer.from('"}]')];

  for await (const item of readRecords(stream(parts), { turns: slow })) expect(item.kind).toBe("record");

  expect(turns).toBeGreaterThan(8);
});

test("closes the source when the caller stops early", async () => {
  let isClosed = false;
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield Promise.resolve(Buffer.from('{"a":1}\n'));
    } finally {
      isClosed = true;
    }
  }

  for await (const item of readRecords(source())) if (item.position.index === 3) break;

  expect(isClosed).toBe(true);
});

async function read(body: string | Buffer, limits: Partial<Limits> = {}): Promise<RecordItem[]> {
  const items: RecordItem[] = [];
  for await (const item of readRecords(stream([Buffer.from(body)]), { limits })) items.push(item);
  return items;
}

function stream(parts: Uint8Array[]): AsyncIterable<Uint8Array> {
  return (async function* () {
    yield* parts;
  })();
}

function outline(items: RecordItem[]): unknown[] {
  return items.map((item) => (item.kind === "record" ? item.value : "broken"));
}

function reasons(items: RecordItem[]): string[] {
  return items.flatMap((item) => (item.kind === "broken" ? [item.reason] : []));
}
