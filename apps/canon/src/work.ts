/**
 * The half of the application that runs jobs: the worker, and what imports must hear of jobs that ended without doing their work.
 * Any number of processes may do it on one database.
 */
import { Worker, type Events, type Queue } from "sluice";
import type { Logger } from "pino";
import type { Config } from "./config.js";
import type { Database } from "./database/database.js";
import { embedProcessor } from "./embed.js";
import type { Embedder } from "./embedding/embedder.js";
import { ingestProcessor, removeSpentBlobs } from "./ingest.js";
import { ingest } from "./jobs.js";
import { reconcile, reconcileAll } from "./reconcile.js";

export interface Working {
  /** Null before it is on the list of workers. */
  workerId(): string | null;
  /** Gives back or finishes what runs. */
  stop(options: { readonly graceMs: number }): Promise<void>;
}

export async function work(
  deps: {
    readonly database: Database;
    readonly queue: Queue<unknown>;
    readonly events: Events;
    readonly embedder: Embedder;
    readonly now: () => number;
    readonly logger: Logger;
  },
  config: Config,
): Promise<Working> {
  const { database, queue, events, embedder, now, logger } = deps;
  const { store, library } = database;
  const worker = new Worker({
    store,
    events,
    processors: [
      ingestProcessor({ library, blobs: store.blobs, queue, now }),
      embedProcessor({ library, embedder, now }),
    ],
    concurrency: config.SLUICE_CONCURRENCY,
    // Imports take turns, and leave room for the embedding that makes them searchable.
    typeConcurrency: { [ingest.type]: 1 },
    leaseMs: config.SLUICE_LEASE_MS,
    retentionMs: config.SLUICE_RETENTION_DAYS * 24 * 60 * 60 * 1_000,
  });

  const told = { library, queue, now };
  const quietly = (telling: Promise<unknown>) =>
    telling.catch((err: unknown) => logger.error({ err }, "telling imports about ended jobs failed"));
  await reconcileAll(told);
  await removeSpentBlobs({ library, blobs: store.blobs });
  const subscriptions = (["job.failed", "job.cancelled"] as const).map((ending) =>
    events.on(ending, ({ job }) => {
      void quietly(queue.get(job.id).then((ended) => ended && reconcile(told, ended)));
    }),
  );
  // Jobs that another process, or nobody, saw end.
  const reconciling = setInterval(() => void quietly(reconcileAll(told)), 60_000);
  reconciling.unref();

  const end = () => {
    clearInterval(reconciling);
    for (const unsubscribe of subscriptions) unsubscribe();
  };
  try {
    await worker.start();
  } catch (error) {
    end();
    throw error;
  }
  return {
    workerId: () => worker.workerId,
    async stop({ graceMs }) {
      await worker.stop({ graceMs });
      end();
    },
  };
}
