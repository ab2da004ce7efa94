/**
 * The conformance suite and the life tier through PgBouncer in transaction mode, which gives the server's session to somebody else after
 * each transaction: nothing may be left on one. One case in three, spread over all topics, since each of them runs without a pooler as
 * well; SLUICE_POOLER_CASES=all runs the whole. Without PgBouncer there is one test, which says so.
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
  const whole = postgresTarget("postgres through PgBouncer", { url: pooler.url, listenUrl: testPostgresUrl() });
  const every = process.env["SLUICE_POOLER_CASES"] === "all" ? 1 : 3;
  if (every > 1) process.stderr.write("postgres-pooler.test.ts: one case in three; all with SLUICE_POOLER_CASES=all\n");
  let cases = 0;
  const one: typeof whole.framework.test = (name, body) => {
    if (cases++ % every === 0) whole.framework.test(name, body);
  };
  const target = { ...whole, framework: { ...whole.framework, test: one } };
  describeStore(target);
  describeLife(target);
}
