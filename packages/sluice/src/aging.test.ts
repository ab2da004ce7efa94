import { expect, test } from "vitest";
import { Aging } from "./aging.js";

test("one in ten of what was claimed, asked for at most once a second", () => {
  const aging = new Aging();
  expect(aging.shareOf("send", 0)).toBe(0);
  aging.claimed("send", 25);
  expect(aging.shareOf("send", 0)).toBe(2);
  aging.claimed("send", 40);
  expect(aging.shareOf("send", 999)).toBe(0);
  expect(aging.shareOf("send", 1_000)).toBe(4);
  expect(aging.shareOf("other", 1_000)).toBe(0);
});

test("a worker of slow jobs gives its share, too, if later", () => {
  const aging = new Aging();
  for (let n = 1; n <= 9; n++) {
    aging.claimed("send", 1);
    expect(aging.shareOf("send", n * 60_000)).toBe(0);
  }
  aging.claimed("send", 1);
  expect(aging.shareOf("send", 600_000)).toBe(1);
});
