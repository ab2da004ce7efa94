/** What PostgreSQL cannot hold (NUL, half a character, a date beyond its calendar) is refused before it is asked. */
import { randomUUID } from "node:crypto";
import { testPostgresUrl } from "@sluice/test-postgres";
import { postgres } from "sluice/postgres";
import { expect, test } from "vitest";
import { sendHostile } from "./hostile.test.bed.js";
import { startBed } from "./service.test.bed.js";

test("nothing that a client can write is a failure of the service on PostgreSQL", { timeout: 120_000 }, async () => {
  const store = await postgres({ url: testPostgresUrl(), schema: `guard_${randomUUID().slice(0, 8)}` });
  const bed = await startBed({ store, hasWorker: false });

  const { sent, faults } = await sendHostile(bed, await bed.key({}));

  expect(faults).toEqual([]);
  expect(sent).toBeGreaterThan(1_000);
  await bed.close();
  await store.close();
});
