/**
 * Puts the application together: store, queue, worker, embedding model and HTTP service, in one process. `stop` undoes it in
 * the order that loses nothing.
 */
import { mkdirSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Events, Queue, Worker } from "sluice";
import { sqlite, type Connection, type SqliteStore } from "sluice/sqlite";
import type { Logger } from "pino";
import type { Config } from "./config.js";
import { embedProcessor, reconcileFailedEmbeds } from "./embed.js";
import { createEmbedder, type Embedder } from "./embedding/embedder.js";
import { ingestProcessor } from "./ingest.js";
import { embed, ingest } from "./jobs.js";
import { migrateLibrary } from "./library.js";
import { migrateSearch, prepareSearch } from "./search/index-tables.js";
import { buildService } from "./service.js";

export interface Canon {
  readonly url: string;
  readonly store: SqliteStore;
  readonly queue: Queue<Connection>;
  readonly embedder: Embedder;
  /** Stops accepting, gives back or finishes what runs, closes. */
  stop(): Promise<void>;
}

export async function startCanon(config: Config, logger: Logger): Promise<Canon> {
  const now = () => Date.now();
  mkdirSync(config.SLUICE_DATA, { recursive: true, mode: 0o700 });
  const store = await sqlite({
    path: join(config.SLUICE_DATA, "canon.db"),
    application: { allowExtension: true, setup: prepareSearch },
  });
  migrateLibrary(store.connection);
  migrateSearch(store.connection);

  const events = new Events();
  logEvents(events, logger);
  const queue = new Queue({ store, events });
  const embedder = createEmbedder({ threads: config.CANON_EMBED_THREADS });
  await embedder.preload();
  const worker = new Worker({
    store,
    events,
    processors: [ingestProcessor({ store, queue, now }), embedProcessor({ store, embedder, now })],
    concurrency: config.SLUICE_CONCURRENCY,
    // Imports take turns, and leave room for the embedding that makes them searchable.
    typeConcurrency: { [ingest.type]: 1 },
    leaseMs: config.SLUICE_LEASE_MS,
    retentionMs: config.SLUICE_RETENTION_DAYS * 24 * 60 * 60 * 1_000,
  });
  const reconcile = () =>
    reconcileFailedEmbeds({ store, now }, queue).catch((err: unknown) => logger.error({ err }, "reconciling failed"));
  events.on("job.failed", ({ job }) => job.type === embed.type && void reconcile());

  const service = buildService({ store, queue, embedder, now, logger });
  await reconcile();
  await worker.start();
  await service.listen({ host: config.SLUICE_HOST, port: config.SLUICE_PORT });
  const { port } = service.server.address() as AddressInfo;

  return {
    url: `http://${config.SLUICE_HOST === "::1" ? "[::1]" : config.SLUICE_HOST}:${port}`,
    store,
    queue,
    embedder,
    async stop() {
      await service.close();
      await worker.stop({ graceMs: 5_000 });
      await queue.close();
      await embedder.close();
      await store.close();
    },
  };
}

/** Logging is a subscriber: jobs by id, type and correlation, never by payload. */
function logEvents(events: Events, logger: Logger): void {
  events.on("job.retried", (event) => logger.warn(event, "job will be retried"));
  events.on("job.failed", (event) => logger.error(event, "job failed"));
  events.on("job.completed", (event) => logger.debug(event, "job completed"));
  events.on("job.abandoned", (event) => logger.error(event, "handler ignored its signal"));
  events.on("worker.rescued", (event) => logger.warn(event, "jobs of a lost worker brought back"));
  events.on("worker.leaseLost", (event) => logger.error(event, "worker lost its lease"));
  events.on("worker.troubled", ({ during, error }) => logger.error({ err: error, during }, "worker in trouble"));
}
