/**
 * A global concurrency under several processes on one database, and a rate when the database is slow.
 */
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { aBeat, aClaim, aNewJob, defaultType } from "../../testing/builders.js";
import { expectNeverMore } from "../../testing/concurrency.test.suite.js";
import { Bed, until } from "./faults.test.bed.js";

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.start();
});
afterEach(() => bed.clear());
afterAll(() => bed.server.stop());

test(
  "four processes run no more of a type at once than is set, within a second of a change",
  { timeout: 60_000 },
  async () => {
    const url = await bed.database();
    const store = await bed.store({ url });

    await expectNeverMore(store, url);
  },
);

test("a job has started when its rate was asked, however long the claim took after that", async () => {
  const url = await bed.database();
  const store = await bed.store({ url });
  await store.heartbeat(aBeat());
  await store.enqueue([aNewJob()]);
  const holder = new pg.Client(url);
  await holder.connect();
  bed.atEnd(() => holder.end());
  await holder.query(`insert into sluice.rates (name, spent_until) values ('${defaultType}', 0)`);
  await holder.query("begin");
  await holder.query("select from sluice.rates for update");

  const controls = { concurrencyPerKey: null, rate: { limit: 10, perMs: 1_000, burst: 1 }, ratePerKey: null };
  const claim = store.claim(aClaim({ types: [{ type: defaultType, controls }] }));
  const waiting = "select 1 from pg_stat_activity where application_name like 'sluice %' and wait_event_type = 'Lock'";
  await until("the claim to wait for the rate", async () => (await bed.ask(waiting)).length > 0);
  await holder.query("select pg_sleep(0.05)");
  await holder.query("rollback");

  const [job] = (await claim).jobs;
  const { rows } = await holder.query<{ spent_until: number }>("select spent_until from sluice.rates");
  expect(rows).toEqual([{ spent_until: job!.startedAt + 100 }]);
});
