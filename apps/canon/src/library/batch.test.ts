import { describe, expect, test } from "vitest";
import { planBatch, type BatchRecord, type IncomingObject, type KnownObject } from "./batch.js";

let index = 0;
const anObject = (object: Partial<IncomingObject> = {}): BatchRecord => ({
  kind: "object",
  object: {
    id: "a",
    kind: "npc",
    name: "Anna",
    body: "{}",
    hash: "h1",
    hasRestricted: false,
    index: index++,
    line: 1,
    ...object,
  },
});
const aFailure: BatchRecord = {
  kind: "refused",
  failure: { index: 0, line: 1, name: null, pointer: "", reason: "is broken" },
};
const known = (object: Partial<KnownObject> = {}): KnownObject => ({
  id: "a",
  importId: "older",
  line: 1,
  awaiting: null,
  embeddedHash: "h1",
  ...object,
});
const plan = (records: readonly BatchRecord[], objects: readonly KnownObject[] = [], failedBefore = 0) =>
  planBatch({ importId: "mine", records, failedBefore }, objects);

test("a new object is written, waits for this import, and is to be embedded", () => {
  const { objects, answer, counts } = plan([anObject()]);

  expect(objects).toMatchObject([{ id: "a", awaiting: "mine" }]);
  expect(answer).toEqual({ toEmbed: ["a"], failed: 0 });
  expect(counts).toEqual({ total: 1, failed: 0, skipped: 0 });
});

test("an object that is searchable with this text is written, waits for nobody, and counts as skipped", () => {
  const { objects, answer, counts } = plan([anObject()], [known()]);

  expect(objects).toMatchObject([{ id: "a", awaiting: null }]);
  expect(answer.toEmbed).toEqual([]);
  expect(counts.skipped).toBe(1);
});

test("every import that waited for an object of the batch counts it as skipped", () => {
  const objects = [known({ awaiting: "x" }), known({ id: "b", awaiting: "x" }), known({ id: "c", awaiting: "y" })];

  const { takenOver } = plan([anObject(), anObject({ id: "b" }), anObject({ id: "c", hash: "new" })], objects);

  expect(takenOver).toEqual(
    new Map([
      ["x", 2],
      ["y", 1],
    ]),
  );
});

describe("repeated ids", () => {
  test("in one batch: the first is kept", () => {
    const { objects, failures } = plan([anObject({ line: 3 }), anObject({ line: 9, name: "Other" })]);

    expect(objects).toHaveLength(1);
    expect(failures).toMatchObject([{ line: 9, name: "Other", reason: expect.stringContaining("line 3") }]);
  });

  test("from an earlier batch of this import: the earlier is kept, and not taken over from ourselves", () => {
    const { objects, failures, takenOver } = plan([anObject()], [known({ importId: "mine", awaiting: "mine" })]);

    expect([objects, failures.length, takenOver.size]).toEqual([[], 1, 0]);
  });
});

describe("restricted attributes", () => {
  test("take a searchable object out of the index when its text has changed", () => {
    expect(plan([anObject({ hash: "h2", hasRestricted: true })], [known()]).hidden).toEqual(["a"]);
  });

  test.each([
    ["its text is the same", anObject({ hasRestricted: true }), [known()]],
    ["it is new", anObject({ hasRestricted: true }), []],
    ["it never was in the index", anObject({ hasRestricted: true }), [known({ embeddedHash: null })]],
    ["there are none", anObject({ hash: "h2" }), [known()]],
  ])("leave the index alone when %s", (_, record, objects) => {
    expect(plan([record], objects).hidden).toEqual([]);
  });
});

test("failures beyond ten thousand are counted, not listed", () => {
  const { failures, counts } = plan([aFailure, aFailure, aFailure], [], 9_998);

  expect([failures.length, counts.failed]).toEqual([2, 3]);
});
