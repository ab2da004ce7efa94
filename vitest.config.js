import { defineConfig } from "vitest/config";

// The compiled code is what is tested: it is what is published, and what threads and child processes load.
export default defineConfig({
  test: {
    include: ["packages/*/dist/**/*.test.js", "apps/*/dist/**/*.test.js", "examples/dist/**/*.test.js"],
    exclude: ["**/node_modules/**"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: process.env.CI ? ["default", "./.ci/summary-reporter.js"] : ["default"],
  },
});
