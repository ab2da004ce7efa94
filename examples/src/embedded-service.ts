/**
 * An application that has its own web server mounts Sluice's routes under a prefix, and says itself who asks: here by a header that
 * a proxy in front of it would set. Everything else of the application stays as it is.
 */
import Fastify, { type FastifyInstance } from "fastify";
import { sluiceService, type Principal } from "@sluice/server";
import { defineJob, handle, Queue, Worker } from "sluice";
import { sqlite } from "sluice/sqlite";
import { z } from "zod";

const thumbnail = defineJob({
  type: "shop.thumbnail",
  payload: z.object({ productId: z.string(), uploadToken: z.string().meta({ sensitive: true }) }),
  correlation: ({ productId }) => ({ productId }),
});

/** Who is who in this application. */
const people: Readonly<Record<string, Pick<Principal, "roles" | "types">>> = {
  ada: { roles: ["admin"], types: null },
  shop: { roles: ["submit"], types: ["shop.*"] },
};

function whoAsks(user: string | undefined): Principal | null {
  const person = user === undefined ? undefined : people[user];
  if (user === undefined || person === undefined) return null;
  return { id: user, name: user, canReadPayloads: false, expiresAt: null, ...person };
}

export async function startShop(databasePath: string): Promise<{ app: FastifyInstance; stop: () => Promise<void> }> {
  const store = await sqlite({ path: databasePath });
  const queue = new Queue({ store });
  const worker = new Worker({ store, processors: [handle(thumbnail, async () => undefined)] });

  const app = Fastify();
  app.get("/", async () => "the shop");
  await app.register(sluiceService, {
    prefix: "/background",
    store,
    queue,
    definitions: [thumbnail],
    authenticate: ({ headers }) => whoAsks(headers["x-user"] as string | undefined),
  });
  await app.ready();
  await worker.start();

  const stop = async () => {
    await app.close();
    await worker.stop();
    await queue.close();
    await store.close();
  };
  return { app, stop };
}
