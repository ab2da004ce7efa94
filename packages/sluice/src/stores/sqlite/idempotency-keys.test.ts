/** What is left of idempotency keys in the file. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { anIdempotency, aNewJob, ManualClock } from "../../testing/index.js";
import { sqlite } from "./index.js";

test("prune deletes keys whose period is over, a thousand at a time", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-keys-"));
  const clock = new ManualClock();
  const store = await sqlite({ path: join(folder, "jobs.db"), clock });
  const add = (keys: number, periodMs: number) =>
    store.enqueue(
      Array.from({ length: keys }, (_, n) =>
        aNewJob({ idempotency: anIdempotency({ key: `${periodMs} ${n}`, periodMs }) }),
      ),
    );
  const left = () => store.connection.prepare("select count(*) as n from sluice_idempotency_keys").get();
  await add(1_200, 1_000);
  await add(3, 1_001);
  clock.advance(1_000);

  await store.prune({ retentionMs: 0, limit: 10 });
  expect(left()).toEqual({ n: 203 });
  await store.prune({ retentionMs: 0, limit: 10 });
  expect(left()).toEqual({ n: 3 });

  await store.close();
  rmSync(folder, { recursive: true });
});
