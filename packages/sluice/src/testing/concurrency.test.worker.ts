/**
 * A worker process of the concurrency experiment: marks in a file when each handler begins and ends.
 */
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { handle } from "../processor.js";
import type { Store } from "../store.js";
import { postgres } from "../stores/postgres/index.js";
import { sqlite } from "../stores/sqlite/index.js";
import { Worker } from "../worker.js";
import { marked } from "./concurrency.test.definition.js";

const [address, marks] = process.argv.slice(2) as [string, string];
const mark = (sign: "+" | "-") => appendFileSync(marks, `${sign}${Date.now()}\n`);

const store = (
  address.startsWith("postgres://") ? await postgres({ url: address }) : await sqlite({ path: address })
) as Store<unknown>;
const worker = new Worker({
  store,
  concurrency: 10,
  processors: [
    handle(marked, async ({ payload }) => {
      mark("+");
      await sleep(payload.runMs);
      mark("-");
    }),
  ],
});
await worker.start();
process.send!("ready");
