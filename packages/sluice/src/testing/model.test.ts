/**
 * The SQLite store beside the memory store, under random commands.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import type { Store } from "../store.js";
import { sqlite } from "../stores/sqlite/index.js";
import { expectLikeMemory, modelRuns } from "./model.test.suite.js";

/** Durability is not what this test is about, and waiting for a disk thousands of times is. */
const inMemory = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
/** Opening a store, with its thread, takes most of the time: long sequences find more per second than many. */
const extent = modelRuns(60);

test("the memory store and the SQLite store cannot be told apart", { timeout: extent.limitMs + 10_000 }, () =>
  expectLikeMemory(async (clock) => {
    const folder = mkdtempSync(join(inMemory, "sluice-model-"));
    const store = await sqlite({ path: join(folder, "jobs.db"), clock });
    return {
      store: store as unknown as Store<unknown>,
      async dispose() {
        await store.close();
        rmSync(folder, { recursive: true });
      },
    };
  }, extent),
);
