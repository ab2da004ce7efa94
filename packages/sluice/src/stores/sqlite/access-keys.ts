/**
 * Access keys as they are kept. They are few: whoever decides about one looks at all.
 */
import { addKey, isKept, revokeKey } from "../../access.js";
import type { AccessKey, AddKeyAnswer, NewAccessKey, Role } from "../../access.js";
import type { Origin } from "../../audit.js";
import { appendAudit } from "./audit.js";
import type { Session } from "./session.js";
import { uncut } from "./text.js";

export function accessKeys(session: Session): readonly AccessKey[] {
  return allKeys(session).filter((key) => isKept(key, session.now));
}

export function addAccessKey(
  session: Session,
  { key: added, origin }: { readonly key: NewAccessKey; readonly origin: Origin },
): AddKeyAnswer {
  const { now } = session;
  const { answer, isNew, gone, entry } = addKey(added, { keys: allKeys(session), now, origin });
  for (const id of gone) session.sql(deleteKey).run(id);
  if (answer.key !== null && isNew) insert(session, answer.key);
  if (entry !== null) appendAudit(session, entry);
  return answer;
}

export function revokeAccessKey(
  session: Session,
  { id, origin }: { readonly id: string; readonly origin: Origin },
): boolean {
  const { isThere, revoked, entry } = revokeKey(id, { keys: allKeys(session), origin });
  for (const each of revoked) session.sql(updateRevoked).run(session.now, each);
  if (entry !== null) appendAudit(session, entry);
  return isThere;
}

export function pruneAccessKeys(session: Session): void {
  for (const key of allKeys(session)) if (!isKept(key, session.now)) session.sql(deleteKey).run(key.id);
}

function insert(session: Session, key: AccessKey): void {
  session
    .sql(insertKey)
    .run(
      uncut(key.id),
      uncut(key.name),
      key.hash,
      key.hint,
      JSON.stringify(key.roles),
      key.types === null ? null : JSON.stringify(key.types),
      key.canReadPayloads ? 1 : 0,
      key.parent,
      key.createdAt,
      key.expiresAt,
      key.revokedAt,
    );
}

interface KeyRow {
  readonly id: string;
  readonly name: string;
  readonly hash: string;
  readonly hint: string;
  readonly roles: string;
  readonly types: string | null;
  readonly can_read_payloads: 0 | 1;
  readonly parent: string | null;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
}

function allKeys(session: Session): readonly AccessKey[] {
  return (session.sql(selectKeys).all() as KeyRow[]).map((row) => ({
    id: row.id,
    name: row.name,
    hash: row.hash,
    hint: row.hint,
    roles: JSON.parse(row.roles) as readonly Role[],
    types: row.types === null ? null : (JSON.parse(row.types) as readonly string[]),
    canReadPayloads: row.can_read_payloads === 1,
    parent: row.parent,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
  }));
}

// Full scan.
const selectKeys = `
  select id, name, hash, hint, roles, types, can_read_payloads, parent, created_at, expires_at, revoked_at
  from sluice_access_keys
  order by created_at, id`;

// Primary key, in all three.
const insertKey = `
  insert into sluice_access_keys
    (id, name, hash, hint, roles, types, can_read_payloads, parent, created_at, expires_at, revoked_at)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const updateRevoked = "update sluice_access_keys set revoked_at = ? where id = ?";
const deleteKey = "delete from sluice_access_keys where id = ?";
