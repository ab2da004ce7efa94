import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startShop } from "./embedded-service.js";
import { exactlyOnce } from "./exactly-once.js";
import { firstJob } from "./first-job.js";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "sluice-example-"))));
afterEach(() => rmSync(folder, { recursive: true }));

test("the first job fails once and then greets", async () => {
  expect(await firstJob(join(folder, "jobs.db"))).toEqual({ greeting: "Hello, Waterdeep!", attempts: 2 });
});

test("each good order is credited exactly once, the one rolled back never", async () => {
  expect(await exactlyOnce(join(folder, "jobs.db"))).toBe(42);
});

test("an application mounts the service under a prefix, with its own way to know who asks", async () => {
  const { app, stop } = await startShop(join(folder, "jobs.db"));
  const enqueue = (headers: Record<string, string>, type = "shop.thumbnail") =>
    app.inject({
      method: "POST",
      url: "/background/v1/jobs",
      headers: { prefer: "wait=10", ...headers },
      payload: { type, payload: { productId: "p1", uploadToken: "s3cret" } },
    });
  try {
    expect((await app.inject("/")).body).toBe("the shop");

    const done = await enqueue({ "x-user": "shop" });
    expect(done.statusCode).toBe(200);
    expect(done.json()).toMatchObject({ state: "completed", payload: { productId: "p1", uploadToken: "•••" } });
    expect(done.headers["location"]).toBe(`/background/v1/jobs/${done.json<{ id: string }>().id}`);

    expect((await enqueue({})).statusCode).toBe(401);
    expect((await enqueue({ "x-user": "shop" }, "sluice.bulk")).statusCode).toBe(403);
    const list = { url: "/background/v1/jobs", headers: { "x-user": "shop" } };
    expect((await app.inject(list)).statusCode).toBe(403);
    expect((await app.inject({ ...list, headers: { "x-user": "ada" } })).json()).toMatchObject({ next: null });
    expect((await app.inject("/background/nothing")).headers["content-type"]).toContain("application/problem+json");
    expect((await app.inject("/nothing")).headers["content-type"]).toContain("application/json");
  } finally {
    await stop();
  }
});
