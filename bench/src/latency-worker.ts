/**
 * The other process of the end-to-end scenario: runs jobs and tells how long each took from the call of enqueue to its handler.
 */
import { handle, Worker } from "sluice";
import { preciseNow } from "./measure.js";
import { openAt } from "./open-at.js";
import { timed } from "./scenarios.js";

const store = await openAt(process.argv[2]!);
const latencies: number[] = [];
const worker = new Worker({
  store,
  concurrency: 100,
  processors: [handle(timed, (job) => void latencies.push(preciseNow() - job.payload.sentAt))],
});
await worker.start();
process.on("message", () => {
  void (async () => {
    await worker.stop();
    await store.close();
    process.send!(latencies, () => process.exit(0));
  })();
});
process.send!("ready");
