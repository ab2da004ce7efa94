/**
 * Access keys as they are kept. They are few: whoever decides about one looks at all.
 */
import { addKey, isKept, revokeKey } from "../../access.js";
import type { AccessKey, AddKeyAnswer, NewAccessKey, Role } from "../../access.js";
import type { Origin } from "../../audit.js";
import { appendAudit } from "./audit.js";
import { storable } from "./rows.js";
import type { Sql } from "./sql.js";

export async function accessKeys(sql: Sql): Promise<readonly AccessKey[]> {
  const { keys, now } = await allKeys(sql);
  return keys.filter((key) => isKept(key, now));
}

/** In a transaction of its own: one change of keys after the other. */
export async function addAccessKey(sql: Sql, added: NewAccessKey, origin: Origin): Promise<AddKeyAnswer> {
  await sql.rows(lockKeys);
  const { keys, now } = await allKeys(sql);
  const { answer, isNew, gone, entry } = addKey(added, { keys, now, origin });
  if (gone.length > 0) await sql.rows(deleteKeys, [gone]);
  if (answer.key !== null && isNew) await sql.rows(insertKeys, [JSON.stringify([toFields(answer.key)])]);
  if (entry !== null) await appendAudit(sql, [entry], now);
  return answer;
}

/** In a transaction of its own. */
export async function revokeAccessKey(sql: Sql, id: string, origin: Origin): Promise<boolean> {
  await sql.rows(lockKeys);
  const { keys, now } = await allKeys(sql);
  const { isThere, revoked, entry } = revokeKey(id, { keys, origin });
  if (revoked.length > 0) await sql.rows(updateRevoked, [revoked, now]);
  if (entry !== null) await appendAudit(sql, [entry], now);
  return isThere;
}

/** Answers how many were not there. */
export async function importAccessKeys(sql: Sql, keys: readonly AccessKey[]): Promise<number> {
  if (keys.length === 0) return 0;
  return (await sql.rows(insertKeys, [JSON.stringify(keys.map(toFields))])).length;
}

export async function pruneAccessKeys(sql: Sql): Promise<void> {
  const { keys, now } = await allKeys(sql);
  const gone = keys.filter((key) => !isKept(key, now)).map(({ id }) => id);
  if (gone.length > 0) await sql.rows(deleteKeys, [gone]);
}

function toFields(key: AccessKey) {
  return {
    id: storable(key.id),
    name: storable(key.name),
    hash: key.hash,
    hint: key.hint,
    roles: JSON.stringify(key.roles),
    types: key.types === null ? null : JSON.stringify(key.types),
    can_read_payloads: key.canReadPayloads,
    parent: key.parent,
    created_at: key.createdAt,
    expires_at: key.expiresAt,
    revoked_at: key.revokedAt,
  };
}

type KeyFields = ReturnType<typeof toFields>;

async function allKeys(sql: Sql): Promise<{ readonly keys: readonly AccessKey[]; readonly now: number }> {
  const [row] = await sql.rows<{ now: number | string; keys: string }>(selectKeys);
  const keys = (JSON.parse(row!.keys) as KeyFields[]).map((key) => ({
    id: key.id,
    name: key.name,
    hash: key.hash,
    hint: key.hint,
    roles: JSON.parse(key.roles) as readonly Role[],
    types: key.types === null ? null : (JSON.parse(key.types) as readonly string[]),
    canReadPayloads: key.can_read_payloads,
    parent: key.parent,
    createdAt: key.created_at,
    expiresAt: key.expires_at,
    revokedAt: key.revoked_at,
  }));
  return { keys, now: Number(row!.now) };
}

const lockKeys = "select pg_advisory_xact_lock(7562601, hashtext(':schema'))";

// Full scan.
const selectKeys = `
  select :now as now,
    (
      select coalesce(json_agg(key order by key.created_at, key.id collate "C"), '[]')::text
      from sluice.access_keys as key
    ) as keys`;

// Primary key, in all three.
const insertKeys = `
  insert into sluice.access_keys
    (id, name, hash, hint, roles, types, can_read_payloads, parent, created_at, expires_at, revoked_at)
  select id, name, hash, hint, roles, types, can_read_payloads, parent, created_at, expires_at, revoked_at
  from json_to_recordset($1::json) as key (id text, name text, hash text, hint text, roles text, types text,
    can_read_payloads boolean, parent text, created_at bigint, expires_at bigint, revoked_at bigint)
  on conflict (id) do nothing
  returning id`;
const updateRevoked = "update sluice.access_keys set revoked_at = $2::bigint where id = any ($1::text[])";
const deleteKeys = "delete from sluice.access_keys where id = any ($1::text[])";
