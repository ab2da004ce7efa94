/**
 * A worker process of the rate experiment: writes down when each of its handlers began.
 */
import { appendFileSync } from "node:fs";
import { handle, Worker } from "sluice";
import { paced } from "./experiment-jobs.js";
import { preciseNow } from "./measure.js";
import { openAt } from "./open-at.js";

const [address, marks] = process.argv.slice(2) as [string, string];
const store = await openAt(address);
const worker = new Worker({
  store,
  concurrency: 10,
  processors: [handle(paced, () => appendFileSync(marks, `${process.pid} ${preciseNow()}\n`))],
});
await worker.start();
process.on("message", () => {
  void (async () => {
    await worker.stop();
    await store.close();
    process.exit(0);
  })();
});
process.send!("ready");
