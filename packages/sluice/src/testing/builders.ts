/**
 * Builders with sane defaults: a test names only what matters to it.
 */
import { v7 as uuidv7 } from "uuid";
import type { AttemptError, Hold, JobId } from "../job.js";
import type {
  ClaimedJob,
  ClaimRequest,
  Idempotency,
  NewJob,
  OperatorCommand,
  Settlement,
  StepWrite,
  UniqueClaim,
  WorkedType,
  WorkerBeat,
} from "../store.js";

/** The type of every job that does not name another. */
export const defaultType = "example";
export const defaultWorkerId = "worker-1";

/** A fresh id; ids sort in the order in which they were made. */
export function aJobId(): JobId {
  return uuidv7();
}

export function aNewJob(overrides: Partial<NewJob> = {}): NewJob {
  return {
    id: aJobId(),
    type: defaultType,
    version: 1,
    payload: "{}",
    correlation: null,
    priority: 0,
    due: null,
    maxAttempts: 3,
    unique: null,
    trace: null,
    blob: null,
    controls: null,
    intake: null,
    caller: null,
    idempotency: null,
    ...overrides,
  };
}

export function anIdempotency(overrides: Partial<Idempotency> = {}): Idempotency {
  return { key: "request-1", fingerprint: "the same", periodMs: 3_600_000, ...overrides };
}

export function aUniqueClaim(overrides: Partial<UniqueClaim> = {}): UniqueClaim {
  return { key: "key-1", holdWhile: "active", periodMs: null, onConflict: "keep", ...overrides };
}

/** Asks for up to 100 jobs of the default type, of any version. Types may be given by name alone. */
export function aClaim({
  types = [defaultType],
  ...overrides
}: Partial<Omit<ClaimRequest, "types">> & {
  readonly types?: readonly (string | (Partial<ClaimRequest["types"][number]> & { readonly type: string }))[];
} = {}): ClaimRequest {
  const unlimited = {
    limit: 1_000_000,
    maxVersion: 1_000_000,
    concurrency: null,
    controls: null,
    company: null,
    aged: 0,
  };
  return {
    workerId: defaultWorkerId,
    limit: 100,
    types: types.map((type) => (typeof type === "string" ? { ...unlimited, type } : { ...unlimited, ...type })),
    ...overrides,
  };
}

/** A claimed job that no store has: for tests of what a worker does with one. */
export function aClaimedJob(overrides: Partial<ClaimedJob> = {}): ClaimedJob {
  const at = Date.UTC(2026, 0, 1);
  return {
    id: aJobId(),
    epoch: 1,
    type: defaultType,
    version: 1,
    payload: "{}",
    correlation: null,
    priority: 0,
    createdAt: at,
    runAt: at,
    startedAt: at,
    attempt: 1,
    maxAttempts: 3,
    crashes: 0,
    trace: null,
    ...overrides,
  };
}

/** Types may be given by name alone: their first version, any number at once. */
export function aBeat({
  types = [defaultType],
  ...overrides
}: Partial<Omit<WorkerBeat, "types">> & {
  readonly types?: readonly (string | (Partial<WorkedType> & Pick<WorkedType, "type">))[];
} = {}): WorkerBeat {
  const plain = { version: 1, concurrency: null, slots: null, rate: null };
  return {
    workerId: defaultWorkerId,
    leaseMs: 15_000,
    host: "host-1",
    pid: 1,
    types: types.map((type) => (typeof type === "string" ? { ...plain, type } : { ...plain, ...type })),
    concurrency: 10,
    ...overrides,
  };
}

export function anError(overrides: Partial<AttemptError> = {}): AttemptError {
  return { name: "Error", message: "It broke.", ...overrides };
}

export function aStep(held: Hold, overrides: Partial<Omit<StepWrite, "hold">> = {}): StepWrite {
  return { hold: holdOf(held), name: "step-1", output: '"done"', ...overrides };
}

// ── settlements: how the attempt that holds a job ended ─────────────────────

/** Only what a settlement needs of a claimed job. */
export function holdOf({ id, epoch }: Hold): Hold {
  return { id, epoch };
}

export function completeOf(held: Hold, overrides: Partial<Ending<"complete">> = {}): Settlement {
  return { hold: holdOf(held), kind: "complete", output: null, children: [], ...overrides };
}

export function retryOf(held: Hold, overrides: Partial<Ending<"retry">> = {}): Settlement {
  return {
    hold: holdOf(held),
    kind: "retry",
    delayMs: 60_000,
    error: anError(),
    hasCrashed: false,
    isCharged: true,
    ...overrides,
  };
}

export function failOf(held: Hold, overrides: Partial<Ending<"fail">> = {}): Settlement {
  return {
    hold: holdOf(held),
    kind: "fail",
    reason: "exhausted",
    error: anError(),
    hasCrashed: false,
    isCharged: true,
    ...overrides,
  };
}

export function snoozeOf(held: Hold, overrides: Partial<Ending<"snooze">> = {}): Settlement {
  return { hold: holdOf(held), kind: "snooze", delayMs: 60_000, ...overrides };
}

export function cancelOf(held: Hold, overrides: Partial<Ending<"cancel">> = {}): Settlement {
  return { hold: holdOf(held), kind: "cancel", reason: "Not wanted any more.", ...overrides };
}

export function releaseOf(held: Hold): Settlement {
  return { hold: holdOf(held), kind: "release" };
}

type Ending<Kind extends Settlement["kind"]> = Omit<Extract<Settlement, { readonly kind: Kind }>, "hold" | "kind">;

// ── what operators ask for ──────────────────────────────────────────────────

export function aCommand(
  action: "cancel" | "retry" | "discard" | "release",
  target: readonly JobId[] | OperatorCommand["target"],
  overrides: { readonly actor?: string; readonly reason?: string | null } = {},
): OperatorCommand {
  return { target: targetOf(target), actor: "operator-1", reason: null, action, ...overrides };
}

export function anEdit(
  target: readonly JobId[] | OperatorCommand["target"],
  overrides: { readonly payload?: string; readonly version?: number; readonly reason?: string | null } = {},
): OperatorCommand {
  return {
    target: targetOf(target),
    actor: "operator-1",
    reason: null,
    action: "edit",
    payload: '{"edited":true}',
    version: 1,
    controls: null,
    ...overrides,
  };
}

function targetOf(target: readonly JobId[] | OperatorCommand["target"]): OperatorCommand["target"] {
  return "length" in target ? { ids: target } : target;
}
