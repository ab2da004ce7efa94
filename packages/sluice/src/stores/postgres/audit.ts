/**
 * The audit as it is kept: appended to by whoever changes something, read by target, actor and action, and taken in from another store.
 */
import { auditActions, auditPage, placeBefore } from "../../audit.js";
import type { AuditAction, AuditEntry, AuditPage, AuditQuery, AuditRecord, AuditTarget } from "../../audit.js";
import type { AuditSnapshot } from "../../snapshot.js";
import { storable } from "./rows.js";
import type { Sql } from "./sql.js";

/** @param now Of the transaction that does what is recorded; null: the present. */
export async function appendAudit(sql: Sql, entries: readonly AuditEntry[], now: number | null): Promise<void> {
  if (entries.length > 0) await sql.rows(insertAudit, [JSON.stringify(entries.map(toFields)), now]);
}

export async function audit(sql: Sql, { target, actor, actions, before, limit }: AuditQuery): Promise<AuditPage> {
  const place = placeBefore(before);
  const values: unknown[] = [];
  const add = (value: unknown) => `$${values.push(value)}`;
  const conditions: string[] = [];
  if (place !== Infinity) conditions.push(`seq < ${add(place)}::bigint`);
  if (actor !== undefined) {
    const text = `${add(storable(actor))}::text`;
    conditions.push(`left(actor, 100) = left(${text}, 100)`, `actor = ${text}`);
  }
  let alternatives: readonly (readonly string[])[] = [[]];
  if (target !== undefined) {
    conditions.push(`target_kind = ${add(target.kind)}`, `target_id = ${add(storable(target.id))}`);
    if (actions !== undefined) conditions.push(`action = any (${add(actions)}::text[])`);
  } else if (actor !== undefined || actions !== undefined) {
    // As values, not as one list: the planner must see how rare each is, or it walks the primary key.
    alternatives = [...new Set(actions ?? auditActions)].map((action) => [`action = ${add(action)}`]);
    if (alternatives.length === 0) return { records: [], next: null };
  }
  // One more than asked for shows whether there is a next page.
  const most = `${add(limit + 1)}::int`;
  const pages = alternatives.map((more) => selectAudit([...conditions, ...more], most));
  const rows = await sql.rows<AuditRow>(pages.length === 1 ? pages[0]! : merged(pages, most), values);
  return auditPage(rows.map(toAuditRecord), limit);
}

/** In a transaction of its own: nobody else appends the same ones meanwhile. */
export async function importAudit(sql: Sql, records: readonly AuditSnapshot[]): Promise<number> {
  if (records.length === 0) return 0;
  await sql.rows(lockAudit);
  const sent = records.map(({ at, nth, ...entry }) => ({ ...toFields(entry), at, nth }));
  const [answer] = await sql.rows<{ added: number }>(importMissing, [JSON.stringify(sent)]);
  return answer!.added;
}

function toFields({ actor, action, target, type, before, after, reason, requestId }: AuditEntry) {
  return {
    actor: storable(actor),
    action,
    target_kind: target.kind,
    target_id: storable(target.id),
    type: storable(type),
    before: storable(before),
    after: storable(after),
    reason: storable(reason),
    request_id: storable(requestId),
  };
}

interface AuditRow {
  readonly seq: number | string;
  readonly at: number | string;
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

function toAuditRecord({ seq, at, target_kind, target_id, request_id, ...rest }: AuditRow): AuditRecord {
  const target = { kind: target_kind, id: target_id };
  return { ...rest, at: Number(at), seq: String(seq), target, requestId: request_id };
}

const lockAudit = "select pg_advisory_xact_lock(7562595, 'sluice.audit'::regclass::oid::int)";

const names = "actor, action, target_kind, target_id, type, before, after, reason, request_id";
const fields =
  "actor text, action text, target_kind text, target_id text, type text, before text, after text, reason text, request_id text";

// Primary key, and an entry in each of the three indexes.
const insertAudit = `
  insert into sluice.audit (at, ${names})
  select coalesce($2::bigint, :now), ${names}
  from json_to_recordset($1::json) as entry (${fields})`;

// audit_target. The nth of those that say the same is there when more than n are.
const importMissing = `
  with added as (
    insert into sluice.audit (at, ${names})
    select at, ${names}
    from rows from (json_to_recordset($1::json) as (at bigint, nth int, ${fields})) with ordinality
      as sent (at, nth, ${names}, turn)
    where nth >= (
      select count(*)
      from sluice.audit as there
      where there.target_kind = sent.target_kind
        and there.target_id = sent.target_id
        and there.at = sent.at
        and there.actor = sent.actor
        and there.action = sent.action
        and there.type is not distinct from sent.type
        and there.before is not distinct from sent.before
        and there.after is not distinct from sent.after
        and there.reason is not distinct from sent.reason
        and there.request_id is not distinct from sent.request_id
    )
    order by turn
    returning 1
  )
  select count(*)::int as added from added`;

/** Backwards: of a target audit_target, of an actor audit_actor, of an action audit_action, of all the primary key. */
function selectAudit(conditions: readonly string[], limit: string): string {
  return `
    select seq, at, actor, action, target_kind, target_id, type, before, after, reason, request_id
    from sluice.audit${conditions.length === 0 ? "" : `\n    where ${conditions.join("\n      and ")}`}
    order by seq desc
    limit ${limit}`;
}

function merged(pages: readonly string[], limit: string): string {
  return `
  select *
  from (${pages.map((page) => `(${page}\n  )`).join(" union all ")}) as page
  order by seq desc
  limit ${limit}`;
}
