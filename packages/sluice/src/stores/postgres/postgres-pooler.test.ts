/**
 * The whole conformance suite and the life tier through PgBouncer in transaction mode, which gives the server's session to somebody
 * else after each transaction: nothing may be left on one. Without PgBouncer there is one test, which says so.
 */
import { startPgBouncer, testPostgresUrl } from "@sluice/test-postgres";
import { afterAll, test } from "vitest";
import { describeLife, describeStore } from "../../testing/index.js";
import { postgresTarget } from "./suite.test.target.js";

// Fewer sessions than connections, so that they must be shared.
const pooler = await startPgBouncer({
  url: testPostgresUrl(),
  poolMode: "transaction",
  settings: { default_pool_size: "6" },
});

if ("unavailable" in pooler) {
  process.stderr.write(`postgres-pooler.test.ts skipped: ${pooler.unavailable}\n`);
  test(`the store works through a pooler [skipped: ${pooler.unavailable}]`, () => undefined);
} else {
  afterAll(() => pooler.stop());
  const target = postgresTarget("postgres through PgBouncer", { url: pooler.url, listenUrl: testPostgresUrl() });
  describeStore(target);
  describeLife(target);
}
