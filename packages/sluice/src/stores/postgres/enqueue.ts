/**
 * Adds jobs. Most need one statement; those with a unique key, a group or a limit go through the desk, where others' are known.
 * Those with an idempotency key claim it first, and the first under its key then goes the way of its like.
 */
import type { JobState } from "../../job.js";
import { created, dueAt, enqueueOne } from "../../moves.js";
import type { EnqueueResult, NewJob } from "../../store.js";
import { firstState } from "../../transition.js";
import { TryAgain } from "./database.js";
import { Desk } from "./desk.js";
import type { Effects } from "./effects.js";
import { IdempotencyKeys } from "./idempotency-keys.js";
import { insertJobs } from "./insert.js";
import type { Sql } from "./sql.js";

/** In a transaction that may hold more than this. */
export async function enqueue(sql: Sql, jobs: readonly NewJob[], effects: Effects): Promise<readonly EnqueueResult[]> {
  const idempotency = await IdempotencyKeys.claim(sql, jobs);
  try {
    const results = await enqueueClaimed(sql, jobs, { effects, idempotency });
    await idempotency.close();
    return results;
  } catch (error) {
    if (error instanceof TryAgain) await idempotency.letGo();
    throw error;
  }
}

async function enqueueClaimed(
  sql: Sql,
  jobs: readonly NewJob[],
  { effects, idempotency }: { readonly effects: Effects; readonly idempotency: IdempotencyKeys },
): Promise<readonly EnqueueResult[]> {
  // With a job that must be asked for go all of its type: each is judged by what those before it left.
  const asked = new Set(jobs.filter(mustBeAsked).map(({ type }) => type));
  const plain = jobs.filter((job) => job.unique === null && !asked.has(job.type) && idempotency.isFirst(job));
  const byJob = (await enqueuePlain(sql, plain, effects)) ?? new Map<NewJob, EnqueueResult>();
  for (const job of byJob.keys()) idempotency.added(job);
  const others = jobs.filter((job) => !byJob.has(job));
  if (others.length > 0) {
    const keys = others.flatMap(({ unique }) => unique?.key ?? []);
    const ids = others.map(({ id }) => id);
    const withPayload = keys.length > 0 || others.some((job) => job.idempotency !== null);
    const desk = await Desk.open(sql, { ids, keys, arrivals: others, idempotency, withPayload });
    await idempotency.readJobs(others);
    for (const job of others) byJob.set(job, enqueueOne(desk, job));
    await desk.close(effects);
  }
  return jobs.map((job) => byJob.get(job)!);
}

/** One statement, which needs no transaction around it. Null when it does not do: some must be asked for on the desk. */
export async function enqueueAtOnce(
  sql: Sql,
  jobs: readonly NewJob[],
  effects: Effects,
): Promise<readonly EnqueueResult[] | null> {
  if (jobs.some((job) => job.unique !== null || job.idempotency !== null || mustBeAsked(job))) return null;
  const byJob = await enqueuePlain(sql, jobs, effects);
  return byJob === null ? null : jobs.map((job) => byJob.get(job)!);
}

/** What its type takes in, or its group's turn, depends on other jobs. */
function mustBeAsked({ controls, intake }: NewJob): boolean {
  const isLimited = intake !== null && (intake.limit !== null || intake.isOn === false);
  return isLimited || (controls !== null && controls.group !== null);
}

async function enqueuePlain(
  sql: Sql,
  jobs: readonly NewJob[],
  effects: Effects,
): Promise<Map<NewJob, EnqueueResult> | null> {
  const byJob = new Map<NewJob, EnqueueResult>();
  if (jobs.length === 0) return byJob;
  const { now, added } = await insertJobs(sql, jobs);
  if (added === "ask") return null;
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
  return byJob;
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
