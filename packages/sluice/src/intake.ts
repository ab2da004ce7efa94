/**
 * Whether a new job is taken in: its type's enqueue limits (R1) and rollout (O2). A job that is refused is refused before it
 * exists, with the time after which to try again; one that is taken in is never lost. Pure; decided in the transaction that adds it.
 */
import { JobsError } from "./errors.js";
import { jobGoneError, keyReusedError } from "./idempotency.js";
import type { Correlation, HeldBy } from "./job.js";
import { fitsAt, spend } from "./rate.js";
import type { Rate } from "./rate.js";
import { isRolledOut } from "./rollout.js";
import type { Rollout } from "./rollout.js";
import type { TypeSettings } from "./settings.js";
import type { EnqueueResult, NewJob } from "./store.js";

export interface EnqueueLimit {
  /** How many jobs of the type may be enqueued in a time; null: any number. */
  readonly rate?: Rate | null;
  /** The same for each caller, see `EnqueueOptions.caller`. */
  readonly ratePerCaller?: Rate | null;
  /** How many jobs of the type may wait (scheduled, pending, blocked, retrying); null: any number. */
  readonly maxBacklog?: number | null;
}

/** What the definition says where the settings of the type do not; travels with every job. */
export interface IntakeDefaults {
  readonly limit: EnqueueLimit | null;
  /** What becomes of a job whose type is not switched on for it. */
  readonly whenOff: "hold" | "reject";
  /** What a flag of the application's has said; null: nobody was asked, the stored rollout decides. */
  readonly isOn: boolean | null;
}

/** What is in force for the type, and where it stands. `takeIn` spends of the rates; who adds the job counts it. */
export interface Intake {
  readonly limit: EnqueueLimit | null;
  readonly rollout: Rollout | null;
  /** How many jobs of the type wait. */
  readonly backlog: number;
  /** By the names of `rateNames`: until when the rate is spent. */
  readonly spent: Map<string, number>;
}

export interface Arrival {
  readonly id: string;
  readonly type: string;
  readonly group: string | null;
  readonly correlation: Correlation | null;
  readonly caller: string | null;
  readonly whenOff: "hold" | "reject";
  readonly isOn: boolean | null;
}

/** @param isChild Part of work that was taken in before: held where others are refused. */
export function arrivalOf(job: NewJob, isChild = false): Arrival {
  const { id, type, correlation, caller, controls, intake } = job;
  const whenOff = isChild ? "hold" : (intake?.whenOff ?? "hold");
  return { id, type, correlation, caller, group: controls?.group ?? null, whenOff, isOn: intake?.isOn ?? null };
}

export type Refusal = {
  readonly outcome: "refused";
  /** `backlog`: too many wait already. `rate`: too many came in too short a time. `rollout`: the type is switched off for this job. */
  readonly reason: "backlog" | "rate" | "rollout";
  /** When it may be tried again, ms from now; null when time alone will not help. */
  readonly retryAfterMs: number | null;
};

/** Nobody knows when a backlog will have gone down; soon enough to notice, late enough not to press. */
const backlogRetryMs = 1_000;

export function takeIn(
  intake: Intake,
  arrival: Arrival,
  now: number,
): Refusal | { readonly outcome: "taken"; readonly heldBy: HeldBy | null } {
  const isOn = arrival.isOn ?? (intake.rollout === null || isRolledOut(intake.rollout, arrival));
  if (!isOn && arrival.whenOff === "reject") return { outcome: "refused", reason: "rollout", retryAfterMs: null };

  const { rate = null, ratePerCaller = null, maxBacklog = null } = intake.limit ?? {};
  if (maxBacklog !== null && intake.backlog >= maxBacklog) {
    return { outcome: "refused", reason: "backlog", retryAfterMs: backlogRetryMs };
  }
  const names = rateNames(arrival);
  const buckets = [
    ...(rate === null ? [] : [{ name: names.type, rate }]),
    ...(ratePerCaller === null || names.caller === null ? [] : [{ name: names.caller, rate: ratePerCaller }]),
  ];
  const at = Math.max(now, ...buckets.map((each) => fitsAt(intake.spent.get(each.name), each.rate, 1, now)));
  if (at > now) return { outcome: "refused", reason: "rate", retryAfterMs: Math.ceil(at - now) };

  for (const each of buckets) intake.spent.set(each.name, spend(intake.spent.get(each.name), each.rate, 1, now));
  return { outcome: "taken", heldBy: isOn ? null : "rollout" };
}

/** What is in force for a job's type, before anything is known of where it stands; null where everything is taken in. */
export function intakeOf(settings: TypeSettings, { intake }: Pick<NewJob, "intake">): Intake | null {
  const limit = settings.enqueueLimit ?? intake?.limit ?? null;
  if (limit === null && settings.rollout === null && (intake?.isOn ?? true)) return null;
  return { limit, rollout: settings.rollout, backlog: 0, spent: new Map() };
}

/** The names of an arrival's rates. None is that of a rate of claims: no type has a `<` in its name. */
export function rateNames({ type, caller }: Pick<Arrival, "type" | "caller">): {
  readonly type: string;
  readonly caller: string | null;
} {
  return { type: `<${type}`, caller: caller === null ? null : `<${type} ${caller}` };
}

/** Refused where the caller cannot go on without it. */
export function refusalError(type: string, { reason, retryAfterMs }: Refusal): JobsError {
  const why = {
    backlog: "as many of its type wait as may",
    rate: "more came in a short time than its type takes",
    rollout: "its type is not switched on for it",
  }[reason];
  const advice = retryAfterMs === null ? "" : ` Try again in ${retryAfterMs} ms.`;
  const details = { type, reason, retryAfterMs };
  return new JobsError("ENQUEUE_REFUSED", `The job of type ${type} was not taken in: ${why}.${advice}`, details);
}

/** In a caller's transaction, which counts on all of them. @throws {JobsError} ENQUEUE_REFUSED, IDEMPOTENCY_KEY_REUSED, JOB_GONE */
export function refuseAny(jobs: readonly NewJob[], results: readonly EnqueueResult[]): readonly EnqueueResult[] {
  results.forEach((result, index) => {
    const { type, idempotency } = jobs[index]!;
    if (result.outcome === "refused") throw refusalError(type, result);
    if (result.outcome === "key_reused") throw keyReusedError(type, idempotency?.key ?? null);
    if (result.outcome === "repeated" && result.job === null) throw jobGoneError(type, result.id);
  });
  return results;
}
