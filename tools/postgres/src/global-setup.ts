/** For vitest's `globalSetup`: one server for a whole run, or the one that SLUICE_TEST_POSTGRES_URL names already. */
import type { TestProject } from "vitest/node";
import { startPostgres } from "./postgres.js";
import { failureVariable, urlVariable } from "./test-server.js";

declare module "vitest" {
  interface ProvidedContext {
    /** Null: it could not be started. */
    postgresUrl: string | null;
  }
}

// Every commit still waits for its place in the log, as in production; only the disk is spared.
const settings = { max_connections: "300", fsync: "off" };

// ts-unused-exports:disable-next-line
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | void> {
  const given = process.env[urlVariable];
  if (given !== undefined && given !== "") return project.provide("postgresUrl", given);
  try {
    const server = await startPostgres({ settings });
    process.env[urlVariable] = server.url;
    project.provide("postgresUrl", server.url);
    return async () => {
      delete process.env[urlVariable];
      await server.stop();
    };
  } catch (error) {
    // The tests that need no server can still run; those that do say why they failed.
    process.env[failureVariable] = (error as Error).message;
    project.provide("postgresUrl", null);
  }
}
