/** The demo service as a process of its own, on a store that others share. Says where it is, and ends as a service does. */
import { stopOnSignals } from "@sluice/server";
import { startDemo } from "./demo.js";
import { openStore, type Place } from "./service.test.bed.js";

const store = await openStore(JSON.parse(process.argv[2]!) as Place);
const demo = await startDemo(store);
stopOnSignals(async () => {
  await demo.stop();
  await store.close();
});
process.send!(demo.service.url);
