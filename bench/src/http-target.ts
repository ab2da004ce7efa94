/** The process that http.ts asks: the service on a fresh store, and a route that does nothing. Ends with its parent. */
import Fastify from "fastify";
import { startService } from "@sluice/server";
import { demoJobs } from "@sluice/test-http";
import { Queue } from "sluice";
import { postgresBed } from "./postgres-bed.js";
import { sqliteBed } from "./sqlite-bed.js";

const [kind, url] = process.argv.slice(2);
const bed = kind === "postgres" ? await postgresBed(url) : sqliteBed();

await bed.with(async (store) => {
  const queue = new Queue<unknown>({ store });
  const service = await startService({ store, queue, definitions: demoJobs.definitions, port: 0 });
  const nothing = Fastify();
  nothing.post("/", async () => ({ ok: true }));
  const address = await nothing.listen({ host: "127.0.0.1", port: 0 });
  process.send!({ jobs: `${service.url}/v1/jobs`, nothing: address });
  await new Promise<void>((resolve) => {
    process.on("message", () => resolve());
    process.on("disconnect", () => resolve());
  });
  await Promise.all([service.close(), nothing.close()]);
  await queue.close();
});
await bed.end();
process.exit(0);
