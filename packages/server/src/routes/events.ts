/** What can be followed: a job, and the whole. */
import { covers, isPaused, type Job, type Waiting } from "sluice";
import { jobs, operations } from "../contract/index.js";
import type { Deps } from "../deps.js";
import type { Snapshot, Source } from "../live.js";
import type { Mount } from "../route.js";
import { besides, jobBody, workerFor } from "../views.js";
import { isTerminal } from "../waits.js";
import { jobFor } from "./jobs.js";

export function eventRoutes(mount: Mount, deps: Deps): void {
  const job = jobSource(deps);
  const overview = overviewSource(deps);

  mount(jobs.streamJob, async ({ params, principal, request, reply }) => {
    const { id } = await jobFor(deps, params.id, principal);
    await deps.live.follow({ source: job, key: id }, { request, reply, principal });
    return null;
  });

  mount(operations.streamOverview, async ({ principal, request, reply }) => {
    await deps.live.follow({ source: overview, key: "" }, { request, reply, principal });
    return null;
  });
}

function jobSource(deps: Deps): Source {
  const { queue } = deps;
  return {
    event: "job",
    look: async (ids) => {
      const [found, waiting] = await Promise.all([queue.getMany(ids), queue.waiting(ids)]);
      const there = found.flatMap((job, index) => (job === null ? [] : [{ job, waiting: waiting[index] ?? null }]));
      return new Map(there.map(({ job, waiting }) => [job.id, snapshotOf(deps, job, waiting)]));
    },
  };
}

function snapshotOf(deps: Deps, job: Job, waiting: Waiting | null): Snapshot {
  return {
    isFinal: isTerminal(job),
    dataFor: (principal) => ({
      ...jobBody(job, principal, deps),
      waiting: besides(job, principal, deps).waiting(waiting),
    }),
  };
}

function overviewSource({ queue, now }: Deps): Source {
  return {
    event: "overview",
    look: async () => {
      const [counts, settings, workers] = await Promise.all([queue.counts(), queue.settings(), queue.workers()]);
      const paused = new Set(settings.filter((each) => isPaused(each, now())).map(({ type }) => type));
      const dataFor: Snapshot["dataFor"] = (principal) => ({
        types: counts
          .filter(({ type }) => covers(principal, type))
          .map(({ type, counts: states }) => ({ type, counts: states, isPaused: paused.has(type) })),
        // When a lease ends changes with each heartbeat and says nothing new.
        workers: workers.flatMap((record) => {
          const seen = workerFor(record, principal);
          if (seen === null) return [];
          const { leaseExpiresAt: _, ...worker } = seen;
          return [worker];
        }),
      });
      return new Map([["", { isFinal: false, dataFor }]]);
    },
  };
}
