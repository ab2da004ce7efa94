/**
 * The workers and their leases. Knows nothing of jobs.
 */
import type { WorkerBeat, WorkerRecord } from "../../store.js";
import { parseWorkedTypes } from "../../worked-types.js";

type Worker = Omit<WorkerRecord, "processing">;

export class MemoryWorkers {
  readonly #workers = new Map<string, Worker>();

  /** Registers a worker or renews its lease, unless it was declared lost. */
  beat(beat: WorkerBeat, now: number): "held" | "lost" {
    const known = this.#workers.get(beat.workerId);
    if (known?.isLost === true) return "lost";
    const { workerId, leaseMs, host, pid, types, concurrency } = beat;
    this.#workers.set(workerId, {
      workerId,
      leaseMs,
      host,
      pid,
      // A copy, read as the other stores read theirs.
      types: parseWorkedTypes(JSON.stringify(types)),
      concurrency,
      startedAt: known?.startedAt ?? now,
      leaseExpiresAt: now + leaseMs,
      isLost: false,
    });
    return "held";
  }

  isLost(workerId: string | null): boolean {
    return workerId !== null && this.#workers.get(workerId)?.isLost === true;
  }

  /** Declares workers whose lease ran out lost, for good, and names them. */
  loseExpired(now: number): readonly string[] {
    const expired = [...this.#workers.values()].filter((worker) => !worker.isLost && worker.leaseExpiresAt <= now);
    for (const worker of expired) this.#workers.set(worker.workerId, { ...worker, isLost: true });
    return expired.map((worker) => worker.workerId);
  }

  /** A worker that goes while it holds jobs stays as a lost one: otherwise nobody would ever find those jobs. */
  retire(workerId: string, { isHoldingJobs }: { readonly isHoldingJobs: boolean }): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    if (isHoldingJobs) this.#workers.set(workerId, { ...worker, isLost: true });
    else this.#workers.delete(workerId);
  }

  all(): Iterable<Worker> {
    return this.#workers.values();
  }
}
