import { expect, test } from "vitest";
import { anyOfWithin } from "./full-text.js";

test("the words are quoted, any of them is enough, and the scope is asked for as well", () => {
  expect(anyOfWithin("g6731", ["a", "b"])).toBe('{scope} : "g6731" AND {name text} : ("a" OR "b")');
});

test("no words make no expression", () => {
  expect(anyOfWithin("g6731", [])).toBeNull();
});
