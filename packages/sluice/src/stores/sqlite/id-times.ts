/**
 * Ids as a way to find when jobs were created. A UUIDv7 begins with the time at which it was made, but callers may bring ids of
 * their own, made days before or with no time in them at all. So the database remembers how far any id has been from the
 * store's clock: within that distance, a range of ids leaves out no job, and an index on created_at is saved.
 */
import type { JobId } from "../../job.js";
import type { JobFilter } from "../../store.js";
import type { Session } from "./session.js";

/** What clocks and outboxes may differ by without anybody writing it down. */
const usualSkewMs = 24 * 60 * 60 * 1_000;
/** Of an id without a time: then no range is narrow enough to leave anything out. */
const noTimeMs = Number.MAX_SAFE_INTEGER;
const lastTimeMs = 2 ** 48 - 1;

/** Called for every job that is added, in its transaction. */
export function noteIdTime(session: Session, id: JobId): void {
  const skewMs = skewOf(id, session.now);
  if (skewMs > usualSkewMs) session.sql(keepSkew).run(skewMs);
}

/** Ids outside of it belong to jobs that the filter does not want by their time. Null: no bound. */
export function idRange(
  session: Session,
  { createdAfter, createdBefore }: JobFilter,
): { readonly from: string | null; readonly below: string | null } {
  if (createdAfter === undefined && createdBefore === undefined) return { from: null, below: null };
  const { ms } = session.sql(selectSkew).get() as { ms: number | null };
  const skewMs = Math.max(usualSkewMs, ms ?? 0);
  const first = Math.floor((createdAfter ?? -Infinity) - skewMs);
  const last = Math.ceil((createdBefore ?? Infinity) + skewMs);
  return {
    from: first > 0 ? firstIdAt(Math.min(first, lastTimeMs)) : null,
    below: last < lastTimeMs ? firstIdAt(Math.max(last, 0) + 1) : null,
  };
}

/** Upper case would sort elsewhere. */
function skewOf(id: JobId, now: number): number {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-/.test(id)) return noTimeMs;
  return Math.abs(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) - now);
}

function firstIdAt(ms: number): string {
  const time = ms.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-`;
}

// Primary key.
const keepSkew = `
  insert into sluice_id_skew (only_row, ms)
  values (1, ?)
  on conflict (only_row) do update
  set ms = max(ms, excluded.ms)`;

// One row at most.
const selectSkew = `
  select max(ms) as ms
  from sluice_id_skew`;
