/**
 * Idempotency keys of the jobs of one call. Each is claimed for the first of them before anything else is looked at: the primary key
 * lets one transaction have it, and another one waits there until that is committed or undone. What has become of a claimed key is
 * put right in the end; most need nothing more.
 */
import type { KeptKey } from "../../idempotency.js";
import type { JobId, JobRecord } from "../../job.js";
import type { NewJob } from "../../store.js";
import { checkId } from "./insert.js";
import { get } from "./reading.js";
import { arrayOf } from "./sql.js";
import type { Sql } from "./sql.js";

type Keyed = NewJob & { readonly idempotency: NonNullable<NewJob["idempotency"]> };

export class IdempotencyKeys {
  readonly #sql: Sql;
  /** By key, those that are claimed here: for which job, and what the row says. */
  readonly #claimed = new Map<string, { readonly job: Keyed; readonly kept: KeptKey }>();
  readonly #kept = new Map<string, KeptKey>();
  readonly #changed = new Set<string>();
  #records: ReadonlyMap<JobId, JobRecord> = new Map();

  private constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** Without a statement where no job has a key. */
  static async claim(sql: Sql, jobs: readonly NewJob[]): Promise<IdempotencyKeys> {
    const keys = new IdempotencyKeys(sql);
    const keyed = jobs.filter(hasKey);
    if (keyed.length === 0) return keys;
    // All of them: one that is refused later would leave the keys of the others claimed in a transaction that is not ours to undo.
    for (const { id } of jobs) checkId(id);
    await keys.#claim(keyed);
    return keys;
  }

  async #claim(jobs: readonly Keyed[]): Promise<void> {
    const firsts = new Map<string, Keyed>();
    for (const job of jobs) if (!firsts.has(job.idempotency.key)) firsts.set(job.idempotency.key, job);
    const claims = [...firsts.values()];
    const claimed = await this.#sql.rows<KeyRow>(claimKeys, [
      claims.map(({ idempotency }) => idempotency.key),
      claims.map(({ idempotency }) => idempotency.fingerprint),
      arrayOf(claims.map(({ id }) => id)),
      arrayOf(claims.map(({ idempotency }) => idempotency.periodMs)),
    ]);
    for (const row of claimed) this.#claimed.set(row.key, { job: firsts.get(row.key)!, kept: toKept(row) });
    const known = [...firsts.keys()].filter((key) => !this.#claimed.has(key));
    if (known.length === 0) return;
    for (const row of await this.#sql.rows<KeyRow>(selectKeys, [known])) this.#kept.set(row.key, toKept(row));
  }

  /** Whether nothing is to be asked about the job's key: it has none, or was the first to use it. */
  isFirst(job: NewJob): boolean {
    return !hasKey(job) || this.#claimed.get(job.idempotency.key)?.job === job;
  }

  kept(key: string): KeptKey | undefined {
    return this.#kept.get(key);
  }

  keep(key: string, kept: KeptKey): void {
    this.#kept.set(key, kept);
    const claimed = this.#claimed.get(key)?.kept;
    if (claimed?.jobId !== kept.jobId || claimed.fingerprint !== kept.fingerprint) this.#changed.add(key);
  }

  /** A job that was the first to use its key is there: the key stands for what it was claimed for. */
  added(job: NewJob): void {
    if (hasKey(job)) this.#kept.set(job.idempotency.key, this.#claimed.get(job.idempotency.key)!.kept);
  }

  /** Reads, and does not lock, the jobs that the keys of these may be answered with. */
  async readJobs(jobs: readonly NewJob[]): Promise<void> {
    const ids = jobs.filter(hasKey).flatMap(({ idempotency }) => this.#kept.get(idempotency.key)?.jobId ?? []);
    const records = await get(this.#sql, [...new Set(ids)]);
    this.#records = new Map(records.flatMap((record) => (record === null ? [] : [[record.id, record] as const])));
  }

  recordOf(id: JobId): JobRecord | null {
    return this.#records.get(id) ?? null;
  }

  /** Writes down what became of the keys otherwise than claimed. */
  async close(): Promise<void> {
    await this.#delete([...this.#claimed.keys()].filter((key) => !this.#kept.has(key)));
    if (this.#changed.size === 0) return;
    const keys = [...this.#changed];
    const kept = keys.map((key) => this.#kept.get(key)!);
    await this.#sql.rows(updateKeys, [
      keys,
      kept.map(({ fingerprint }) => fingerprint),
      arrayOf(kept.map(({ jobId }) => jobId)),
      arrayOf(kept.map(({ expiresAt }) => expiresAt)),
    ]);
  }

  /** Before the call is run again in the same transaction, which would take its own claims for somebody's. */
  letGo(): Promise<void> {
    return this.#delete([...this.#claimed.keys()]);
  }

  async #delete(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.#sql.rows(deleteKeys, [keys]);
  }
}

function hasKey(job: NewJob): job is Keyed {
  return job.idempotency !== null;
}

function toKept({ fingerprint, job, expires_at: expiresAt }: KeyRow): KeptKey {
  return { fingerprint, jobId: job, expiresAt: Number(expiresAt) };
}

interface KeyRow {
  readonly key: string;
  readonly fingerprint: string;
  readonly job: JobId;
  readonly expires_at: number | string;
}

// Primary key, in its order, which is that of the locks. One that is known is locked, too, so that nobody deletes it meanwhile.
const claimKeys = `
  insert into sluice.idempotency_keys as kept (key, fingerprint, job, expires_at)
  select claim.key, claim.fingerprint, claim.job, ceil(:now + claim.period_ms)
  from unnest($1::text[], $2::text[], $3::uuid[], $4::double precision[]) as claim (key, fingerprint, job, period_ms)
  order by claim.key
  on conflict (key) do update
  set fingerprint = excluded.fingerprint, job = excluded.job, expires_at = excluded.expires_at
  where kept.expires_at <= :now
  returning kept.key, kept.fingerprint, kept.job, kept.expires_at`;

// Primary key.
const selectKeys = `
  select key, fingerprint, job, expires_at
  from sluice.idempotency_keys
  where key = any ($1::text[])`;

// Primary key.
const updateKeys = `
  update sluice.idempotency_keys as kept
  set fingerprint = changed.fingerprint, job = changed.job, expires_at = changed.expires_at
  from unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[]) as changed (key, fingerprint, job, expires_at)
  where kept.key = changed.key`;

// Primary key.
const deleteKeys = "delete from sluice.idempotency_keys where key = any ($1::text[])";
