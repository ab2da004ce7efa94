/**
 * What an attempt writes while it runs, all of it under its hold: step results, progress and log lines. The job's row is locked
 * for it, so that no settlement passes in between.
 */
import type { AttemptError, Hold } from "../../job.js";
import type { JobHistory, LogLine, Note, Step, StepResult, StepWrite } from "../../store.js";
import { isId, storable } from "./rows.js";
import type { Sql } from "./sql.js";

const keptLines = 1_000;

export async function remember(sql: Sql, steps: readonly StepWrite[]): Promise<readonly StepResult[]> {
  const held = await lockHeld(sql, steps.map(({ hold }) => hold)); // prettier-ignore
  // The first of a name in this call is the first.
  const firsts = new Map<string, StepWrite>();
  for (const step of steps) if (isHeld(held, step.hold) && !firsts.has(nameOf(step))) firsts.set(nameOf(step), step);
  const sent = [...firsts.values()];
  const inserted = sent.length === 0 ? [] : await sql.rows<{ job: string; name: string }>(insertSteps, columnsOf(sent));
  const fresh = new Set(inserted.map(({ job, name }) => `${job} ${name}`));
  const known = await outputsOf(sql, sent.filter((step) => !fresh.has(nameOf(step)))); // prettier-ignore

  return steps.map((step) => {
    if (!isHeld(held, step.hold)) return { result: "lease_lost" };
    const name = nameOf(step);
    const first = firsts.get(name)!;
    if (fresh.has(name)) return first === step ? { result: "remembered" } : { result: "known", output: first.output };
    return { result: "known", output: known.get(name) ?? null };
  });
}

function nameOf({ hold, name }: StepWrite): string {
  return `${hold.id} ${storable(name)}`;
}

function columnsOf(steps: readonly StepWrite[]) {
  return [steps.map(({ hold }) => hold.id), steps.map(({ name }) => storable(name)), steps.map(({ output }) => output)];
}

async function outputsOf(sql: Sql, steps: readonly StepWrite[]): Promise<ReadonlyMap<string, string | null>> {
  if (steps.length === 0) return new Map();
  const [jobs, names] = columnsOf(steps);
  const rows = await sql.rows<{ job: string; name: string; output: string | null }>(selectOutputs, [jobs, names]);
  return new Map(rows.map(({ job, name, output }) => [`${job} ${name}`, output]));
}

export async function recall(sql: Sql, id: string): Promise<readonly Step[]> {
  return isId(id) ? sql.rows<Step>(selectSteps, [id]) : [];
}

export async function annotate(sql: Sql, notes: readonly Note[]): Promise<readonly ("applied" | "lease_lost")[]> {
  const held = await lockHeld(sql, notes.map(({ hold }) => hold)); // prettier-ignore
  const good = notes.filter(({ hold }) => isHeld(held, hold));
  const progress = new Map(good.flatMap((note) => (note.progress === null ? [] : [[note.hold.id, note.progress]])));
  if (progress.size > 0) {
    const values = [...progress.values()];
    await sql.rows(keepProgress, [
      [...progress.keys()],
      values.map(({ done }) => done),
      values.map(({ total }) => total),
    ]);
  }
  const lines = good.flatMap(({ hold, lines }) => lines.map((line) => ({ ...line, job: hold.id })));
  if (lines.length > 0) {
    await sql.rows(insertLines, [
      lines.map(({ job }) => job),
      lines.map(({ at }) => Math.floor(at)),
      lines.map(({ level }) => level),
      lines.map(({ message }) => storable(message)),
    ]);
    await sql.rows(dropOldLines, [[...new Set(lines.map(({ job }) => job))], keptLines]);
  }
  return notes.map(({ hold }) => (isHeld(held, hold) ? "applied" : "lease_lost"));
}

export async function history(sql: Sql, id: string): Promise<JobHistory> {
  if (!isId(id)) return { attempts: [], lines: [] };
  const attempts = await sql.rows<AttemptRow>(selectAttempts, [id]);
  const lines = await sql.rows<{ at: number | string; level: LogLine["level"]; message: string }>(selectLines, [id]);
  return {
    attempts: attempts.map((row) => ({
      attempt: row.attempt,
      epoch: row.epoch,
      workerId: row.worker_id,
      startedAt: Number(row.started_at),
      endedAt: Number(row.ended_at),
      crashed: row.crashed,
      error: JSON.parse(row.error) as AttemptError,
    })),
    lines: lines.map(({ at, level, message }) => ({ at: Number(at), level, message })),
  };
}

interface AttemptRow {
  readonly attempt: number;
  readonly epoch: number;
  readonly worker_id: string;
  readonly started_at: number | string;
  readonly ended_at: number | string;
  readonly crashed: boolean;
  readonly error: string;
}

/** The epochs under which these jobs are processing now; nobody can end them before this transaction does. */
async function lockHeld(sql: Sql, holds: readonly Hold[]): Promise<ReadonlyMap<string, number>> {
  const ids = [...new Set(holds.map(({ id }) => id))].filter(isId);
  if (ids.length === 0) return new Map();
  const rows = await sql.rows<{ id: string; epoch: number }>(lockProcessing, [ids]);
  return new Map(rows.map(({ id, epoch }) => [id, epoch]));
}

function isHeld(held: ReadonlyMap<string, number>, { id, epoch }: Hold): boolean {
  return held.get(id) === epoch;
}

// Primary key, in its order. As text: see settle.ts.
const lockProcessing = `
  select job.id, job.epoch
  from sluice.jobs as job
  where job.id = any ($1::uuid[])
    and job.state::text = 'processing'
  order by job.id
  for no key update`;

// Primary key.
const insertSteps = `
  insert into sluice.steps (job, name, output)
  select * from unnest($1::uuid[], $2::text[], $3::text[])
  on conflict (job, name) do nothing
  returning job, name`;

// Primary key.
const selectOutputs = `
  select step.job, step.name, step.output
  from unnest($1::uuid[], $2::text[]) as sent (job, name)
  join sluice.steps as step on step.job = sent.job and step.name = sent.name`;

// Primary key.
const selectSteps = `
  select name, output
  from sluice.steps
  where job = $1::uuid
  order by seq`;

// Primary key.
const keepProgress = `
  update sluice.jobs as job
  set progress_done = sent.done, progress_total = sent.total
  from unnest($1::uuid[], $2::double precision[], $3::double precision[]) as sent (id, done, total)
  where job.id = sent.id`;

// Primary key.
const insertLines = `
  insert into sluice.lines (job, at, level, message)
  select sent.job, sent.at, sent.level, sent.message
  from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) with ordinality as sent (job, at, level, message, turn)
  order by sent.turn`;

// Primary key, backwards and then forwards.
const dropOldLines = `
  delete from sluice.lines
  using (
    select sent.job, oldest.seq
    from unnest($1::uuid[]) as sent (job)
    cross join lateral (
      select line.seq
      from sluice.lines as line
      where line.job = sent.job
      order by line.seq desc
      limit 1 offset $2
    ) as oldest
  ) as kept
  where lines.job = kept.job
    and lines.seq <= kept.seq`;

// Primary key.
const selectAttempts = `
  select attempt, epoch, worker_id, started_at, ended_at, crashed, error
  from sluice.attempts
  where job = $1::uuid
  order by epoch`;

// Primary key.
const selectLines = `
  select at, level, message
  from sluice.lines
  where job = $1::uuid
  order by seq`;
