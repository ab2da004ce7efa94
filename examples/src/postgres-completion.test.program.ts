/**
 * A worker to be killed. It says "credited" when the account is credited and the transaction still open, in which it then stays if it
 * was told to; "completed" when the transaction is committed.
 */
import { Worker } from "sluice";
import { postgres } from "sluice/postgres";
import { creditor } from "./postgres-completion.js";

const [url, whatThen] = process.argv.slice(2);

const store = await postgres({ url: url! });
const worker = new Worker({
  store,
  leaseMs: 300,
  processors: [
    creditor(async () => {
      process.send?.("credited");
      if (whatThen === "stay") await new Promise(() => undefined);
    }),
  ],
});
// Before the handler has returned: whoever dies here has committed all the same.
worker.use(async (_job, _ctx, next) => {
  await next();
  process.send?.("completed");
  await new Promise(() => undefined);
});
await worker.start();
