/**
 * What is kept of idempotency keys. Read and written in one transaction, under the write lock: of two at once, one comes first.
 */
import type { KeptKey } from "../../idempotency.js";
import type { Session } from "./session.js";

/** Be it that its period is over. */
export function keptKey(session: Session, key: string): KeptKey | undefined {
  return session.sql(selectKey).get(key) as KeptKey | undefined;
}

export function keepKey(session: Session, key: string, { fingerprint, jobId, expiresAt }: KeptKey): void {
  session.sql(upsertKey).run(key, fingerprint, jobId, expiresAt);
}

export function pruneKeys(session: Session): void {
  session.sql(deleteExpired).run(session.now);
}

// Primary key.
const selectKey = `
  select fingerprint, job as jobId, expires_at as expiresAt
  from sluice_idempotency_keys
  where key = ?`;

// Primary key.
const upsertKey = `
  insert into sluice_idempotency_keys (key, fingerprint, job, expires_at)
  values (?, ?, ?, ?)
  on conflict (key) do update
  set fingerprint = excluded.fingerprint, job = excluded.job, expires_at = excluded.expires_at`;

// Inner: sluice_idempotency_keys_expiry. Outer: primary key. A bounded number at a time.
const deleteExpired = `
  delete from sluice_idempotency_keys
  where key in (
    select key
    from sluice_idempotency_keys
    where expires_at <= ?
    order by expires_at
    limit 1000
  )`;
