/**
 * The half of the application that answers requests: HTTP, and the model for queries. Runs no jobs.
 */
import { startService } from "@sluice/server";
import type { Queue } from "sluice";
import type { Logger } from "pino";
import type { Config } from "./config.js";
import type { Database } from "./database/database.js";
import type { Embedder } from "./embedding/embedder.js";
import { embed, ingest } from "./jobs.js";
import { canonRoutes } from "./service.js";

export interface Serving {
  readonly url: string;
  /** Nobody needs a key. */
  readonly isOpen: boolean;
  /** Takes no more requests. Those under way have so long; an upload that stands still must not hold the process. */
  close(graceMs: number): Promise<void>;
}

/** @throws {Error} A sentence for the user when the port cannot be had. */
export async function serve(
  deps: {
    readonly database: Database;
    readonly queue: Queue<unknown>;
    readonly embedder: Embedder;
    readonly now: () => number;
    readonly logger: Logger;
    readonly workerId: () => string | null;
  },
  config: Config,
): Promise<Serving> {
  const { database, queue, embedder, now, logger, workerId } = deps;
  const { store, library } = database;
  // A query may not wait for the model to load.
  await embedder.preload();
  const service = await startService({
    store,
    queue,
    definitions: [ingest, embed],
    workerId,
    logger,
    host: config.SLUICE_HOST,
    port: config.SLUICE_PORT,
    more: (app, edge) => canonRoutes(app, edge, { library, blobs: store.blobs, queue, embedder, now }),
  });
  return { url: service.url, isOpen: service.isOpen, close: (graceMs) => service.close({ graceMs }) };
}
