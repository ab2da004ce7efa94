/**
 * The audit as it is kept: appended to by whoever changes something, read by target, actor and action.
 */
import { auditActions, auditPage, placeBefore } from "../../audit.js";
import type { AuditAction, AuditEntry, AuditPage, AuditQuery, AuditRecord, AuditTarget } from "../../audit.js";
import type { SqlValue } from "./engine.js";
import type { Session } from "./session.js";
import { uncut } from "./text.js";

export function appendAudit(session: Session, entry: AuditEntry): void {
  const { actor, action, target, type, before, after, reason, requestId } = entry;
  session
    .sql(insertAudit)
    .run(
      session.now,
      uncut(actor),
      action,
      target.kind,
      uncut(target.id),
      uncut(type),
      uncut(before),
      uncut(after),
      uncut(reason),
      uncut(requestId),
    );
}

export function record(session: Session, entries: readonly AuditEntry[]): void {
  for (const entry of entries) appendAudit(session, entry);
}

export function audit(session: Session, { target, actor, actions, before, limit }: AuditQuery): AuditPage {
  const place = Math.min(placeBefore(before), Number.MAX_SAFE_INTEGER);
  // One more than asked for shows whether there is a next page.
  const select = (conditions: readonly string[], values: readonly SqlValue[]) =>
    session.sql(selectAudit(conditions)).all(...values, place, limit + 1) as AuditRow[];
  const ofActor = actor === undefined ? [] : [uncut(actor)];
  if (target !== undefined) {
    const conditions = ["target_kind = ?", "target_id = ?", ...ofActor.map(() => "actor = ?")];
    if (actions !== undefined) conditions.push("action in (select value from json_each(?))");
    const values = [target.kind, uncut(target.id), ...ofActor];
    if (actions !== undefined) values.push(JSON.stringify(actions));
    return auditPage(select(conditions, values).map(toAuditRecord), limit);
  }
  if (actor === undefined && actions === undefined) return auditPage(select([], []).map(toAuditRecord), limit);
  const conditions = [...ofActor.map(() => "actor = ?"), "action = ?"];
  const rows = [...new Set(actions ?? auditActions)].flatMap((action) => select(conditions, [...ofActor, action]));
  return auditPage(rows.sort((a, b) => b.seq - a.seq).map(toAuditRecord), limit);
}

export interface AuditRow {
  readonly seq: number;
  readonly at: number;
  readonly actor: string;
  readonly action: AuditAction;
  readonly target_kind: AuditTarget["kind"];
  readonly target_id: string;
  readonly type: string | null;
  readonly before: string | null;
  readonly after: string | null;
  readonly reason: string | null;
  readonly request_id: string | null;
}

export function toAuditRecord({ seq, target_kind, target_id, request_id, ...rest }: AuditRow): AuditRecord {
  return { ...rest, seq: String(seq), target: { kind: target_kind, id: target_id }, requestId: request_id };
}

// Primary key, and an entry in each of the three indexes.
const insertAudit = `
  insert into sluice_audit (at, actor, action, target_kind, target_id, type, before, after, reason, request_id)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** Backwards: of a target sluice_audit_target, of an actor sluice_audit_actor, of an action sluice_audit_action, of all the primary key. */
function selectAudit(conditions: readonly string[]): string {
  return `
  select seq, at, actor, action, target_kind, target_id, type, before, after, reason, request_id
  from sluice_audit
  where ${[...conditions, "seq < ?"].join("\n    and ")}
  order by seq desc
  limit ?`;
}
