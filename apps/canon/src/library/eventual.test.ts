import { expect, test } from "vitest";
import { andEnqueue, andThen } from "./eventual.js";

const failsLater = () => Promise.reject(new Error("not enqueued"));

test("an answer that is there goes on at once", () => {
  const order: string[] = [];

  const answer = andThen(
    andEnqueue("saved", (given) => {
      order.push(`enqueued after ${given}`);
      return Promise.resolve();
    }),
    (given) => {
      order.push("went on");
      return `${given} and done`;
    },
  );

  expect(answer).toBe("saved and done");
  expect(order).toEqual(["enqueued after saved", "went on"]);
});

test("an enqueue that throws at once ends what is done at once", () => {
  const fails = () => {
    throw new Error("not enqueued");
  };

  expect(() => andEnqueue("saved", fails)).toThrow("not enqueued");
});

test("an answer that comes later is waited for, and so is the enqueue", async () => {
  let enqueued = false;

  const answer = andThen(
    andEnqueue(Promise.resolve("saved"), async () => {
      await Promise.resolve();
      enqueued = true;
    }),
    (given) => [given, enqueued],
  );

  expect(await answer).toEqual(["saved", true]);
});

test("an enqueue that fails later fails the whole", async () => {
  await expect(andEnqueue(Promise.resolve("saved"), failsLater)).rejects.toThrow("not enqueued");
});
