/** A service and its worker with the jobs of demo-jobs.ts, on a store of the caller's. */
import { startService, type Service, type StartOptions } from "@sluice/server";
import { Events, Queue, Worker, type Store } from "sluice";
import { definitions, processors } from "./demo-jobs.js";

export interface Demo {
  readonly service: Service;
  readonly queue: Queue<unknown>;
  readonly worker: Worker<unknown>;
  /** Stops all of it but the store. */
  stop(): Promise<void>;
}

export async function startDemo(store: Store<unknown>, options: Partial<StartOptions> = {}): Promise<Demo> {
  const events = new Events();
  const queue = new Queue<unknown>({ store, events });
  const worker = new Worker<unknown>({ store, events, processors: processors as never });
  const service = await startService({
    store,
    queue,
    definitions,
    workerId: () => worker.workerId,
    port: 0,
    ...options,
  });
  await worker.start();
  return {
    service,
    queue,
    worker,
    stop: async () => {
      await Promise.all([service.close({ graceMs: 1_000 }), worker.stop({ graceMs: 1_000 })]);
      await queue.close();
    },
  };
}
