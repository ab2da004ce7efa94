/**
 * An operator's commands, each with its line in the audit.
 */
import type { JobState } from "../../job.js";
import { amendOne } from "../../moves.js";
import type { AmendAnswer, AuditQuery, AuditRecord, OperatorCommand } from "../../store.js";
import { Desk } from "./desk.js";
import type { Effects } from "./effects.js";
import { pageOfIds } from "./reading.js";
import { isId } from "./rows.js";
import type { Sql } from "./sql.js";

export async function amend(sql: Sql, command: OperatorCommand, effects: Effects): Promise<AmendAnswer> {
  const { target } = command;
  const { ids, next } = "ids" in target ? { ids: target.ids, next: null } : await pageOfIds(sql, target);
  const desk = await Desk.open(sql, { ids, withPayload: command.action === "edit" });
  const results = ids.map((id) => amendOne(desk, id, command));
  await desk.close(effects);
  return { results, next };
}

export async function audit(sql: Sql, { jobId, limit }: AuditQuery): Promise<readonly AuditRecord[]> {
  if (jobId !== undefined && !isId(jobId)) return [];
  const rows = await (jobId === undefined
    ? sql.rows<AuditRow>(selectAudit, [limit])
    : sql.rows<AuditRow>(selectAuditOf, [jobId, limit]));
  return rows.map((row) => ({
    at: Number(row.at),
    actor: row.actor,
    action: row.action,
    jobId: row.job_id,
    jobType: row.job_type,
    stateBefore: row.state_before,
    stateAfter: row.state_after,
    payloadBefore: row.payload_before,
    reason: row.reason,
  }));
}

interface AuditRow {
  readonly at: number | string;
  readonly actor: string;
  readonly action: AuditRecord["action"];
  readonly job_id: string;
  readonly job_type: string;
  readonly state_before: JobState;
  readonly state_after: JobState;
  readonly payload_before: string | null;
  readonly reason: string | null;
}

// Primary key, backwards.
const selectAudit = `
  select at, actor, action, job_id, job_type, state_before::text, state_after::text, payload_before, reason
  from sluice.audit
  order by seq desc
  limit $1`;

// audit_job, backwards.
const selectAuditOf = `
  select at, actor, action, job_id, job_type, state_before::text, state_after::text, payload_before, reason
  from sluice.audit
  where job_id = $1::uuid
  order by seq desc
  limit $2`;
