/**
 * Says why a job is not running: one reason, the first that holds in the order below. Pure: the store brings the facts (`standing`),
 * queue.ts puts them together.
 *
 * 1. What the job itself waits for: its time (`scheduled`), its backoff (`backoff`), the job that holds its key (`blocked`), the
 *    start that the rate of its key has given it (`rate_limited`), its type's rollout (`rollout_off`). Nothing else that anybody does
 *    to its type would start it: a scheduled job of a paused type is `scheduled` until it is due, `paused` from then on.
 * 2. What was decided about its type: `paused`, by somebody or by its circuit breaker. No worker would help while it lasts.
 * 3. Who is missing: `no_worker`, `needs_newer_worker`. No place in a turn means anything while nobody takes turns.
 * 4. What the type is held to: `concurrency_full`, `rate_limited`.
 * 5. Its turn: `queued`, and `next` when a worker is about to take it.
 *
 * A reason that is lifted may show the next one: a type that is resumed may turn out to have no worker.
 */
import { breakerActor } from "./breaker.js";
import { assertNever } from "./errors.js";
import type { AttemptError, JobId, JobRecord } from "./job.js";
import { concurrencyOf, isPaused, type Pause, type TypeSettings } from "./settings.js";
import { fitsAt } from "./rate.js";
import type { WaitingJob, WorkedType, WorkerRecord } from "./store.js";

/** Instants are ms since 1970, on the store's clock. */
export type Waiting =
  /** Its time has not come. */
  | { readonly reason: "scheduled"; readonly until: number }
  /** Its last attempt failed. `attempt`: how many there were. */
  | {
      readonly reason: "backoff";
      readonly until: number;
      readonly attempt: number;
      readonly error: AttemptError | null;
    }
  /**
   * Another job holds its unique key and must end first (`by`; null when the store cannot say which), or as many of its concurrency
   * key as may be are processing (`concurrencyKey`).
   */
  | { readonly reason: "blocked"; readonly by: JobId | null; readonly concurrencyKey: string | null }
  /** Its type is not switched on for it. */
  | { readonly reason: "rollout_off" }
  /** The rate of its type, or of its key, is spent until then. */
  | { readonly reason: "rate_limited"; readonly until: number }
  /** Its type is paused: by whom, why, since when, until when. A circuit breaker pauses it as the actor "circuit breaker". */
  | { readonly reason: "paused"; readonly pause: Pause }
  /** No living worker works on its type. */
  | { readonly reason: "no_worker" }
  /** Living workers work on its type, but none knows its `version`; `newest` is the newest that one knows. */
  | { readonly reason: "needs_newer_worker"; readonly version: number; readonly newest: number }
  /** As many of its type as may be are processing. */
  | ({ readonly reason: "concurrency_full"; readonly limit: number; readonly processing: number } & Place)
  /** Others come first, or no worker has a free slot. */
  | ({ readonly reason: "queued" } & Place)
  /** Nothing is ahead of it, and a worker has a free slot: it is about to be claimed. */
  | { readonly reason: "next" };

export type WaitingReason = Waiting["reason"];

/** Where a job stands in the turn of its type. */
export interface Place {
  /** Jobs of its type that come before it, counted up to 1,000. */
  readonly ahead: number;
  /** There are more ahead than were counted. */
  readonly isAheadCut: boolean;
  /** How long that takes, at the pace of late; null where nobody can honestly say. See `waitOf`. */
  readonly wait: WaitRange | null;
}

export interface WaitRange {
  readonly leastMs: number;
  readonly mostMs: number;
}

/** What is known about the type of a job, beside the job. */
export interface TypeFacts {
  /** The store's present. */
  readonly now: number;
  readonly settings: TypeSettings;
  /** All of them; which of them live and work on the type is for this file to see. */
  readonly workers: readonly WorkerRecord[];
  /** How many jobs of the type are processing, in all processes. */
  readonly processing: number;
  /** Until when the rate of the type is spent; null where none was used. */
  readonly spentUntil: number | null;
  /** How long the last completed jobs of the type ran. */
  readonly runMs: readonly number[];
}

/** Why the job is not running; null when it runs or has ended. */
export function waitingOf(job: WaitingJob, facts: TypeFacts): Waiting | null {
  switch (job.state) {
    case "scheduled":
      // Due, and only not yet moved by a claim: as good as pending.
      if (job.runAt <= facts.now) return sinceDue(job, facts);
      return { reason: job.heldBy === "rate" ? "rate_limited" : "scheduled", until: job.runAt };
    case "retrying":
      if (job.runAt <= facts.now) return sinceDue(job, facts);
      return { reason: "backoff", until: job.runAt, attempt: job.attempt, error: job.error };
    case "blocked":
      return job.heldBy === "rollout" ? { reason: "rollout_off" } : blocked(job);
    case "pending":
      return sinceDue(job, facts);
    case "processing":
    case "completed":
    case "failed":
    case "cancelled":
      return null;
    default:
      return assertNever(job.state);
  }
}

function blocked({ holder, heldBy, controls }: WaitingJob): Waiting {
  if (heldBy !== "concurrency_key") return { reason: "blocked", by: holder, concurrencyKey: null };
  return { reason: "blocked", by: null, concurrencyKey: controls?.concurrencyKey ?? null };
}

// ── since it is due ─────────────────────────────────────────────────────────

/** Each says whether it is what keeps the job; the first that does is the reason. A new reason is one more of them, in its place. */
const obstacles: readonly ((job: WaitingJob, facts: TypeFacts, crew: Crew) => Waiting | null)[] = [
  paused,
  noWorker,
  needsNewerWorker,
  concurrencyFull,
  rateLimited,
];

function sinceDue(job: WaitingJob, facts: TypeFacts): Waiting {
  const crew = crewFor(job, facts);
  for (const obstacle of obstacles) {
    const waiting = obstacle(job, facts, crew);
    if (waiting !== null) return waiting;
  }
  const place = placeOf(job, facts, crew);
  return place.ahead === 0 && freeSlots(facts, crew) > 0 ? { reason: "next" } : { reason: "queued", ...place };
}

function paused(_job: WaitingJob, { settings, now }: TypeFacts): Waiting | null {
  const { pause, breaker } = settings;
  if (pause !== null && isPaused({ ...settings, breaker: null }, now)) return { reason: "paused", pause };
  if (breaker === null || breaker.until <= now) return null;
  const { error, openedAt, until } = breaker;
  return { reason: "paused", pause: { actor: breakerActor, reason: error, since: openedAt, until } };
}

function noWorker(_job: WaitingJob, _facts: TypeFacts, { ofType }: Crew): Waiting | null {
  return ofType.length === 0 ? { reason: "no_worker" } : null;
}

function needsNewerWorker({ version }: WaitingJob, _facts: TypeFacts, { ofType, able }: Crew): Waiting | null {
  if (able.length > 0) return null;
  return {
    reason: "needs_newer_worker",
    version,
    newest: Math.max(...ofType.map(({ worked }) => worked.version ?? 0)),
  };
}

function concurrencyFull(job: WaitingJob, facts: TypeFacts, crew: Crew): Waiting | null {
  const limit = limitOf(facts, crew);
  const { processing } = facts;
  if (processing < limit) return null;
  return { reason: "concurrency_full", limit, processing, ...placeOf(job, facts, crew) };
}

function rateLimited(
  { controls }: WaitingJob,
  { settings, spentUntil, now }: TypeFacts,
  { able }: Crew,
): Waiting | null {
  const rate = settings.rate ?? able.map(({ worked }) => worked.rate).find((each) => each !== null) ?? null;
  if (rate === null || spentUntil === null) return null;
  const until = Math.ceil(fitsAt(spentUntil, rate, controls?.weight ?? 1, now));
  return until > now ? { reason: "rate_limited", until } : null;
}

// ── workers ─────────────────────────────────────────────────────────────────

/** A living worker, and what it says of the type. */
interface Hand {
  readonly worker: WorkerRecord;
  readonly worked: WorkedType;
}

interface Crew {
  readonly ofType: readonly Hand[];
  /** Those that know the version of the job; one that did not say which it knows may well. */
  readonly able: readonly Hand[];
}

/** Whether the worker holds its lease: who died a moment ago does until it runs out. */
export function isAlive(
  { isLost, leaseExpiresAt }: Pick<WorkerRecord, "isLost" | "leaseExpiresAt">,
  now: number,
): boolean {
  return !isLost && leaseExpiresAt > now;
}

function crewFor({ type, version }: Pick<JobRecord, "type" | "version">, { workers, now }: TypeFacts): Crew {
  const ofType = workers
    .filter((worker) => isAlive(worker, now))
    .flatMap((worker) => worker.types.filter((worked) => worked.type === type).map((worked) => ({ worker, worked })));
  return { ofType, able: ofType.filter(({ worked }) => worked.version === null || worked.version >= version) };
}

/**
 * How many of the type may be processing at once; Infinity: any number. Where the settings do not say, each worker keeps to the
 * definition that it has: during a rolling upgrade the most generous decides, and one that did not say holds nothing back.
 */
function limitOf({ settings }: TypeFacts, { able }: Crew): number {
  return concurrencyOf(settings, null) ?? Math.max(...able.map(({ worked }) => worked.concurrency ?? Infinity));
}

function slotsOf({ worker, worked }: Hand): number {
  return Math.min(worker.concurrency, worked.slots ?? Infinity);
}

/** What could be claimed at once, as far as is known: jobs claimed ahead count as running. */
function freeSlots(facts: TypeFacts, crew: Crew): number {
  const { processing } = facts;
  const free = sum(
    crew.able.map((hand) => Math.min(slotsOf(hand), Math.max(0, hand.worker.concurrency - hand.worker.processing))),
  );
  // Whose slots the type's own jobs have taken is not known: of all workers on it together they have taken so many.
  const left = sum(crew.ofType.map(slotsOf)) - processing;
  return Math.max(0, Math.min(free, left, limitOf(facts, crew) - processing));
}

// ── the turn ────────────────────────────────────────────────────────────────

/** What a store counts to; more is only "more". */
const countedAhead = 1_000;

function placeOf(job: WaitingJob, facts: TypeFacts, crew: Crew): Place {
  const ahead = Math.min(job.ahead ?? 0, countedAhead);
  const isAheadCut = (job.ahead ?? 0) > countedAhead;
  return { ahead, isAheadCut, wait: isAheadCut ? null : waitOf(ahead, facts, crew) };
}

const leastSamples = 10;

/**
 * When its turn may come, if the jobs ahead run as long as those of late did: `n` ahead, `q10` and `q90` the run times that one in
 * ten stayed below and one in ten exceeded, and slots as the type's concurrency allows.
 * - Least: all slots of the workers are the type's, and what runs ends now: `floor(n / slots) * q10`.
 * - Most: what runs has only begun, and every other type of these workers takes its share of the slots:
 *   `ceil((n + 1 - free) / share) * q90`, nothing where a slot is free for it.
 *
 * An estimate and no promise: attempts that fail, jobs that come in with a higher priority and workers that come or go are not in it.
 * Null with fewer than 10 run times, or more than 1,000 jobs ahead.
 */
function waitOf(ahead: number, facts: TypeFacts, crew: Crew): WaitRange | null {
  if (facts.runMs.length < leastSamples) return null;
  const limit = limitOf(facts, crew);
  const slots = Math.max(1, Math.min(limit, sum(crew.able.map(slotsOf))));
  const share = Math.max(1, Math.min(limit, sum(crew.able.map(shareOf))));
  const leastMs = Math.floor(ahead / slots) * quantile(facts.runMs, 0.1);
  const mostMs = Math.ceil(Math.max(0, ahead + 1 - freeSlots(facts, crew)) / share) * quantile(facts.runMs, 0.9);
  return { leastMs: Math.round(leastMs), mostMs: Math.round(Math.max(leastMs, mostMs)) };
}

function shareOf(hand: Hand): number {
  return Math.min(slotsOf(hand), hand.worker.concurrency / hand.worker.types.length);
}

/** The value below which that part of them lies; nearest rank. */
function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]!;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
