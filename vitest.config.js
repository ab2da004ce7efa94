import { defineConfig } from "vitest/config";

const tests = "{packages/*,apps/*,tools/*,examples}/dist/**/*.test.js";
/** Test files that need PostgreSQL have it in their path. A run without any of them starts no server. */
const postgresTests = "{packages/*,apps/*,tools/*,examples}/dist/**/*postgres*{,/**/*}.test.js";
const ownServers = "tools/postgres/dist/**/*.test.js";
const others = ["**/node_modules/**"];

// The compiled code is what is tested: it is what is published, and what threads and child processes load.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: process.env.CI ? ["default", "./.ci/summary-reporter.js"] : ["default"],
    projects: [
      {
        extends: true,
        test: {
          name: "plain",
          include: [tests],
          exclude: [...others, postgresTests, ownServers],
          // Not even when the other project's is running: such a test would fail as soon as it runs alone.
          env: { SLUICE_TEST_POSTGRES_URL: "" },
        },
      },
      {
        extends: true,
        test: {
          name: "postgres",
          include: [postgresTests, ownServers],
          exclude: others,
          globalSetup: "tools/postgres/dist/global-setup.js",
          // The life tier moves its own clock while the server takes its own time: on a busy machine a case may come out late. It gets a
          // second try in CI, and the report says so ("retry x1").
          retry: process.env.CI ? 1 : 0,
        },
      },
    ],
  },
});
