import { expect, test } from "vitest";
import { parseObject, type CanonObject } from "./object.js";
import { sampleWorld } from "./sample.js";

const world = [...sampleWorld()];

test("the sample has every record of the SRD in 21 kinds, each with its own id", () => {
  expect(world.length).toBe(1854);
  expect(new Set(world.map(({ id }) => id)).size).toBe(world.length);
  expect(new Set(world.map(({ kind }) => kind)).size).toBe(21);
});

test("every object of the sample is accepted as it is", () => {
  const parsed = world.map((object) => parseObject(object));

  expect(parsed.filter(({ ok }) => !ok)).toEqual([]);
  expect(parsed.map((result) => (result as { object: CanonObject }).object.id)).toEqual(world.map(({ id }) => id));
});

test("a spell keeps its paragraphs and its useful fields, links resolved", () => {
  expect(world.find(({ id }) => id === "spell/fireball")).toMatchObject({
    kind: "spell",
    name: "Fireball",
    description: [expect.stringContaining("bright streak"), expect.any(String), expect.any(String)],
    attributes: expect.arrayContaining([
      { path: "level", value: 3 },
      { path: "school", value: "Evocation" },
      { path: "classes", value: ["Sorcerer", "Wizard"] },
    ]),
  });
});

test("no addresses or record numbers of the package are left", () => {
  const sent = JSON.stringify(world);

  expect(sent).not.toContain("dnd5eapi");
  expect(sent).not.toContain('"index"');
  expect(sent).not.toContain("undefined");
});
