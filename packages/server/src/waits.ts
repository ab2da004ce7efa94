/** Callers who wait for the end of a job before they are answered (`Prefer: wait`). */
import { hasEnded, JobsError, type Job } from "sluice";
import type { Deps } from "./deps.js";

export function isTerminal(job: Pick<Job, "state">): boolean {
  return hasEnded(job.state);
}

/** The job when it has ended in time; null when it has not, when too many wait already, or the service is stopping. */
export async function waitForEnd(
  { queue, gate }: Pick<Deps, "queue" | "gate">,
  job: Job,
  timeoutMs: number,
): Promise<Job | null> {
  if (isTerminal(job)) return job;
  if (timeoutMs === 0 || !gate.startWaiting()) return null;
  try {
    return await Promise.race([queue.waitFor(job.id, { timeoutMs }), gate.closed]);
  } catch (error) {
    // The job is there, whatever became of the wait.
    if (error instanceof JobsError) return null;
    throw error;
  } finally {
    gate.stopWaiting();
  }
}
