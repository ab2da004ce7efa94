/**
 * The library in SQLite under its suite.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqlite } from "../../database/sqlite.js";
import { describeLibrary, type LibraryTarget } from "../conformance/index.js";
import { describeRetrieval } from "../conformance/retrieval.js";

const target: LibraryTarget = {
  name: "SQLite",
  async open() {
    const folder = mkdtempSync(join(tmpdir(), "canon-library-"));
    const { store, library } = await openSqlite(join(folder, "canon.db"));
    return {
      library,
      async dispose() {
        await store.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
};

describeLibrary(target);
describeRetrieval(target);
