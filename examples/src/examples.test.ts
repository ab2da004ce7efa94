import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
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
