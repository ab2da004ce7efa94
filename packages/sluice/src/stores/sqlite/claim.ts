/**
 * Hands pending jobs to a worker. The rows become JSON text inside SQLite: one string crosses to the caller's thread for a whole
 * claim, instead of fourteen values for every job through the driver and again through structured clone (measured: 17 → 13 µs).
 */
import { agedAfterMs } from "../../aging.js";
import { admit, companyUntil, keysOf } from "../../admission.js";
import type { Controls, HeldBy } from "../../job.js";
import type { ClaimAnswer, ClaimedType, ClaimRequest } from "../../store.js";
import { giveBackKey } from "./enqueue.js";
import { block, schedule } from "./hold.js";
import type { Held } from "./hold.js";
import { keepSpent, spentOf } from "./rates.js";
import { claimedColumns } from "./rows.js";
import { inForce } from "./settings.js";
import type { TypeInForce } from "./settings.js";
import type { Session } from "./session.js";
import { cancelsOf, claimantOf, isLost } from "./workers.js";

/** A `ClaimAnswer` on its way between threads: its jobs are still packed, see `unpackClaimed`. */
export interface PackedClaim extends Omit<ClaimAnswer, "jobs"> {
  readonly jobs: string;
}

/** Whether a claim would find anything: a look without the write lock, for the many claims that find nothing. */
export function hasClaimable(session: Session, { workerId, limit, types }: ClaimRequest): boolean {
  const isClaiming = limit > 0 && !isLost(session, workerId);
  return types.some(
    (wanted) =>
      session.sql(selectAnyDue).get(wanted.type, session.now) !== undefined ||
      (isClaiming &&
        session.sql(selectAnyReady).get(wanted.type, wanted.maxVersion) !== undefined &&
        mayStart(session, wanted, limit)),
  );
}

function mayStart(session: Session, wanted: ClaimedType, limit: number): boolean {
  const { gate, isGated } = inForce(session, wanted);
  return gate.room > 0 && (!isGated || nextAt(session, wanted, { gate, limit }) === null);
}

/** What is there to say to a worker that claims nothing. Reads only. */
export function answerNothing(session: Session, request: ClaimRequest): PackedClaim {
  const found = request.types.map((wanted) => ({ wanted, ...inForce(session, wanted) }));
  const limit = isLost(session, request.workerId) ? 0 : request.limit;
  const nextAts = found.flatMap(({ wanted, gate, isGated }) =>
    isGated ? (nextAt(session, wanted, { gate, limit }) ?? []) : [],
  );
  return answer(session, request, { found, nextAts });
}

function answer(
  session: Session,
  request: ClaimRequest,
  { found, nextAts }: { readonly found: readonly TypeInForce[]; readonly nextAts: readonly number[] },
): PackedClaim {
  return {
    jobs: "[]",
    nextDueInMs: nextDueInMs(session, request, nextAts),
    cancels: cancelsOf(session, request.workerId),
    limited: request.types.filter((_, index) => found[index]!.isLimited).map(({ type }) => type),
  };
}

export function claim(session: Session, request: ClaimRequest): PackedClaim {
  for (const { type } of request.types) promote(session, type);

  const claimed: string[] = [];
  const nextAts: number[] = [];
  const worker = claimantOf(session, request.workerId);
  let left = worker.isLost ? 0 : request.limit;
  const found = request.types.map((wanted) => {
    const type = inForce(session, wanted);
    const turns = left <= 0 ? 0 : Math.min(wanted.limit, left, type.gate.room);
    const { jobs, nextAt } = type.isGated
      ? startGated(session, wanted, { gate: type.gate, limit: turns, worker: worker.seq })
      : { jobs: startPlain(session, wanted, { limit: turns, worker: worker.seq }), nextAt: null };
    left -= jobs.length;
    for (const job of jobs) claimed.push(job);
    if (nextAt !== null) nextAts.push(nextAt);
    return type;
  });
  return { ...answer(session, request, { found, nextAts }), jobs: `[${claimed.join(",")}]` };
}

/** Scheduled and retrying jobs whose time has come become pending, in the place that their due time gives them. */
function promote(session: Session, type: string): void {
  if (session.sql(selectAnyDue).get(type, session.now) === undefined) return;
  // A bounded number at a time: ten thousand jobs due in one second must not hold up everybody else's commit.
  const due = session.sql(countDue).all(type, session.now) as { state: "scheduled" | "retrying"; jobs: number }[];
  session.sql(promoteDue).run(type, session.now);
  for (const { state, jobs } of due) session.moved(type, state, "pending", jobs);
}

interface Share {
  readonly limit: number;
  /** Number of the worker. */
  readonly worker: number;
}

/** The aged first, then all in turn. */
function startPlain(session: Session, wanted: ClaimedType, share: Share): readonly string[] {
  const aged = agedOf(session, wanted, share.limit).map(({ seq }) => seq);
  if (aged.length === 0) return startReady(session, wanted, share);
  const jobs = startChosen(session, wanted.type, { worker: share.worker, seqs: aged });
  return [...jobs, ...startReady(session, wanted, { ...share, limit: share.limit - jobs.length })];
}

function startChosen(
  session: Session,
  type: string,
  { worker, seqs }: Pick<Share, "worker"> & { readonly seqs: readonly number[] },
): readonly string[] {
  const rows = session.sqlOfArrays(claimChosen).all(worker, session.now, JSON.stringify(seqs)) as StartedRow[];
  return started(session, type, rows);
}

function startReady(session: Session, { type, maxVersion }: ClaimedType, { limit, worker }: Share): readonly string[] {
  if (limit <= 0) return [];
  const rows = session.sqlOfArrays(claimReady).all(worker, session.now, type, maxVersion, limit) as StartedRow[];
  for (const [seq, id] of rows) session.handedOut.add(id, { seq, type });
  return started(session, type, rows);
}

function started(session: Session, type: string, rows: StartedRow[]): readonly string[] {
  // `returning` promises no order.
  rows.sort(byTurn);
  for (const [seq, , , , heldKey] of rows) {
    if (heldKey !== null) giveBackKey(session, { seq, heldKey, holdWhile: "pending" });
  }
  session.moved(type, "pending", "processing", rows.length);
  return rows.map((row) => row[5]);
}

// ── types whose jobs must be asked for one by one ───────────────────────────

/** So many jobs may be put aside in one claim: others wait for the lock. */
const mostPutAside = 1_000;

interface Candidate extends Held {
  readonly dueAt: number;
  readonly controls: Controls | null;
  readonly heldBy: HeldBy | null;
}

/** Starts those that may, in turn, and puts those aside that may not. `nextAt`: when it is worth asking again. */
function startGated(
  session: Session,
  wanted: ClaimedType,
  { gate, limit, worker }: Share & { readonly gate: TypeInForce["gate"] },
): { readonly jobs: readonly string[]; readonly nextAt: number | null } {
  const until = waitsUntil(session, wanted, { gate, limit });
  if (until !== null) return { jobs: [], nextAt: until };
  const jobs: string[] = [];
  let putAside = 0;
  while (jobs.length < limit && gate.nextAt === null) {
    const first = putAside === 0 && jobs.length === 0 ? agedOf(session, wanted, limit) : [];
    const candidates = first.length > 0 ? first : candidatesOf(session, wanted, limit - jobs.length);
    if (candidates.length === 0) break;
    if (putAside >= mostPutAside) return { jobs, nextAt: session.now };
    const before = fill(session, gate, wanted.type, candidates);
    const starting: number[] = [];
    for (const candidate of candidates) {
      const verdict = admit(gate, wanted.type, candidate);
      if (verdict === "wait") break;
      if (verdict === "start") {
        starting.push(candidate.seq);
        continue;
      }
      putAside += 1;
      if (verdict === "block") block(session, candidate);
      else schedule(session, candidate, verdict.at);
    }
    keepSpent(session, gate.spent, before);
    if (starting.length === 0 && gate.room <= 0) break;
    jobs.push(...startChosen(session, wanted.type, { worker, seqs: starting }));
  }
  return { jobs, nextAt: gate.nextAt };
}

type GateAndLimit = Pick<Share, "limit"> & { readonly gate: TypeInForce["gate"] };

/** When those in turn may start; null: now, or whenever somebody else makes room. */
function nextAt(session: Session, wanted: ClaimedType, { gate, limit }: GateAndLimit): number | null {
  const [first] = candidatesOf(session, wanted, 1);
  if (first === undefined) return null;
  const until = waitsUntil(session, wanted, { gate, limit });
  if (until !== null || limit <= 0) return until;
  fill(session, gate, wanted.type, [first]);
  admit(gate, wanted.type, first);
  return gate.nextAt;
}

/** Until when those in turn wait for company; null: they do not. */
function waitsUntil(session: Session, wanted: ClaimedType, { gate, limit }: GateAndLimit): number | null {
  const { company } = wanted;
  if (company === null) return null;
  const waiting = candidatesOf(session, wanted, company.min);
  if (waiting.length === 0) return null;
  const jobs = Math.min(waiting.length, wanted.limit, limit, gate.room);
  return companyUntil(company, { jobs, firstDueAt: waiting[0]!.dueAt }, session.now);
}

/** Those of the lowest priority that have waited for long, where there are others. */
function agedOf(session: Session, { type, maxVersion, aged }: ClaimedType, limit: number): readonly Candidate[] {
  if (aged === 0 || limit <= 0) return [];
  const { lowest, highest } = session.sql(selectPriorities).get(type, maxVersion) as {
    lowest: number | null;
    highest: number | null;
  };
  if (lowest === highest) return [];
  const rows = session.sql(selectOfPriority).all(type, maxVersion, lowest, Math.min(aged, limit)) as CandidateRow[];
  return rows[0]!.run_at <= session.now - agedAfterMs ? rows.map(toCandidate) : [];
}

function candidatesOf(session: Session, { type, maxVersion }: ClaimedType, limit: number): readonly Candidate[] {
  return (session.sql(selectCandidates).all(type, maxVersion, limit) as CandidateRow[]).map(toCandidate);
}

interface CandidateRow extends Held {
  readonly controls: string | null;
  readonly held_by: HeldBy | null;
  readonly run_at: number;
}

function toCandidate({ controls, held_by: heldBy, run_at: dueAt, ...row }: CandidateRow): Candidate {
  return { ...row, dueAt, controls: controls === null ? null : (JSON.parse(controls) as Controls), heldBy };
}

/** Brings what the gate must know to judge these. Answers the rates as they were found. */
function fill(
  session: Session,
  gate: TypeInForce["gate"],
  type: string,
  candidates: readonly Candidate[],
): ReadonlyMap<string, number> {
  const { concurrency, rate } = keysOf(candidates);
  if (gate.concurrencyPerKey !== null) {
    for (const key of concurrency) {
      if (gate.processing.has(key)) continue;
      gate.processing.set(key, (session.sql(countInKey).get(key) as { processing: number }).processing);
    }
  }
  const before = spentOf(session, [type, ...rate]);
  gate.spent = new Map(before);
  return before;
}

type StartedRow = readonly [
  seq: number,
  id: string,
  priority: number,
  rank: number,
  heldKey: string | null,
  job: string,
];

function byTurn(a: StartedRow, b: StartedRow): number {
  return b[2] - a[2] || a[3] - b[3] || a[0] - b[0];
}

function nextDueInMs(session: Session, { types }: ClaimRequest, nextAts: readonly number[]): number | null {
  let next = Math.min(...nextAts);
  for (const { type } of types) {
    const { at } = session.sql(selectNextDue).get(type) as { at: number | null };
    if (at !== null && at < next) next = at;
  }
  return next === Infinity ? null : Math.max(0, next - session.now);
}

// sluice_jobs_due.
const selectAnyDue = `
  select 1
  from sluice_jobs
  where type = ?
    and state in ('scheduled', 'retrying')
    and run_at <= ?
  limit 1`;

// sluice_jobs_ready.
const selectAnyReady = `
  select 1
  from sluice_jobs
  where type = ?
    and state = 'pending'
    and version <= ?
  limit 1`;

// sluice_jobs_due.
const selectNextDue = `
  select min(run_at) as at
  from sluice_jobs
  where type = ?
    and state in ('scheduled', 'retrying')`;

// sluice_jobs_due. The same jobs that promoteDue moves.
const countDue = `
  select state, count(*) as jobs
  from (
    select state
    from sluice_jobs
    where type = ?
      and state in ('scheduled', 'retrying')
      and run_at <= ?
    order by run_at, seq
    limit 1000
  )
  group by state`;

// Inner: sluice_jobs_due, read in its order. Outer: primary key.
const promoteDue = `
  update sluice_jobs
  set state = 'pending', rank = case when controls ->> 'group' is null then run_at * 1000 else rank end
  where seq in (
    select seq
    from sluice_jobs
    where type = ?
      and state in ('scheduled', 'retrying')
      and run_at <= ?
    order by run_at, seq
    limit 1000
  )`;

// sluice_jobs_ready, read in its order.
const selectCandidates = `
  select seq, type, concurrency_key, controls, held_by, run_at
  from sluice_jobs
  where type = ?
    and state = 'pending'
    and version <= ?
  order by priority desc, rank, seq
  limit ?`;

// sluice_jobs_ready, both ends of it.
const selectPriorities = `
  select
    (
      select priority from sluice_jobs where type = ?1 and state = 'pending' and version <= ?2 order by priority limit 1
    ) as lowest,
    (
      select priority from sluice_jobs where type = ?1 and state = 'pending' and version <= ?2 order by priority desc limit 1
    ) as highest`;

// sluice_jobs_ready, from the place of the priority on.
const selectOfPriority = `
  select seq, type, concurrency_key, controls, held_by, run_at
  from sluice_jobs
  where type = ?
    and state = 'pending'
    and version <= ?
    and priority = ?
  order by rank, seq
  limit ?`;

// sluice_jobs_in_key.
const countInKey = `
  select count(*) as processing
  from sluice_jobs
  where state = 'processing'
    and concurrency_key = ?`;

const startedColumns = `
  seq, id, priority, rank, case when unique_while = 'pending' then held_key end, ${claimedColumns}`;

// Primary key.
const claimChosen = `
  update sluice_jobs
  set state = 'processing', epoch = epoch + 1, attempt = attempt + 1, worker = ?1, started_at = ?2, held_by = null
  where seq in (select value from json_each(?3))
  returning ${startedColumns}`;

// Inner: sluice_jobs_ready, read in its order. Outer: primary key.
const claimReady = `
  update sluice_jobs
  set state = 'processing', epoch = epoch + 1, attempt = attempt + 1, worker = ?1, started_at = ?2
  where seq in (
    select seq
    from sluice_jobs
    where type = ?3
      and state = 'pending'
      and version <= ?4
    order by priority desc, rank, seq
    limit ?5
  )
  returning ${startedColumns}`;
