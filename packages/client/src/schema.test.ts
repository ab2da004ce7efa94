import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { schemaText } from "./schema.test.text.js";

test("schema.ts is what the document of the service says", { timeout: 60_000 }, async () => {
  const [written, generated] = await Promise.all([
    readFile(new URL("../src/schema.ts", import.meta.url), "utf8"),
    schemaText(),
  ]);
  // Not toBe: the difference would be thousands of lines.
  expect(
    written === generated,
    "schema.ts is not up to date. Run: npm run build && node packages/client/dist/generate.test.program.js",
  ).toBe(true);
});
