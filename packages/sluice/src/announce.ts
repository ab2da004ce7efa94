/**
 * Which event says that an attempt was settled. One place, whoever settled it: its worker, or upkeep for a dead one.
 */
import { assertNever } from "./errors.js";
import type { Events, JobSubject } from "./events.js";
import type { ClaimedJob, SettleResult, Settlement } from "./store.js";

/** An attempt as events name it. */
export function about({ job, workerId }: { readonly job: ClaimedJob; readonly workerId: string }) {
  return { job: subjectOf(job), attempt: job.attempt, workerId };
}

/** The part of a job that events may name. */
export function subjectOf({ id, type, correlation }: JobSubject): JobSubject {
  return { id, type, correlation };
}

/** Call when the settlement is durable. */
export function announceSettled(
  events: Events,
  held: { readonly job: ClaimedJob; readonly workerId: string },
  { settlement, result, runMs }: { settlement: Settlement; result: SettleResult; runMs: number },
): void {
  if (result === "lease_lost") return events.emit("job.leaseLost", about(held));
  if (result === "cancelled") return events.emit("job.cancelled", { ...about(held), reason: "requested" });
  switch (settlement.kind) {
    case "complete":
      if (events.hasListener("job.completed")) events.emit("job.completed", { ...about(held), runMs });
      return;
    case "retry": {
      const { error, delayMs } = settlement;
      return events.emit("job.retried", { ...about(held), runMs, error, delayMs });
    }
    case "fail": {
      const { error, reason } = settlement;
      return events.emit("job.failed", { ...about(held), runMs, error, reason });
    }
    case "snooze":
      return events.emit("job.snoozed", { ...about(held), delayMs: settlement.delayMs });
    case "cancel":
      return events.emit("job.cancelled", { ...about(held), reason: settlement.reason });
    case "release":
      return events.emit("job.released", about(held));
    default:
      return assertNever(settlement);
  }
}
