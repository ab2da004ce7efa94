/**
 * The SQLite store as the conformance suite and the life tier open it: one file for each test, with a table of the application.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "vitest";
import type { ConformanceTarget } from "../../testing/index.js";
import { sqlite } from "./index.js";
import type { SqliteTx } from "./index.js";

export const sqliteTarget: ConformanceTarget = {
  name: "sqlite",
  capabilities: { transactions: "synchronous", sharedAcrossProcesses: true },
  skip: [],
  framework: { describe, test: (name, body) => test(name, body) },
  async open({ clock }) {
    const folder = mkdtempSync(join(tmpdir(), "sluice-suite-"));
    const store = await sqlite({ path: join(folder, "jobs.db"), clock });
    return {
      store,
      application: {
        create: (tx) => (tx as SqliteTx).exec("create table rows (n integer not null)"),
        insert: (tx, n) => (tx as SqliteTx).prepare("insert into rows (n) values (?)").run(n),
        count: () => (store.connection.prepare("select count(*) as n from rows").get() as { n: number }).n,
      },
      async dispose() {
        await store.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
};
