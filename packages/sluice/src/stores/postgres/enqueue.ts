/**
 * Adds jobs. Those without a unique key need one statement; those with one go through the desk, where somebody may hold the key.
 */
import type { JobState } from "../../job.js";
import { created, dueAt, enqueueOne } from "../../moves.js";
import type { EnqueueResult, NewJob } from "../../store.js";
import { firstState } from "../../transition.js";
import { Desk } from "./desk.js";
import type { Effects } from "./effects.js";
import { insertJobs } from "./insert.js";
import type { Sql } from "./sql.js";

/** In a transaction that may hold more than this. */
export async function enqueue(sql: Sql, jobs: readonly NewJob[], effects: Effects): Promise<readonly EnqueueResult[]> {
  const keyed = jobs.filter((job) => job.unique !== null);
  const byJob = new Map<NewJob, EnqueueResult>();
  await enqueuePlain(sql, keyed.length === 0 ? jobs : jobs.filter((job) => job.unique === null), effects, byJob);
  if (keyed.length > 0) {
    const keys = keyed.map(({ unique }) => unique!.key);
    const desk = await Desk.open(sql, { ids: keyed.map(({ id }) => id), keys, withPayload: true });
    for (const job of keyed) byJob.set(job, enqueueOne(desk, job));
    await desk.close(effects);
  }
  return jobs.map((job) => byJob.get(job)!);
}

/** Whether one statement does it all: then it needs no transaction around it. */
export function arePlain(jobs: readonly NewJob[]): boolean {
  return jobs.every((job) => job.unique === null);
}

async function enqueuePlain(
  sql: Sql,
  jobs: readonly NewJob[],
  effects: Effects,
  byJob: Map<NewJob, EnqueueResult>,
): Promise<void> {
  if (jobs.length === 0) return;
  const { now, added } = await insertJobs(sql, jobs);
  const known = added === null ? null : await sentBefore(sql, jobs, added);
  for (const job of jobs) {
    const before = known?.get(job.id);
    if (before !== undefined) {
      byJob.set(job, created({ job: before }));
      continue;
    }
    const due = dueAt(job, now);
    const state = firstState(due, now);
    effects.added(job, state, due ?? now);
    byJob.set(job, { outcome: "created", state, createdAt: now, runAt: due ?? now });
  }
}

/** Jobs of these ids that an earlier call has added, or an earlier line of this one. */
async function sentBefore(sql: Sql, jobs: readonly NewJob[], added: ReadonlySet<string>) {
  const ids = jobs.filter(({ id }) => !added.has(id)).map(({ id }) => id);
  if (ids.length === 0) return null;
  const rows = await sql.rows<{ id: string; state: JobState; created_at: number | string; run_at: number | string }>(
    selectStates,
    [ids],
  );
  return new Map(
    rows.map((row) => [
      row.id,
      { state: row.state, createdAt: Number(row.created_at), runAt: Number(row.run_at) } as const,
    ]),
  );
}

// Primary keys.
const selectStates = `
  select job.id, job.state::text as state, job.created_at, job.run_at
  from sluice.jobs as job
  where job.id = any ($1::uuid[])
  union all
  select job.id, job.state::text as state, job.created_at, job.run_at
  from sluice.history as job
  where job.id = any ($1::uuid[])`;
