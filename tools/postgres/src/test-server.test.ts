import pg from "pg";
import { afterEach, expect, inject, test, vi } from "vitest";
import type {} from "./global-setup.js";
import { failureVariable, testPostgresUrl, urlVariable } from "./test-server.js";

afterEach(() => vi.unstubAllEnvs());

test("the run's server is there, the same in the environment and in vitest", async () => {
  expect(inject("postgresUrl")).toBe(testPostgresUrl());
  expect(process.env["SLUICE_TEST_POSTGRES_URL"]).toBe(testPostgresUrl());
  const client = new pg.Client(testPostgresUrl());
  await client.connect();
  const { rows } = await client.query("select current_setting('synchronous_commit') as commits");
  expect(rows).toEqual([{ commits: "on" }]);
  await client.end();
});

test("without a server it is said what to do", () => {
  vi.stubEnv(urlVariable, undefined);
  vi.stubEnv(failureVariable, undefined);
  expect(testPostgresUrl).toThrow('vitest starts one for test files with "postgres" in their path');
});

test("a server that could not be started is no riddle", () => {
  vi.stubEnv(urlVariable, undefined);
  vi.stubEnv(failureVariable, "The disk is full.");
  expect(testPostgresUrl).toThrow("The disk is full.");
});
