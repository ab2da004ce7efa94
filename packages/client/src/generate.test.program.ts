/** Writes schema.ts from the document of the service: `npm run generate -w packages/client`. The test checks that it is up to date. */
import { writeFile } from "node:fs/promises";
import { schemaText } from "./schema.test.text.js";

await writeFile(new URL("../src/schema.ts", import.meta.url), await schemaText());
