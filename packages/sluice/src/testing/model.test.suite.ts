/**
 * Random commands on the memory store and another store side by side, on one clock: every answer and everything that
 * can be seen must be the same. fast-check prints the seed and the shortest sequence that tells them apart; run it again
 * with SLUICE_MODEL_SEED, or for longer with SLUICE_MODEL_RUNS.
 */
import fc from "fast-check";
import { expect } from "vitest";
import { failReasons, jobStates, type Controls, type Hold, type JobId } from "../job.js";
import type { SettingsPatch } from "../settings.js";
import type {
  BeatAnswer,
  ClaimedType,
  Idempotency,
  NewJob,
  OperatorCommand,
  Settlement,
  Store,
  UniqueClaim,
} from "../store.js";
import { memory } from "../stores/memory/index.js";
import { aBeat, aNewJob, anError, cancelOf, completeOf, failOf, releaseOf, retryOf, snoozeOf } from "./builders.js";
import { ManualClock } from "./manual-clock.js";

const seed = process.env["SLUICE_MODEL_SEED"];
const longestSequence = 40;
const leaseMs = 2_000;
const everything = { before: null, limit: 1_000 };

export interface Tested {
  readonly store: Store<unknown>;
  dispose(): Promise<void>;
}

/** How many sequences, unless SLUICE_MODEL_RUNS says otherwise; and how long that may take at most. */
export function modelRuns(usual: number): { readonly runs: number; readonly limitMs: number } {
  const runs = Number(process.env["SLUICE_MODEL_RUNS"] ?? usual);
  return { runs, limitMs: 20_000 + runs * 1_000 };
}

/**
 * Rejects with the shortest sequence found that tells the store from the memory store.
 * @param limitMs Also ends the search for a shorter sequence, so that the one found so far is printed.
 */
export async function expectLikeMemory(
  open: (clock: ManualClock) => Promise<Tested>,
  { runs, limitMs }: { readonly runs: number; readonly limitMs: number },
): Promise<void> {
  const sequences = fc.asyncProperty(
    fc.array(aCommand(), { minLength: 1, maxLength: longestSequence, size: "max" }),
    (commands) => runBoth(commands, open),
  );
  await fc.assert(sequences, {
    numRuns: runs,
    interruptAfterTimeLimit: limitMs,
    ...(seed !== undefined && { seed: Number(seed) }),
  });
}

// ── commands ────────────────────────────────────────────────────────────────

/**
 * Numbers and names stand for what exists when the command runs: jobs are counted from the newest, and a worker that was
 * lost goes on under a new id. A sequence therefore stays meaningful when fast-check shortens it.
 */
export type Command =
  | { readonly does: "enqueue"; readonly jobs: readonly Partial<NewJob>[] }
  | { readonly does: "enqueueAgain"; readonly job: number }
  | {
      readonly does: "claim";
      readonly worker: string;
      readonly limit: number;
      readonly types: readonly ClaimedType[];
    }
  | { readonly does: "settle"; readonly endings: readonly { readonly hold: HoldRef; readonly ending: Ending }[] }
  | { readonly does: "remember"; readonly hold: HoldRef; readonly name: string; readonly output: string | null }
  | { readonly does: "annotate"; readonly hold: HoldRef; readonly done: number }
  | { readonly does: "amendOne"; readonly job: number; readonly act: Act }
  | { readonly does: "amendMany"; readonly filter: object; readonly limit: number; readonly act: Act }
  | {
      readonly does: "setType";
      readonly type: string;
      readonly patch: SettingsPatch;
      /** A pause ends so much later; null: when it is resumed. */
      readonly pausedForMs: number | null;
      readonly ifVersion: number | null;
    }
  | { readonly does: "heartbeat" | "retire"; readonly worker: string }
  | { readonly does: "findLost"; readonly limit: number }
  | { readonly does: "prune"; readonly retentionMs: number; readonly limit: number }
  | { readonly does: "advance"; readonly ms: number };

/** One of the jobs in flight; `isStale`: under the hold before the present one. */
type HoldRef = { readonly index: number; readonly isStale: boolean };
const bothTypes = ["bake", "brew"].map((type) => ({
  type,
  limit: 5,
  maxVersion: 2,
  concurrency: null,
  controls: null,
  company: null,
  aged: 0,
}));
type Act = "cancel" | "retry" | "discard" | "edit" | "release";
type Ending =
  | { readonly kind: "complete"; readonly child: Partial<NewJob> | null }
  | { readonly kind: "retry"; readonly delayMs: number; readonly hasCrashed: boolean }
  | { readonly kind: "fail"; readonly reason: (typeof failReasons)[number]; readonly isCharged: boolean }
  | { readonly kind: "snooze"; readonly delayMs: number }
  | { readonly kind: "cancel" | "release" };

export function aCommand(): fc.Arbitrary<Command> {
  const type = fc.constantFrom("bake", "brew");
  const worker = fc.constantFrom("worker-1", "worker-2");
  const newest = fc.nat({ max: 5 });
  const hold = fc.record({ index: newest, isStale: fc.constantFrom(false, false, false, true) });
  const act = fc.constantFrom<Act>("cancel", "retry", "discard", "edit", "release");
  const delayMs = fc.constantFrom(0, 1_000, 3_000);
  const unique: fc.Arbitrary<UniqueClaim> = fc.record({
    key: fc.constantFrom("key-1", "key-2"),
    holdWhile: fc.constantFrom("active", "pending", "period"),
    periodMs: fc.constant(2_500),
    onConflict: fc.constantFrom("keep", "replace", "rerun", "rerun"),
  });
  const due: fc.Arbitrary<NewJob["due"]> = fc.oneof(
    { weight: 3, arbitrary: fc.constant(null) },
    fc.record({ afterMs: delayMs }),
    fc.record({ at: fc.constantFrom(0, 2_000_000_000_000) }),
  );
  const controls: fc.Arbitrary<Controls> = fc.record({
    concurrencyKey: fc.constantFrom(null, "bake k1", "bake k2"),
    rateKey: fc.constantFrom(null, "bake r1"),
    weight: fc.constantFrom(1, 2),
    group: fc.constantFrom(null, "g1", "g2"),
    cost: fc.constantFrom(1, 0.5),
  });
  const idempotency: fc.Arbitrary<Idempotency> = fc.record({
    key: fc.constantFrom("request-1", "request-2"),
    fingerprint: fc.constantFrom("one", "one", "other"),
    periodMs: fc.constantFrom(2_500, 100_000),
  });
  const intake: fc.Arbitrary<NewJob["intake"]> = fc.record({
    limit: fc.constantFrom(null, { maxBacklog: 3 }),
    whenOff: fc.constantFrom("hold", "reject"),
    isOn: fc.constantFrom(null, null, true, false),
  });
  const job = fc.record({
    type,
    version: fc.constantFrom(1, 1, 2),
    payload: fc.constantFrom('{"n":1}', '{"n":2}'),
    priority: fc.constantFrom(0, 0, 1, -1),
    correlation: fc.constantFrom(null, { entityId: "e1" }),
    due,
    unique: fc.option(unique, { freq: 1 }),
    controls: fc.option(controls, { freq: 1 }),
    intake: fc.oneof({ weight: 4, arbitrary: fc.constant(null) }, intake),
    caller: fc.constantFrom(null, null, "key-1"),
    idempotency: fc.option(idempotency, { freq: 1 }),
  });
  const ending: fc.Arbitrary<Ending> = fc.oneof(
    fc.record({ kind: fc.constant("complete" as const), child: fc.option(job, { freq: 1 }) }),
    fc.record({ kind: fc.constant("retry" as const), delayMs, hasCrashed: fc.boolean() }),
    fc.record({ kind: fc.constant("fail" as const), reason: fc.constantFrom(...failReasons), isCharged: fc.boolean() }),
    fc.record({ kind: fc.constant("snooze" as const), delayMs }),
    fc.record({ kind: fc.constantFrom("cancel" as const, "release" as const) }),
  );
  const filter = fc.record(
    {
      types: fc.constantFrom(["bake"], ["bake", "brew"], []),
      states: fc.subarray([...jobStates], { minLength: 1 }),
      failReasons: fc.subarray([...failReasons], { minLength: 1 }),
      correlation: fc.constant({ entityId: "e1" }),
    },
    { requiredKeys: [] },
  );
  const claimed = fc.record({
    type,
    limit: fc.constantFrom(1, 3),
    maxVersion: fc.constantFrom(1, 2),
    company: fc.constantFrom(null, null, { min: 2, waitMs: 2_000 }),
    aged: fc.constantFrom(0, 0, 1),
    concurrency: fc.constantFrom(null, null, 1, 2),
    controls: fc.constantFrom(null, null, { concurrencyPerKey: 1, rate: null, ratePerKey: null }),
  });
  const claim = fc.record({
    does: fc.constant("claim" as const),
    worker,
    limit: fc.constantFrom(0, 1, 2, 5, 5, 5),
    types: fc.oneof(
      { weight: 3, arbitrary: fc.constant(bothTypes) },
      fc.uniqueArray(claimed, { selector: ({ type }) => type, minLength: 1 }),
    ),
  });
  const settle = fc.record({
    does: fc.constant("settle" as const),
    endings: fc.array(fc.record({ hold, ending }), { minLength: 1, maxLength: 3 }),
  });
  const change = fc.record({
    does: fc.constant("setType" as const),
    type,
    patch: fc.constantFrom<SettingsPatch>(
      { pause: {} },
      { pause: null },
      { concurrency: 1 },
      { concurrency: 2 },
      { concurrency: null },
      { concurrencyPerKey: 1 },
      { concurrencyPerKey: 2, ratePerKey: { limit: 1, perMs: 1_000, burst: 1 } },
      { rate: { limit: 2, perMs: 1_000, burst: 2 } },
      { concurrencyPerKey: null, rate: null, ratePerKey: null },
      { enqueueLimit: { maxBacklog: 4, ratePerCaller: { limit: 1, perMs: 1_000, burst: 1 } } },
      { rollout: { percentage: 50 } },
      { enqueueLimit: null, rollout: null },
    ),
    pausedForMs: fc.constantFrom(null, 1_500),
    ifVersion: fc.constantFrom(null, null, 0, 1),
  });
  const some = fc.constantFrom(1, 2, 10);
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        does: fc.constant("enqueue" as const),
        jobs: fc.array(job, { minLength: 1, maxLength: 3 }),
      }),
    },
    { weight: 6, arbitrary: claim },
    { weight: 6, arbitrary: settle },
    { weight: 3, arbitrary: fc.record({ does: fc.constant("amendOne" as const), job: newest, act }) },
    {
      weight: 3,
      arbitrary: fc.record({ does: fc.constant("advance" as const), ms: fc.constantFrom(1, 1_000, 2_500, 61_000) }),
    },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("findLost" as const), limit: some }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant("heartbeat" as const), worker }) },
    { weight: 2, arbitrary: change },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("retire" as const), worker }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("enqueueAgain" as const), job: newest }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("amendMany" as const), filter, limit: some, act }) },
    {
      weight: 1,
      arbitrary: fc.record({
        does: fc.constant("remember" as const),
        hold,
        name: fc.constantFrom("step-1", "step-2"),
        output: fc.constantFrom(null, '"a"', '"b"'),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ does: fc.constant("annotate" as const), hold, done: fc.nat({ max: 9 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        does: fc.constant("prune" as const),
        retentionMs: fc.constantFrom(0, 2_000),
        limit: some,
      }),
    },
  );
}

// ── running them ────────────────────────────────────────────────────────────

/** What the commands so far have brought about, as far as later ones refer to it. */
export class World {
  readonly clock = new ManualClock();
  readonly jobs: NewJob[] = [];
  readonly #registered = new Set<string>();
  readonly #generations = new Map<string, number>();
  #live: readonly Hold[] = [];
  #lastNumber = 0;

  newJob(overrides: Partial<NewJob>): NewJob {
    // Ids that sort in the order they were made, and are the same in every run of a seed.
    const number = String(++this.#lastNumber).padStart(12, "0");
    const job = aNewJob({ ...overrides, id: `01900000-0000-7000-8000-${number}` });
    this.jobs.push(job);
    return job;
  }

  job(fromNewest: number): JobId {
    return this.jobs.at(-1 - fromNewest)?.id ?? "01900000-0000-7000-8000-ffffffffffff";
  }

  hold({ index, isStale }: HoldRef): Hold {
    const { id, epoch } = this.#live[index % this.#live.length] ?? { id: this.job(index), epoch: 1 };
    return { id, epoch: isStale ? epoch - 1 : epoch };
  }

  get hasLive(): boolean {
    return this.#live.length > 0;
  }

  /** Takes note of what can be seen now. */
  see({ jobs }: Awaited<ReturnType<typeof visible>>): void {
    this.#live = jobs.filter(({ state }) => state === "processing");
  }

  /** The id under which a worker goes on now; it registers before it does anything else. */
  asWorker(name: string, ask: (store: Store<unknown>, workerId: string) => Promise<unknown>): Ask {
    const workerId = `${name}.${this.#generations.get(name) ?? 1}`;
    const isNew = !this.#registered.has(workerId);
    this.#registered.add(workerId);
    return async (store) => {
      if (isNew) await store.heartbeat(aBeat({ workerId, leaseMs }));
      return ask(store, workerId);
    };
  }

  /** After it retired or heard that it was lost. */
  startsAnew(name: string): void {
    this.#generations.set(name, (this.#generations.get(name) ?? 1) + 1);
  }

  settlement(hold: Hold, ending: Ending): Settlement {
    switch (ending.kind) {
      case "complete":
        return completeOf(hold, { output: '"done"', children: ending.child ? [this.newJob(ending.child)] : [] });
      case "retry":
        return retryOf(hold, { delayMs: ending.delayMs, hasCrashed: ending.hasCrashed });
      case "fail":
        return failOf(hold, { reason: ending.reason, isCharged: ending.isCharged, error: anError() });
      case "snooze":
        return snoozeOf(hold, { delayMs: ending.delayMs });
      case "cancel":
        return cancelOf(hold);
      case "release":
        return releaseOf(hold);
    }
  }
}

export type Ask = (store: Store<unknown>) => Promise<unknown>;

/** The command as one question that both stores are asked. */
export function toAsk(command: Command, world: World): Ask {
  const { clock } = world;
  switch (command.does) {
    case "enqueue": {
      const jobs = command.jobs.map((job) => world.newJob(job));
      return (store) => store.enqueue(jobs);
    }
    case "enqueueAgain": {
      const job = world.jobs.at(-1 - command.job) ?? world.newJob({});
      return (store) => store.enqueue([job]);
    }
    case "claim": {
      const { limit, types } = command;
      return world.asWorker(command.worker, (store, workerId) => store.claim({ workerId, limit, types }));
    }
    case "settle": {
      // With nothing in flight it would do nothing: most sequences would never get anywhere.
      if (!world.hasLive) {
        return world.asWorker("worker-1", (store, workerId) => store.claim({ workerId, limit: 5, types: bothTypes }));
      }
      const settlements = command.endings.map(({ hold, ending }) => world.settlement(world.hold(hold), ending));
      return (store) => store.settle(settlements);
    }
    case "remember": {
      const { name, output } = command;
      const hold = world.hold(command.hold);
      return (store) => store.remember([{ hold, name, output }]);
    }
    case "annotate": {
      const { done } = command;
      const hold = world.hold(command.hold);
      const line = { at: clock.now(), level: "info", message: `done ${done}` } as const;
      return (store) => store.annotate([{ hold, progress: { done, total: null }, lines: [line] }]);
    }
    case "amendOne": {
      const amendment = toAmendment(command.act, { ids: [world.job(command.job)] });
      return (store) => store.amend(amendment);
    }
    case "amendMany": {
      const { filter, limit } = command;
      const amendment = toAmendment(command.act, { filter, page: { before: null, limit } });
      return (store) => store.amend(amendment);
    }
    case "setType": {
      const { type, ifVersion, pausedForMs } = command;
      const until = pausedForMs === null ? null : clock.now() + pausedForMs;
      const { pause } = command.patch;
      const patch = pause == null ? command.patch : { ...command.patch, pause: { ...pause, until } };
      return (store) => store.setType({ type, patch, ifVersion, actor: "operator-1", reason: null });
    }
    case "heartbeat":
      return world.asWorker(command.worker, (store, workerId) => store.heartbeat(aBeat({ workerId, leaseMs })));
    case "retire":
      return world.asWorker(command.worker, (store, workerId) => store.retire(workerId));
    case "findLost":
      return (store) => store.findLost({ limit: command.limit });
    case "prune":
      return (store) => store.prune({ retentionMs: command.retentionMs, limit: command.limit });
    case "advance":
      clock.advance(command.ms);
      return async () => null;
  }
}

function toAmendment(action: Act, target: OperatorCommand["target"]): OperatorCommand {
  const by = { target, actor: "operator-1", reason: "a whim" };
  return action === "edit" ? { ...by, action, payload: '{"n":3}', version: 1, controls: null } : { ...by, action };
}

async function runBoth(commands: readonly Command[], open: (clock: ManualClock) => Promise<Tested>): Promise<void> {
  const world = new World();
  const oracle = (await memory({ clock: world.clock })) as Store<unknown>;
  const target = await open(world.clock);
  const tested = target.store;
  try {
    for (const command of commands) {
      const ask = toAsk(command, world);
      const expected = inOrder(await ask(oracle));
      expect(inOrder(await ask(tested)), `the answer to ${JSON.stringify(command)}`).toEqual(expected);
      const isLost = command.does === "heartbeat" && (expected as BeatAnswer).lease === "lost";
      if (isLost || command.does === "retire") world.startsAnew(command.worker);

      const seen = await visible(oracle);
      expect(await visible(tested), `what can be seen after ${JSON.stringify(command)}`).toEqual(seen);
      world.see(seen);
    }
    for (const { id } of world.jobs) {
      expect(await tested.history(id), `the history of ${id}`).toEqual(await oracle.history(id));
      expect(await tested.recall(id), `the steps of ${id}`).toEqual(await oracle.recall(id));
    }
  } finally {
    await Promise.all([oracle.close(), target.dispose()]);
  }
}

/** The port promises no order for the names of lost workers. */
export function inOrder(answer: unknown): unknown {
  const { workers } = (answer ?? {}) as { workers?: readonly string[] };
  return workers === undefined ? answer : { ...(answer as object), workers: [...workers].sort() };
}

export async function visible(store: Store<unknown>) {
  const [page, counts, audit, workers, settings, settingsHistory] = await Promise.all([
    store.list({ filter: {}, page: everything }),
    store.counts(),
    store.audit({ limit: 1_000 }),
    store.workers(),
    store.settings(),
    store.settingsHistory({ limit: 1_000 }),
  ]);
  const standing = await store.standing(page.jobs.map(({ id }) => id));
  const byType = (a: { type: string }, b: { type: string }) => a.type.localeCompare(b.type);
  const byId = (a: { workerId: string }, b: { workerId: string }) => a.workerId.localeCompare(b.workerId);
  return {
    jobs: page.jobs,
    standing: standing.jobs,
    // Among which jobs a store looks for run times is its own to say.
    processing: standing.types.map(({ type, processing }) => ({ type, processing })).sort(byType),
    counts: [...counts].sort(byType),
    audit,
    workers: [...workers].sort(byId),
    settings,
    settingsHistory,
  };
}
