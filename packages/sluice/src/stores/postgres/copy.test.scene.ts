/**
 * What a test of the copy works with: a SQLite store and an empty schema of a PostgreSQL server on one clock, and everything that
 * can be seen of a store.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testPostgresUrl } from "@sluice/test-postgres";
import type { Store } from "../../store.js";
import { ManualClock } from "../../testing/manual-clock.js";
import { Scene } from "../../testing/conformance/scene.js";
import { sqlite } from "../sqlite/index.js";
import type { SqliteStore } from "../sqlite/index.js";
import { postgres } from "./index.js";
import type { PostgresStore } from "./index.js";
import { giveBack, takeSchema } from "./suite.test.target.js";

export interface CopyScene {
  readonly clock: ManualClock;
  /** Of the target. */
  readonly schema: string;
  readonly from: SqliteStore & Store<unknown>;
  readonly to: PostgresStore & Store<unknown>;
  /** On the source. */
  readonly scene: Scene;
  /** On the target. */
  readonly after: Scene;
  dispose(): Promise<void>;
}

/** Durability is not what these tests are about. */
const inMemory = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export async function aCopyScene(clock = new ManualClock()): Promise<CopyScene> {
  const folder = mkdtempSync(join(inMemory, "sluice-copy-"));
  const from = (await sqlite({ path: join(folder, "jobs.db"), clock })) as SqliteStore & Store<unknown>;
  const schema = takeSchema();
  const to = (await postgres({ url: testPostgresUrl(), schema, clock })) as PostgresStore & Store<unknown>;
  return {
    clock,
    schema,
    from,
    to,
    scene: new Scene({ store: from, dispose: async () => undefined }, clock),
    after: new Scene({ store: to, dispose: async () => undefined }, clock),
    async dispose() {
      await from.close();
      await to.close();
      await giveBack(schema);
      rmSync(folder, { recursive: true });
    },
  };
}

/** Everything but workers, which stay where they are. */
export async function everythingIn(store: Store<unknown>) {
  const { jobs } = await store.list({ filter: {}, page: { before: null, limit: 10_000 } });
  const belongings = await Promise.all(
    jobs.map(async ({ id }) => [id, { history: await store.history(id), steps: await store.recall(id) }] as const),
  );
  const counts = (await store.counts()).filter(({ counts }) => Object.values(counts).some((n) => n > 0));
  return {
    jobs,
    belongings: Object.fromEntries(belongings),
    // Places are each store's own.
    audit: (await store.audit({ limit: 10_000 })).records.map((record) => ({ ...record, seq: null })),
    settings: await store.settings(),
    accessKeys: (await store.accessKeys()).filter(({ parent }) => parent === null),
    counts: [...counts].sort((a, b) => (a.type < b.type ? -1 : 1)),
  };
}

export async function digestOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of bytes) hash.update(chunk);
  return hash.digest("hex");
}
