/**
 * Claims of types whose jobs must be asked for one by one: those with rates, a concurrency per key, or jobs that wait for company. In
 * a transaction that has the type to itself; what may start is said by the core (admission.ts), as in every store.
 */
import { agedAfterMs } from "../../aging.js";
import { admit, companyUntil, gateOf, isLimited, keysOf } from "../../admission.js";
import type { Gate } from "../../admission.js";
import type { Controls, HeldBy } from "../../job.js";
import { parseSettings } from "../../settings.js";
import type { ClaimedType } from "../../store.js";
import type { Effects } from "./effects.js";
import { freeKeys, lockLimits } from "./hold.js";
import { keepSpent, spentOf } from "./rates.js";
import { claimedColumns } from "./rows.js";
import type { StartedRow } from "./claim.js";
import type { Sql } from "./sql.js";

export interface GatedClaim {
  readonly now: number;
  readonly rows: readonly StartedRow[];
  /** When the rate of the type lets the next one start, or its next job is due. */
  readonly nextAt: number | null;
  /** Whether what is claimed must start at once. */
  readonly isLimited: boolean;
}

/** So many jobs may be put aside in one claim: others wait for the lock. */
const mostPutAside = 1_000;

interface Candidate {
  readonly id: string;
  readonly controls: Controls | null;
  readonly heldBy: HeldBy | null;
}

/** In a transaction of its own. */
export async function claimGated(
  sql: Sql,
  wanted: ClaimedType,
  { workerId, limit, effects }: { readonly workerId: string; readonly limit: number; readonly effects: Effects },
): Promise<GatedClaim> {
  await lockLimits(sql, [wanted.type]);
  const [state] = await sql.rows<TypeState>(selectState, [wanted.type, workerId]);
  const now = Number(state!.now);
  const due = state!.next_due === null ? null : Number(state!.next_due);
  const settings = parseSettings(wanted.type, state!.settings);
  const mustStart = isLimited(settings, wanted);
  const gate = gateOf(settings, wanted, {
    now,
    processing: () => Number(state!.processing),
  });
  const most = state!.is_lost ? 0 : Math.min(limit, gate.room);
  const until = await waitsUntil(sql, wanted, { limit: most, now });
  if (until !== null) return { now, rows: [], nextAt: orNull(Math.min(until, due ?? Infinity)), isLimited: mustStart };
  const rows: StartedRow[] = [];
  let firstAt = due ?? Infinity;
  let putAside = 0;
  while (rows.length < limit && gate.room > 0 && gate.nextAt === null && !state!.is_lost) {
    const isFirst = putAside === 0 && rows.length === 0;
    const aged = isFirst ? await agedOf(sql, wanted, { limit, now }) : [];
    const candidates = aged.length > 0 ? aged : await candidatesOf(sql, wanted, limit - rows.length);
    if (candidates.length === 0) break;
    if (putAside >= mostPutAside) return { now, rows, nextAt: now, isLimited: mustStart };
    const judged = await judge(sql, gate, wanted.type, candidates);
    for (const { at } of judged.scheduled) firstAt = Math.min(firstAt, at);
    putAside += judged.blocked.length + judged.scheduled.length;
    if (judged.started.length > 0) rows.push(...(await start(sql, judged.started, { workerId, now })));
    await setAside(sql, judged, effects);
  }
  const nextAt = Math.min(gate.nextAt ?? Infinity, firstAt);
  return { now, rows, nextAt: orNull(nextAt), isLimited: mustStart };
}

function orNull(at: number): number | null {
  return at === Infinity ? null : at;
}

/** Until when those in turn wait for company; Infinity: nobody is there; null: they do not wait. */
async function waitsUntil(
  sql: Sql,
  { type, maxVersion, company }: ClaimedType,
  { limit, now }: { readonly limit: number; readonly now: number },
): Promise<number | null> {
  if (company === null) return null;
  const waiting = await sql.rows<{ run_at: number | string }>(selectInTurn, [type, maxVersion, company.min]);
  // One that arrives from here on has no company that was looked for: the next claim's.
  if (waiting.length === 0) return Infinity;
  const jobs = Math.min(waiting.length, limit);
  return companyUntil(company, { jobs, firstDueAt: Number(waiting[0]!.run_at) }, now);
}

interface TypeState {
  readonly now: number | string;
  readonly settings: string | null;
  readonly processing: number | string;
  readonly is_lost: boolean;
  readonly next_due: number | string | null;
}

interface Judged {
  readonly started: string[];
  readonly blocked: string[];
  readonly scheduled: { readonly id: string; readonly at: number; readonly key: string | null }[];
}

/** Asks for each in turn, and writes down what that spends. */
async function judge(sql: Sql, gate: Gate, type: string, candidates: readonly Candidate[]): Promise<Judged> {
  const { concurrency, rate } = keysOf(candidates);
  const unknown = gate.concurrencyPerKey === null ? [] : concurrency.filter((key) => !gate.processing.has(key));
  if (unknown.length > 0) {
    const counted = await sql.rows<{ key: string; processing: number | string }>(countInKeys, [unknown]);
    for (const { key, processing } of counted) gate.processing.set(key, Number(processing));
  }
  const before = await spentOf(sql, [type, ...rate]);
  gate.spent = new Map(before);
  const judged: Judged = { started: [], blocked: [], scheduled: [] };
  for (const candidate of candidates) {
    const verdict = admit(gate, type, candidate);
    if (verdict === "wait") break;
    if (verdict === "start") judged.started.push(candidate.id);
    else if (verdict === "block") judged.blocked.push(candidate.id);
    else {
      const key = candidate.controls?.concurrencyKey ?? null;
      judged.scheduled.push({ id: candidate.id, at: verdict.at, key });
    }
  }
  await keepSpent(sql, gate.spent, before);
  return judged;
}

/** Those of the lowest priority that have waited for long, where there are others. */
async function agedOf(
  sql: Sql,
  { type, maxVersion, aged }: ClaimedType,
  { limit, now }: { readonly limit: number; readonly now: number },
): Promise<readonly Candidate[]> {
  if (aged === 0) return [];
  const [place] = await sql.rows<{ urgency: number }>(selectAged, [[type], [maxVersion], now - agedAfterMs]);
  if (place === undefined) return [];
  const rows = await sql.rows<CandidateRow>(lockOfUrgency, [type, maxVersion, Math.min(aged, limit), place.urgency]);
  return toCandidates(rows);
}

async function candidatesOf(sql: Sql, { type, maxVersion }: ClaimedType, limit: number): Promise<readonly Candidate[]> {
  return toCandidates(await sql.rows<CandidateRow>(lockCandidates, [type, maxVersion, limit]));
}

interface CandidateRow {
  readonly id: string;
  readonly controls: string | null;
  readonly held_by: HeldBy | null;
}

function toCandidates(rows: readonly CandidateRow[]): readonly Candidate[] {
  return rows.map(({ id, controls, held_by: heldBy }) => ({
    id,
    controls: controls === null ? null : (JSON.parse(controls) as Controls),
    heldBy,
  }));
}

/** They started when it was decided: several statements later, more might seem to have started in a time than the rate allows. */
async function start(
  sql: Sql,
  ids: readonly string[],
  { workerId, now }: { readonly workerId: string; readonly now: number },
): Promise<readonly StartedRow[]> {
  const [row] = await sql.rows<{ jobs: string }>(startChosen, [ids, workerId, now]);
  return JSON.parse(row!.jobs) as StartedRow[];
}

async function setAside(sql: Sql, { blocked, scheduled }: Judged, effects: Effects): Promise<void> {
  if (blocked.length > 0) await sql.rows(blockChosen, [blocked]);
  if (scheduled.length === 0) return;
  await sql.rows(scheduleChosen, [scheduled.map(({ id }) => id), scheduled.map(({ at }) => at)]);
  await freeKeys(
    sql,
    scheduled.flatMap(({ key }) => key ?? []),
    effects,
  );
}

// Primary keys; workers and jobs_held for the count; jobs_due, its first.
const selectState = `
  select :now as now,
    (select settings from sluice.settings where type = $1) as settings,
    (
      select count(*)
      from sluice.workers
      join sluice.jobs as held on held.worker_id = workers.id and held.type = $1 and held.state = 'processing'
    ) as processing,
    exists (select 1 from sluice.workers where id = $2 and is_lost) as is_lost,
    (
      select timed.run_at
      from sluice.jobs as timed
      where timed.type = $1
        and timed.state in ('scheduled', 'retrying')
      order by timed.run_at
      limit 1
    ) as next_due`;

// jobs_ready, read in its order.
const selectInTurn = `
  select job.run_at
  from sluice.jobs as job
  where job.state = 'pending'
    and job.type = $1
    and job.version <= $2
  order by -job.priority, job.rank, job.id
  limit $3`;

// jobs_ready, read in its order.
const lockCandidates = `
  select job.id, job.controls, job.held_by
  from sluice.jobs as job
  where job.state = 'pending'
    and job.type = $1
    and job.version <= $2
  order by -job.priority, job.rank, job.id
  limit $3
  for no key update skip locked`;

// As above, from the place of the urgency on.
const lockOfUrgency = lockCandidates.replace(
  "and job.version <= $2",
  "and job.version <= $2\n    and -job.priority = $4",
);

/**
 * The urgency (the negative priority) from which aged jobs of each type are claimed: the greatest, where there is another and its
 * first has waited for long. jobs_ready, both ends of it.
 */
export const selectAged = `
  select wanted.type, last.urgency
  from unnest($1::text[], $2::int[]) as wanted (type, max_version)
  cross join lateral (
    select -job.priority as urgency
    from sluice.jobs as job
    where job.state = 'pending'
      and job.type = wanted.type
      and job.version <= wanted.max_version
    order by -job.priority desc, job.rank desc, job.id desc
    limit 1
  ) as last
  cross join lateral (
    select job.run_at
    from sluice.jobs as job
    where job.state = 'pending'
      and job.type = wanted.type
      and job.version <= wanted.max_version
      and -job.priority = last.urgency
    order by -job.priority, job.rank, job.id
    limit 1
  ) as first
  where first.run_at <= $3::bigint
    and exists (
      select 1
      from sluice.jobs as job
      where job.state = 'pending'
        and job.type = wanted.type
        and job.version <= wanted.max_version
        and -job.priority < last.urgency
    )`;

// jobs_in_key.
const countInKeys = `
  select wanted.key,
    (select count(*) from sluice.jobs as job where job.state = 'processing' and job.concurrency_key = wanted.key) as processing
  from unnest($1::text[]) as wanted (key)`;

/** Pending jobs have become this: the change of the counts. @param rows The name of what has them. */
function counting(rows: string, state: "processing" | "blocked" | "scheduled"): string {
  return `insert into sluice.deltas (type, state, n)
    select ${rows}.type, change.state::sluice.job_state, change.sign * count(*)
    from ${rows}
    cross join (values ('pending', -1), ('${state}', 1)) as change (state, sign)
    group by ${rows}.type, change.state, change.sign`;
}

// Primary key.
const startChosen = `
  with started as (
    update sluice.jobs as job
    set state = 'processing', epoch = job.epoch + 1, attempt = job.attempt + 1, worker_id = $2, started_at = $3::bigint, held_by = null
    where job.id = any ($1::uuid[])
    returning job.*
  ),
  counted as (
    ${counting("started", "processing")}
  )
  select coalesce(json_agg(json_build_array(
    ${claimedColumns},
    job.rank,
    true,
    case
      when job.unique_while = 'pending' and exists (select 1 from sluice.keys where key = '>' || job.unique_key)
      then job.unique_key
    end
  ) order by -job.priority, job.rank, job.id), '[]')::text as jobs
  from started as job`;

// Primary key.
const blockChosen = `
  with blocked as (
    update sluice.jobs as job
    set state = 'blocked', held_by = 'concurrency_key'
    where job.id = any ($1::uuid[])
    returning job.type
  )
  ${counting("blocked", "blocked")}`;

// Primary key.
const scheduleChosen = `
  with planned as (
    update sluice.jobs as job
    set state = 'scheduled', held_by = 'rate', run_at = chosen.at
    from unnest($1::uuid[], $2::bigint[]) as chosen (id, at)
    where job.id = chosen.id
    returning job.type
  )
  ${counting("planned", "scheduled")}`;
