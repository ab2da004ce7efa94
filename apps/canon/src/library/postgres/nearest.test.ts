import fc from "fast-check";
import { expect, test } from "vitest";
import { Nearest, type ObjectVectors } from "./nearest.js";

const anObject = (...vectors: readonly (readonly number[])[]): ObjectVectors => ({
  ordinals: vectors.map((_, n) => n),
  isRestricted: vectors.map(() => false),
  numbers: Float32Array.from(vectors.flat()),
});
const nearestTo = (vector: readonly number[], depth = 10, as: "gm" | "player" = "gm") =>
  new Nearest({ vector: Float32Array.from(vector), depth, as });

test("an object is placed by its nearest chunk, the first of equals", () => {
  const nearest = nearestTo([1, 0]);

  nearest.compare("a", anObject([0, 1], [1, 0], [1, 0]));

  expect(nearest.places()).toMatchObject([{ objectId: "a", ordinal: 1 }]);
});

test("a player is not led by restricted chunks, nor to objects that have no other", () => {
  const nearest = nearestTo([1, 0], 10, "player");

  nearest.compare("a", { ...anObject([1, 0], [0, 1]), isRestricted: [true, false] });
  nearest.compare("b", { ...anObject([1, 0]), isRestricted: [true] });

  expect(nearest.places()).toMatchObject([{ objectId: "a", ordinal: 1 }]);
});

test("an object that passes by twice has one place, the better", () => {
  const nearest = nearestTo([1, 0]);

  nearest.compare("a", anObject([0, 1]));
  nearest.compare("b", anObject([0.5, 0]));
  nearest.compare("a", anObject([0, 1], [1, 0]));

  expect(nearest.places()).toMatchObject([{ objectId: "a", ordinal: 1 }, { objectId: "b" }]);
});

test("the best of any number are kept in order, equals by id", () => {
  const numbers = fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 60 });
  fc.assert(
    fc.property(numbers, fc.integer({ min: 1, max: 20 }), (values, depth) => {
      const nearest = nearestTo([1], depth);
      const objects = values.map((value, n) => ({ id: `o${(n * 37) % 101}`, value }));

      for (const { id, value } of objects) nearest.compare(id, anObject([value]));

      const sorted = objects.sort((a, b) => b.value - a.value || (a.id < b.id ? -1 : 1)).slice(0, depth);
      expect(nearest.places().map(({ objectId }) => objectId)).toEqual(sorted.map(({ id }) => id));
    }),
  );
});
