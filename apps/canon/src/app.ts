/**
 * Puts the application together: store, queue, worker, embedding model and HTTP service, in one process. `stop` undoes it in
 * the order that loses nothing.
 */
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { Events, Queue, Worker } from "sluice";
import { sqlite, type Connection, type SqliteStore } from "sluice/sqlite";
import type { Logger } from "pino";
import type { Config } from "./config.js";
import { embedProcessor } from "./embed.js";
import { createEmbedder, type Embedder } from "./embedding/embedder.js";
import { ingestProcessor, removeSpentBlobs } from "./ingest.js";
import { ingest } from "./jobs.js";
import { migrateLibrary } from "./library.js";
import { reconcile, reconcileAll } from "./reconcile.js";
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
  const store = await sqlite({
    path: join(config.SLUICE_DATA, "canon.db"),
    application: { allowExtension: true, setup: prepareSearch },
  });
  await store.write((tx) => {
    migrateLibrary(tx);
    migrateSearch(tx);
  });

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
  const deps = { store, queue, now };
  const quietly = (work: Promise<unknown>) =>
    work.catch((err: unknown) => logger.error({ err }, "telling imports about ended jobs failed"));
  for (const ending of ["job.failed", "job.cancelled"] as const) {
    events.on(ending, ({ job }) => {
      void quietly(queue.get(job.id).then((ended) => ended && reconcile(deps, ended)));
    });
  }
  // Jobs that another process, or nobody, saw end.
  const reconciling = setInterval(() => void quietly(reconcileAll(deps)), 60_000);
  reconciling.unref();

  const service = buildService({ store, queue, embedder, now, logger });
  try {
    await reconcileAll(deps);
    await removeSpentBlobs(deps);
    // The door first: a process that cannot open it must not take jobs from one that could.
    await listen(service, config);
    await worker.start();
  } catch (error) {
    clearInterval(reconciling);
    await service.close();
    await embedder.close();
    await store.close();
    throw error;
  }
  const { port } = service.server.address() as AddressInfo;

  return {
    url: `http://${config.SLUICE_HOST === "::1" ? "[::1]" : config.SLUICE_HOST}:${port}`,
    store,
    queue,
    embedder,
    async stop() {
      clearInterval(reconciling);
      const closed = service.close();
      await worker.stop({ graceMs: stopGraceMs });
      // Uploads had the same grace; one that stands still must not hold the process.
      service.server.closeAllConnections();
      await closed;
      await queue.close();
      await embedder.close();
      await store.close();
    },
  };
}

const stopGraceMs = 5_000;

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
