/**
 * What each request does to a job in a given state, decided once for all stores. Pure: no clock, no rows.
 * How a state is kept, and what else changes with it (keys, attempts, the audit), is the store's to write; see store.ts.
 */
import { assertNever } from "./errors.js";
import type { HeldBy, JobState } from "./job.js";
import type { OperatorCommand, Settlement, UniqueClaim } from "./store.js";

/** States in which the holder of a unique key can still take a newer payload. */
const waitingStates = ["scheduled", "pending", "blocked", "retrying"] as const satisfies readonly JobState[];

/** The state of a job that becomes available at `now`. `dueAt` null means at once; an instant that has come counts as come. */
export function firstState(dueAt: number | null, now: number): "scheduled" | "pending" {
  return dueAt === null || dueAt <= now ? "pending" : "scheduled";
}

/**
 * What an enqueue does when another job holds its unique key:
 * - `keep`: nothing is added, the holder is the answer.
 * - `replace`: the holder takes the new payload.
 * - `block`: one job waits behind the holder; if one waits already, that one takes the new payload.
 *
 * A holder that ended still has the key within its period; it can take nothing any more, so it is kept.
 */
export function conflictMove(
  onConflict: UniqueClaim["onConflict"],
  holderState: JobState,
): "keep" | "replace" | "block" {
  const isWaiting = (waitingStates as readonly JobState[]).includes(holderState);
  switch (onConflict) {
    case "keep":
      return "keep";
    case "replace":
      return isWaiting ? "replace" : "keep";
    case "rerun":
      if (isWaiting) return "replace";
      return holderState === "processing" ? "block" : "keep";
    default:
      return assertNever(onConflict);
  }
}

/** Where a settlement under a good hold leads. A requested cancellation takes the place of every way back to the queue. */
export function settledState(
  kind: Settlement["kind"],
  isCancelRequested: boolean,
): { readonly state: JobState; readonly result: "applied" | "cancelled" } {
  switch (kind) {
    case "complete":
      return { state: "completed", result: "applied" };
    case "fail":
      return { state: "failed", result: "applied" };
    case "cancel":
      return { state: "cancelled", result: "applied" };
    case "retry":
      return isCancelRequested ? cancelledInstead : { state: "retrying", result: "applied" };
    case "snooze":
      return isCancelRequested ? cancelledInstead : { state: "scheduled", result: "applied" };
    case "release":
      return isCancelRequested ? cancelledInstead : { state: "pending", result: "applied" };
    default:
      return assertNever(kind);
  }
}

const cancelledInstead = { state: "cancelled", result: "cancelled" } as const;

/**
 * What an operator's command does to a job in this state:
 * - `{ to }`: it moves there.
 * - `request_cancel`: an attempt holds it; it is asked to stop.
 * - `edit_in_place`: it takes the new payload and stays where it is.
 * - `let_go`: it waits for its time or a worker from now on, as if it had just been added.
 * - `wrong_state`: nothing.
 */
export function amendMove(
  action: OperatorCommand["action"],
  state: JobState,
  heldBy: HeldBy | null,
): { readonly to: JobState } | "request_cancel" | "edit_in_place" | "let_go" | "wrong_state" {
  switch (action) {
    case "cancel":
      if (state === "processing") return "request_cancel";
      return isQueued(state) ? { to: "cancelled" } : "wrong_state";
    case "retry":
      return state === "failed" || state === "retrying" ? { to: "pending" } : "wrong_state";
    case "edit":
      if (state === "failed") return { to: "pending" };
      // With another payload it may have another key.
      if (heldBy === "concurrency_key") return "let_go";
      return isQueued(state) ? "edit_in_place" : "wrong_state";
    case "discard":
      return state === "failed" ? { to: "cancelled" } : "wrong_state";
    case "release":
      return state === "blocked" && heldBy === "rollout" ? "let_go" : "wrong_state";
    default:
      return assertNever(action);
  }
}

/** No attempt has it and it has not ended: it waits for its time, a worker, a key or its backoff. */
function isQueued(state: JobState): boolean {
  return (waitingStates as readonly JobState[]).includes(state);
}
