/** What is kept of the types of workers, whichever version of Sluice has written it. */
import { expect, test } from "vitest";
import { parseWorkedTypes } from "./worked-types.js";

test("what a worker says of its types is read as it was written", () => {
  const types = [{ type: "mail.send", version: 3, concurrency: 5, slots: 2, rate: null }];

  expect(parseWorkedTypes(JSON.stringify(types))).toEqual(types);
});

test("an older worker, which names its types only, leaves the rest unknown", () => {
  expect(parseWorkedTypes('["mail.send"]')).toEqual([
    { type: "mail.send", version: null, concurrency: null, slots: null, rate: null },
  ]);
});

test("what is not known here, or not said there, does no harm", () => {
  expect(parseWorkedTypes('[{"type":"mail.send","version":2,"colour":"red"}]')).toEqual([
    { type: "mail.send", version: 2, concurrency: null, slots: null, rate: null },
  ]);
});
