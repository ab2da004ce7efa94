/** The catalogue of errors and the page that explains it to users say the same. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { errorCodes, isRetryable, JobsError } from "./errors.js";

const page = readFileSync(new URL("../../../docs/errors.md", import.meta.url), "utf8");
const sections = [...page.matchAll(/^## ([A-Z][A-Z_]+)$/gm)].map((match) => match[1]!);

test("docs/errors.md explains every code, and no other", () => {
  expect([...sections].sort()).toEqual(Object.keys(errorCodes).sort());
});

test("docs/errors.md explains each code once", () => {
  expect(sections).toHaveLength(new Set(sections).size);
});

test.each(Object.keys(errorCodes))("docs/errors.md says of %s what happened, why, and what to do", (code) => {
  const body = page.split(`## ${code}\n`)[1]?.split("\n## ")[0] ?? "";

  expect(body).toMatch(/\*\*Likely causes\.\*\* \S/);
  expect(body).toMatch(/\*\*What to do\.\*\* \S/);
});

test("an error carries its code, its details and its cause apart from its message", () => {
  const cause = new Error("no space left on device");

  const error = new JobsError("STORE_UNWRITABLE", "The folder cannot be written.", { path: "/data", cause });

  expect(error).toMatchObject({ name: "JobsError", code: "STORE_UNWRITABLE", details: { path: "/data" }, cause });
  expect(error.details).not.toHaveProperty("cause");
});

test("an error without a cause has none", () => {
  expect(new JobsError("JOB_NOT_FOUND", "No job.")).not.toHaveProperty("cause");
});

test("only a store that is out of reach is worth the same call again", () => {
  const codes = Object.keys(errorCodes) as (keyof typeof errorCodes)[];

  const retryable = codes.filter((code) => isRetryable(new JobsError(code, "")));

  expect(retryable).toEqual(["STORE_UNAVAILABLE"]);
  expect(isRetryable(new Error("STORE_UNAVAILABLE"))).toBe(false);
});
