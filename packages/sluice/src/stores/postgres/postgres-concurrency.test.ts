/**
 * A global concurrency under several processes on one database.
 */
import { afterAll, afterEach, beforeAll, test } from "vitest";
import { expectNeverMore } from "../../testing/concurrency.test.suite.js";
import { Bed } from "./faults.test.bed.js";

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
