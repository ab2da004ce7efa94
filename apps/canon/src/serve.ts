/**
 * The half of the application that answers requests: HTTP, and the model for queries. Runs no jobs.
 */
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import type { Queue } from "sluice";
import type { Logger } from "pino";
import type { Config } from "./config.js";
import type { Database } from "./database/database.js";
import type { Embedder } from "./embedding/embedder.js";
import { buildService } from "./service.js";

export interface Serving {
  readonly url: string;
  /** Takes no more requests. Those under way go on until `cut`. */
  close(): { readonly closed: Promise<void>; readonly cut: () => void };
}

/** @throws {Error} A sentence for the user when the port cannot be had. */
export async function serve(
  deps: {
    readonly database: Database;
    readonly queue: Queue<unknown>;
    readonly embedder: Embedder;
    readonly now: () => number;
    readonly logger: Logger;
  },
  config: Config,
): Promise<Serving> {
  const { database, queue, embedder, now, logger } = deps;
  // A query may not wait for the model to load.
  await embedder.preload();
  const service = buildService({
    library: database.library,
    blobs: database.store.blobs,
    queue,
    embedder,
    now,
    logger,
  });
  try {
    await listen(service, config);
  } catch (error) {
    await service.close();
    throw error;
  }
  const { port } = service.server.address() as AddressInfo;
  return {
    url: `http://${config.SLUICE_HOST === "::1" ? "[::1]" : config.SLUICE_HOST}:${port}`,
    close: () => ({ closed: service.close(), cut: () => service.server.closeAllConnections() }),
  };
}

async function listen(service: FastifyInstance, { SLUICE_HOST: host, SLUICE_PORT: port }: Config): Promise<void> {
  try {
    await service.listen({ host, port });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== "EADDRINUSE" && code !== "EACCES") throw cause;
    const why = code === "EADDRINUSE" ? "another program listens there" : "this user may not listen there";
    throw new Error(`Port ${port} on ${host} cannot be used: ${why}. Set SLUICE_PORT to another one.`, { cause });
  }
}
