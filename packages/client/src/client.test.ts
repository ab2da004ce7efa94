/** The client against a real service with a worker; and that the compiler refuses what the document does not have. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startService, type Service } from "@sluice/server";
import { defineJob, handle, Queue, Worker } from "sluice";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { afterAll, beforeAll, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { createClient, expectData, SluiceProblem, type Schema, type SluiceClient } from "./index.js";

const greet = defineJob({
  type: "greet",
  payload: z.object({ name: z.string() }),
  result: z.object({ text: z.string() }),
});

let folder: string;
let store: SqliteStore;
let queue: Queue<unknown>;
let worker: Worker<unknown>;
let service: Service;
let client: SluiceClient;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-client-"));
  store = await sqlite({ path: join(folder, "jobs.db") });
  queue = new Queue<unknown>({ store });
  worker = new Worker<unknown>({
    store,
    pollMs: 20,
    processors: [handle(greet, async ({ payload }) => ({ text: `Hello ${payload.name}` })) as never],
  });
  service = await startService({ store, queue, definitions: [greet], port: 0 });
  await worker.start();
  const { token } = await queue.createAccessKey({ name: "test", roles: ["admin"] });
  client = createClient({ baseUrl: service.url, key: token });
});

afterAll(async () => {
  await service.close({ graceMs: 0 });
  await worker.stop({ graceMs: 0 });
  await queue.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

test("a job is enqueued, waited for, read and found", async () => {
  const enqueued = expectData(
    await client.POST("/v1/jobs", {
      params: { header: { Prefer: "wait=20", "Idempotency-Key": "greeting-1" } },
      body: { type: "greet", payload: { name: "Ada" }, correlation: { entityId: "e1" } },
    }),
  );
  expectTypeOf(enqueued.outcome).toEqualTypeOf<"created" | "duplicate" | "replaced">();
  expect(enqueued).toMatchObject({ outcome: "created", state: "completed", output: { text: "Hello Ada" } });

  const { data, response } = await client.GET("/v1/jobs/{id}", { params: { path: { id: enqueued.id } } });
  expectTypeOf(data).toEqualTypeOf<Schema<"JobDetail"> | undefined>();
  expect(data).toMatchObject({ id: enqueued.id, status: "completed", waiting: null });
  expect(response.headers.get("etag")).not.toBeNull();

  const page = expectData(
    await client.GET("/v1/jobs", { params: { query: { q: "correlation.entityId:e1", limit: 5 } } }),
  );
  expect(page.jobs.map(({ id }) => id)).toEqual([enqueued.id]);
});

test("a batch is answered job by job", async () => {
  const { results } = expectData(
    await client.POST("/v1/jobs/batch", {
      body: [
        { type: "greet", payload: { name: "Bea" } },
        { type: "greet", payload: {} },
      ],
    }),
  );
  expectTypeOf(results).toEqualTypeOf<Schema<"BatchResult">[]>();
  expect(results.map(({ outcome }) => outcome)).toEqual(["created", "invalid"]);
});

test("what is no JSON is read as text", async () => {
  const { data } = await client.GET("/metrics", { parseAs: "text" });
  expectTypeOf(data).toEqualTypeOf<string | undefined>();
  expect(data).toContain("sluice_");
});

test("an error is the problem", async () => {
  const { data, error } = await client.POST("/v1/jobs", { body: { type: "greet", payload: { name: 7 } } });

  expect(data).toBeUndefined();
  expectTypeOf(error).toEqualTypeOf<Schema<"Problem"> | undefined>();
  expect(error).toMatchObject({ status: 422, code: "invalid_payload", errors: [{ pointer: "/payload/name" }] });
});

test("expectData throws the problem", async () => {
  const asked = client.GET("/v1/jobs/{id}", { params: { path: { id: crypto.randomUUID() } } });

  const thrown: unknown = await asked.then(expectData).catch((error: unknown) => error);

  expect(thrown).toBeInstanceOf(SluiceProblem);
  expect((thrown as SluiceProblem).problem).toMatchObject({ status: 404, code: "job_not_found" });
  expect((thrown as SluiceProblem).message).toBe((thrown as SluiceProblem).problem.detail);
});

test("what is answered by something else before the service is a problem, too", async () => {
  const proxied = createClient({
    baseUrl: service.url,
    fetch: async () => new Response("<h1>Bad gateway</h1>", { status: 502, statusText: "Bad Gateway" }),
  });

  await expect(proxied.GET("/v1/types").then(expectData)).rejects.toMatchObject({
    problem: { type: "about:blank", code: "internal", title: "Bad Gateway", status: 502, requestId: "" },
  });
});

test("an answer without a body is no problem", async () => {
  expect(expectData(await client.DELETE("/v1/session"))).toBeUndefined();
});

test("what the document does not have does not compile", () => {
  // Never called: each line is refused by the compiler, or its directive is.
  const refused = async () => {
    // @ts-expect-error there is no such path
    await client.GET("/v1/job");
    // @ts-expect-error there is no such method
    await client.POST("/v1/types", {});
    // @ts-expect-error the payload is missing
    await client.POST("/v1/jobs", { body: { type: "greet" } });
    // @ts-expect-error a priority is a number
    await client.POST("/v1/jobs", { body: { type: "greet", payload: {}, priority: "high" } });
    // @ts-expect-error the id is missing
    await client.GET("/v1/jobs/{id}", {});
    // @ts-expect-error there is no such parameter
    await client.GET("/v1/jobs", { params: { query: { limmit: 1 } } });
    // @ts-expect-error a limit is a number
    await client.GET("/v1/jobs", { params: { query: { limit: "many" } } });
    // @ts-expect-error there is no such action
    await client.POST("/v1/bulk", { body: { action: "delete", q: "state:failed", reason: "tidy" } });
  };
  expectTypeOf(refused).toBeFunction();
});
