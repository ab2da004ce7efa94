/**
 * A worker process of the outage experiment: every job asks the service once and fails when it does not answer well.
 */
import { handle, Worker } from "sluice";
import { asking } from "./experiment-jobs.js";
import { openAt } from "./open-at.js";

const [address, url, concurrency] = process.argv.slice(2) as [string, string, string];
const store = await openAt(address);
const worker = new Worker({
  store,
  concurrency: Number(concurrency),
  processors: [
    handle(asking, async ({ payload }, { signal }) => {
      const answer = await fetch(`${url}/${payload.index}`, { signal });
      await answer.text();
      if (!answer.ok) throw new Error(`The service answered ${answer.status}.`);
    }),
  ],
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
