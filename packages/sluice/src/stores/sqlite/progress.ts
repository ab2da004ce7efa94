/**
 * What an attempt writes while it runs, all of it under its hold: step results, progress and log lines.
 */
import type { AttemptError, Hold } from "../../job.js";
import type { JobHistory, LogLine, Note, Step, StepResult, StepWrite } from "../../store.js";
import type { Session } from "./session.js";
import { uncut } from "./text.js";

const keptLines = 1_000;

export function remember(session: Session, steps: readonly StepWrite[]): readonly StepResult[] {
  return steps.map(({ hold, name, output }) => {
    const job = heldSeq(session, hold);
    if (job === undefined) return { result: "lease_lost" };
    const { changes } = session.sql(insertStep).run(job, name, output);
    if (Number(changes) > 0) return { result: "remembered" };
    const known = session.sql(selectStep).get(job, name) as { output: string | null };
    return { result: "known", output: known.output };
  });
}

export function recall(session: Session, id: string): readonly Step[] {
  return session.sql(selectSteps).all(id) as Step[];
}

export function annotate(session: Session, notes: readonly Note[]): readonly ("applied" | "lease_lost")[] {
  return notes.map(({ hold, progress, lines }) => {
    const job = heldSeq(session, hold);
    if (job === undefined) return "lease_lost";
    if (progress !== null) session.sql(keepProgress).run(progress.done, progress.total, job);
    for (const { at, level, message } of lines) session.sql(insertLine).run(job, Math.floor(at), level, uncut(message));
    if (lines.length > 0) session.sql(dropOldLines).run(job, job, keptLines);
    return "applied";
  });
}

export function history(session: Session, id: string): JobHistory {
  const attempts = session.sql(selectAttempts).all(id) as AttemptRow[];
  return {
    attempts: attempts.map((row) => ({
      attempt: row.attempt,
      epoch: row.epoch,
      workerId: row.worker_id,
      startedAt: row.started_at,
      endedAt: row.ended_at,
      crashed: row.crashed !== 0,
      error: JSON.parse(row.error) as AttemptError,
    })),
    lines: session.sql(selectLines).all(id) as LogLine[],
  };
}

interface AttemptRow {
  readonly attempt: number;
  readonly epoch: number;
  readonly worker_id: string;
  readonly started_at: number;
  readonly ended_at: number;
  readonly crashed: number;
  readonly error: string;
}

/** The job's number, while the hold is good. */
function heldSeq(session: Session, { id, epoch }: Hold): number | undefined {
  return (session.sql(selectHeld).get(id, epoch) as { seq: number } | undefined)?.seq;
}

// Unique index on id: the planner must not prefer an index on state, see ARCHITECTURE.md.
const selectHeld = `
  select seq
  from sluice_jobs
  where id = ?
    and epoch = ?
    and state = 'processing'`;

// Unique index on (job, name).
const insertStep = `
  insert into sluice_steps (job, name, output)
  values (?, ?, ?)
  on conflict do nothing`;

// Unique index on (job, name).
const selectStep = `
  select output
  from sluice_steps
  where job = ?
    and name = ?`;

// Unique index on id, then unique index on (job, name).
const selectSteps = `
  select step.name, step.output
  from sluice_jobs as job
  join sluice_steps as step on step.job = job.seq
  where job.id = ?
  order by step.seq`;

// Primary key.
const keepProgress = `
  update sluice_jobs
  set progress_done = ?, progress_total = ?
  where seq = ?`;

// sluice_lines_job.
const insertLine = `
  insert into sluice_lines (job, at, level, message)
  values (?, ?, ?, ?)`;

// sluice_lines_job, which ends with the primary key.
const dropOldLines = `
  delete from sluice_lines
  where job = ?
    and seq <= (
      select seq
      from sluice_lines
      where job = ?
      order by seq desc
      limit 1 offset ?
    )`;

// Unique index on id, then primary key.
const selectAttempts = `
  select attempt.attempt, attempt.epoch, attempt.worker_id, attempt.started_at, attempt.ended_at, attempt.crashed, attempt.error
  from sluice_jobs as job
  join sluice_attempts as attempt on attempt.job = job.seq
  where job.id = ?
  order by attempt.epoch`;

// Unique index on id, then sluice_lines_job.
const selectLines = `
  select line.at, line.level, line.message
  from sluice_jobs as job
  join sluice_lines as line on line.job = job.seq
  where job.id = ?
  order by line.seq`;
