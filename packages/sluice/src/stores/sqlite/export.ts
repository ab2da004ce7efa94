/**
 * The store read out, for another to take in: pages of jobs with all that belongs to them, and the audit. Each page is one short
 * read transaction, so that it is of one instant and the WAL can be cut after it; nobody who writes waits for it.
 */
import type { AuditExport, ExportLimits, JobExport, JobSnapshot, KeySnapshot } from "../../snapshot.js";
import { toAuditRecord } from "./audit.js";
import type { AuditRow } from "./audit.js";
import { history, recall } from "./progress.js";
import { findById, rerunKey, toRecord } from "./rows.js";
import type { JobRow } from "./rows.js";
import type { Session } from "./session.js";

export function exportJobs(
  session: Session,
  { after, liveOnly, ...limits }: ExportLimits & { readonly after: string | null; readonly liveOnly: boolean },
): JobExport {
  return inOneView(session, () => {
    const places = session.sql(selectPlaces).all(session.now, after ?? "", limits.limit) as Place[];
    const { taken, next } = takePage(places, limits, (place) => {
      if (liveOnly && place.is_over === 1) return null;
      const snapshot = toSnapshot(session, findById(session, place.id)!);
      return { taken: snapshot, bytes: sizeOf(snapshot) };
    });
    return { jobs: taken, next: next?.id ?? null };
  });
}

export function exportAudit(
  session: Session,
  { after, settingsOnly, ...limits }: ExportLimits & { readonly after: number | null; readonly settingsOnly: boolean },
): AuditExport {
  return inOneView(session, () => {
    const select = session.sql(settingsOnly ? selectSettingsPlaces : selectAuditPlaces);
    const places = select.all(after ?? 0, limits.limit) as { readonly seq: number }[];
    const { taken, next } = takePage(places, limits, ({ seq }) => {
      const { nth, ...row } = session.sql(selectAuditRecord).get(seq) as AuditRow & { readonly nth: number };
      const { seq: _own, ...record } = toAuditRecord(row);
      const bytes = (record.before ?? "").length + (record.after ?? "").length + fixedBytes;
      return { taken: { ...record, nth }, bytes };
    });
    return { records: taken, next: next?.seq ?? null };
  });
}

interface Place {
  readonly id: string;
  readonly is_over: 0 | 1;
}

/** @returns What was taken, and where to go on: null when `places` were the last ones and all of them fitted. */
function takePage<At, Taken>(
  places: readonly At[],
  { limit, bytes: mostBytes }: ExportLimits,
  take: (place: At) => { readonly taken: Taken; readonly bytes: number } | null,
): { readonly taken: readonly Taken[]; readonly next: At | null } {
  const taken: Taken[] = [];
  let sum = 0;
  for (const [index, place] of places.entries()) {
    const one = take(place);
    if (one !== null) taken.push(one.taken);
    sum += one?.bytes ?? 0;
    const isLast = index === places.length - 1 && places.length < limit;
    if (sum >= mostBytes && !isLast) return { taken, next: place };
  }
  return { taken, next: places.length < limit ? null : (places.at(-1) ?? null) };
}

function toSnapshot(session: Session, row: JobRow): JobSnapshot {
  // Nobody has ever claimed it: there is nothing to look for.
  const isUntouched = row.epoch === 0;
  const { attempts, lines } = isUntouched ? { attempts: [], lines: [] } : history(session, row.id);
  const steps = isUntouched ? [] : recall(session, row.id);
  return { job: toRecord(row), key: keyOf(row), blob: row.blob, rank: row.rank / 1_000, attempts, steps, lines };
}

function keyOf(row: JobRow): KeySnapshot | null {
  const { unique_key: key, held_key: held } = row;
  if (key === null) return null;
  return {
    key,
    holdWhile: row.unique_while ?? "active",
    periodMs: row.unique_until === null ? null : row.unique_until - row.created_at,
    place: held === key ? "holds" : held === rerunKey(key) ? "waits" : "gave_back",
  };
}

/** About what a job costs besides its texts. */
const fixedBytes = 500;

function sizeOf({ job, steps, lines, attempts }: JobSnapshot): number {
  let bytes = fixedBytes + job.payload.length + (job.output ?? "").length + attempts.length * fixedBytes;
  for (const { output } of steps) bytes += (output ?? "").length + fixedBytes;
  for (const { message } of lines) bytes += message.length;
  return bytes;
}

function inOneView<T>(session: Session, read: () => T): T {
  session.sql("begin").run();
  try {
    return read();
  } finally {
    session.sql("commit").run();
  }
}

// Unique index on id.
const selectPlaces = `
  select id,
    (state in ('completed', 'cancelled') and (held_key is null or coalesce(unique_until, 0) <= ?)) as is_over
  from sluice_jobs
  where id > ?
  order by id
  limit ?`;

// Primary key.
const selectAuditPlaces = `
  select seq
  from sluice_audit
  where seq > ?
  order by seq
  limit ?`;

// sluice_audit_action, whose entries of one action are in the order of seq.
const selectSettingsPlaces = `
  select seq
  from sluice_audit
  where action = 'set'
    and seq > ?
  order by seq
  limit ?`;

// Primary key; sluice_audit_target for those before it.
const selectAuditRecord = `
  select seq, at, actor, action, target_kind, target_id, type, before, after, reason, request_id,
    (
      select count(*)
      from sluice_audit as earlier
      where earlier.target_kind = audit.target_kind
        and earlier.target_id = audit.target_id
        and earlier.seq < audit.seq
        and earlier.at = audit.at
        and earlier.actor = audit.actor
        and earlier.action = audit.action
        and earlier.type is audit.type
        and earlier.before is audit.before
        and earlier.after is audit.after
        and earlier.reason is audit.reason
        and earlier.request_id is audit.request_id
    ) as nth
  from sluice_audit as audit
  where seq = ?`;
