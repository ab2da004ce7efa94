/**
 * Puts the application together: database, queue and embedding model, and the half or both halves that this process is for
 * (serve.ts, work.ts). `stop` undoes it in the order that loses nothing.
 */
import { Events, Queue, type Store } from "sluice";
import type { Logger } from "pino";
import type { Config } from "./config.js";
import { openDatabase } from "./database/database.js";
import { createEmbedder } from "./embedding/embedder.js";
import { serve, type Serving } from "./serve.js";
import { work, type Working } from "./work.js";

export interface Canon {
  /** Null in a process that only runs jobs. */
  readonly url: string | null;
  /** Nobody needs a key. */
  readonly isOpen: boolean;
  readonly store: Store<unknown>;
  readonly queue: Queue<unknown>;
  /** What the user should read at start, if anything. */
  readonly notice: string | null;
  /** Stops accepting, gives back or finishes what runs, closes. */
  stop(): Promise<void>;
}

export async function startCanon(config: Config, logger: Logger): Promise<Canon> {
  const now = () => Date.now();
  const database = await openDatabase(config.SLUICE_STORE, config.SLUICE_DATA);
  const { store } = database;
  const events = new Events();
  logEvents(events, logger);
  const queue = new Queue({ store, events });
  // Its threads start with the first text: a process without jobs never loads the model for documents.
  const embedder = createEmbedder({ threads: config.CANON_EMBED_THREADS });
  const deps = { database, queue, events, embedder, now, logger };

  let serving: Serving | null = null;
  let working: Working | null = null;
  const stop = async () => {
    const door = serving?.close(stopGraceMs);
    await working?.stop({ graceMs: stopGraceMs });
    await door;
    await queue.close();
    await embedder.close();
    await store.close();
  };
  try {
    // The door first: a process that cannot open it must not take jobs from one that could.
    if (config.CANON_ROLE !== "worker")
      serving = await serve({ ...deps, workerId: () => working?.workerId() ?? null }, config);
    if (config.CANON_ROLE !== "service") working = await work(deps, config);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: serving?.url ?? null,
    isOpen: serving?.isOpen ?? true,
    store,
    queue,
    notice: serving && database.notice,
    stop,
  };
}

const stopGraceMs = 5_000;

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
