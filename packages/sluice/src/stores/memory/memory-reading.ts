/**
 * Questions that change nothing: which jobs match, page by page, and how many there are in each state.
 */
import { jobStates } from "../../job.js";
import type { JobId, JobRecord, JobState } from "../../job.js";
import type { JobFilter, Page, TypeCounts } from "../../store.js";
import type { MemoryRow } from "./memory-rows.js";

/** One page of the rows that match, newest id first. `next` is null when it reaches the end. */
export function pageOf(
  rows: Iterable<MemoryRow>,
  { filter, page }: { readonly filter: JobFilter; readonly page: Page },
): { readonly rows: readonly MemoryRow[]; readonly next: JobId | null } {
  const { before, limit } = page;
  const rest = [...rows]
    .filter(({ job }) => (before === null || job.id < before) && matches(job, filter))
    .sort((a, b) => (a.job.id < b.job.id ? 1 : -1));
  const taken = rest.slice(0, limit);
  return { rows: taken, next: rest.length > limit ? (taken.at(-1)?.job.id ?? null) : null };
}

export function countByState(rows: Iterable<MemoryRow>, types: Iterable<string>): readonly TypeCounts[] {
  const byType = new Map<string, Record<JobState, number>>();
  for (const type of types) byType.set(type, noJobs());
  for (const { job } of rows) {
    const counts = byType.get(job.type);
    if (counts !== undefined) counts[job.state] += 1;
  }
  return [...byType].map(([type, counts]) => ({ type, counts }));
}

function matches(job: JobRecord, filter: JobFilter): boolean {
  const { types, states, failReasons, correlation, createdAfter, createdBefore } = filter;
  return (
    (types === undefined || types.includes(job.type)) &&
    (states === undefined || states.includes(job.state)) &&
    (failReasons === undefined || (job.failReason !== null && failReasons.includes(job.failReason))) &&
    (correlation === undefined ||
      Object.entries(correlation).every(([key, value]) => job.correlation?.[key] === value)) &&
    (createdAfter === undefined || job.createdAt > createdAfter) &&
    (createdBefore === undefined || job.createdAt < createdBefore)
  );
}

function noJobs(): Record<JobState, number> {
  return Object.fromEntries(jobStates.map((state) => [state, 0])) as Record<JobState, number>;
}
