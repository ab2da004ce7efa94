/** Subscribers: who hears what, and what those that throw can do to others. */
import { expect, test } from "vitest";
import { Events } from "./events.js";

const started = { workerId: "worker-1" };

test("a subscriber hears the events of its name, in order", () => {
  const events = new Events();
  const heard: string[] = [];
  events.on("worker.started", ({ workerId }) => heard.push(workerId));

  events.emit("worker.started", { workerId: "a" });
  events.emit("worker.stopped", { workerId: "b" });
  events.emit("worker.started", { workerId: "c" });

  expect(heard).toEqual(["a", "c"]);
});

test("all subscribers of a name hear it", () => {
  const events = new Events();
  const heard: string[] = [];
  events.on("worker.started", () => heard.push("first"));
  events.on("worker.started", () => heard.push("second"));

  events.emit("worker.started", started);

  expect(heard).toEqual(["first", "second"]);
});

test("a subscriber that left hears nothing more", () => {
  const events = new Events();
  const heard: string[] = [];
  const leave = events.on("worker.started", () => heard.push("heard"));

  leave();
  events.emit("worker.started", started);

  expect(heard).toEqual([]);
});

test("a subscriber that leaves while it hears does not keep others from hearing", () => {
  const events = new Events();
  const heard: string[] = [];
  const leave = events.on("worker.started", () => leave());
  events.on("worker.started", () => heard.push("second"));

  events.emit("worker.started", started);

  expect(heard).toEqual(["second"]);
});

test("hasListener says whether emitting would reach somebody", () => {
  const events = new Events();
  const before = events.hasListener("job.completed");
  const leave = events.on("job.completed", () => {});
  const during = events.hasListener("job.completed");
  leave();

  expect([before, during, events.hasListener("job.completed")]).toEqual([false, true, false]);
});

test("a subscriber that throws harms neither the emitter nor the others, and is reported", () => {
  const events = new Events();
  const heard: unknown[] = [];
  const error = new Error("tripped");
  events.on("worker.started", () => {
    throw error;
  });
  events.on("worker.started", () => heard.push("second"));
  events.on("worker.troubled", (trouble) => heard.push(trouble));

  events.emit("worker.started", started);

  expect(heard).toEqual([{ during: "a subscriber of worker.started", error }, "second"]);
});

test("a subscriber of troubles that throws ends there", () => {
  const events = new Events();
  let calls = 0;
  events.on("worker.troubled", () => {
    calls++;
    throw new Error("tripped");
  });

  events.emit("worker.troubled", { during: "a test", error: null });

  expect(calls).toBe(1);
});

test("an asynchronous subscriber that rejects is reported like one that throws", async () => {
  const events = new Events();
  const troubles: unknown[] = [];
  const unhandled: unknown[] = [];
  const watch = (error: unknown) => unhandled.push(error);
  // The test runner's own listeners would make the run fail for the very thing this test looks for.
  const others = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection").on("unhandledRejection", watch);
  const error = new Error("tripped");
  events.on("worker.troubled", (trouble) => troubles.push(trouble));
  // eslint-disable-next-line @typescript-eslint/no-misused-promises -- the case: without this lint rule nothing says no
  events.on("worker.started", async () => Promise.reject(error));

  events.emit("worker.started", started);
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  process.removeListener("unhandledRejection", watch);
  for (const other of others) process.on("unhandledRejection", other);

  expect(unhandled).toEqual([]);
  expect(troubles).toEqual([{ during: "a subscriber of worker.started", error }]);
});
