/** Why a job is not running: which reason comes first, and what the estimate says. The facts are made up; life/waiting.ts has real ones. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { assertNever } from "./errors.js";
import { jobStates, statusOf, type HeldBy, type JobState } from "./job.js";
import { defaultSettings, type TypeSettings } from "./settings.js";
import type { WaitingJob, WorkedType, WorkerRecord } from "./store.js";
import { anError } from "./testing/builders.js";
import { waitingOf, type TypeFacts, type Waiting, type WaitingReason } from "./waiting.js";

const now = Date.UTC(2026, 0, 1);
const type = "example";

function aJob(overrides: Partial<WaitingJob> = {}): WaitingJob {
  const place = { ahead: 0, holder: null, controls: null, heldBy: null };
  return {
    id: "job-1",
    type,
    version: 1,
    state: "pending",
    runAt: now,
    attempt: 0,
    error: null,
    ...place,
    ...overrides,
  };
}

function aWorker(worked: Partial<WorkedType> = {}, overrides: Partial<WorkerRecord> = {}): WorkerRecord {
  return {
    workerId: "worker-1",
    leaseMs: 15_000,
    host: "host-1",
    pid: 1,
    types: [{ type, version: 1, concurrency: null, slots: null, rate: null, ...worked }],
    concurrency: 10,
    startedAt: now,
    leaseExpiresAt: now + 15_000,
    isLost: false,
    processing: 0,
    ...overrides,
  };
}

function facts(overrides: Partial<TypeFacts> = {}): TypeFacts {
  return {
    now,
    settings: defaultSettings(type),
    workers: [aWorker()],
    processing: 0,
    spentUntil: null,
    runMs: [],
    ...overrides,
  };
}

function paused(until: number | null = null): TypeSettings {
  return { ...defaultSettings(type), pause: { actor: "ada", reason: "migration", since: now - 1, until } };
}

function waitOf(waiting: Waiting | null) {
  return waiting !== null && "wait" in waiting ? waiting.wait : undefined;
}

// ── one reason, the first that holds ────────────────────────────────────────

const openBreaker = {
  dependency: "smtp",
  error: "ECONNREFUSED",
  openedAt: now - 5,
  until: now + 5,
  openMs: 10,
  level: 1,
};
const rated = {
  settings: { ...defaultSettings(type), rate: { limit: 1, perMs: 1_000, burst: 1 } },
  spentUntil: now + 300,
};

/** From the first to the last: what is true of the job and its type together with all that comes after. */
const all = {
  job: { version: 9, ahead: 4 },
  facts: { settings: { ...paused(), concurrency: 1 }, workers: [], processing: 1 },
} as const;
const lifted: readonly { reason: WaitingReason; job: Partial<WaitingJob>; facts: Partial<TypeFacts> }[] = [
  { reason: "scheduled", job: { ...all.job, state: "scheduled", runAt: now + 1 }, facts: all.facts },
  { reason: "backoff", job: { ...all.job, state: "retrying", runAt: now + 1 }, facts: all.facts },
  { reason: "rate_limited", job: { ...all.job, state: "scheduled", runAt: now + 1, heldBy: "rate" }, facts: all.facts },
  { reason: "blocked", job: { ...all.job, state: "blocked", ahead: null }, facts: all.facts },
  { reason: "blocked", job: { ...all.job, state: "blocked", heldBy: "concurrency_key" }, facts: all.facts },
  { reason: "rollout_off", job: { ...all.job, state: "blocked", heldBy: "rollout" }, facts: all.facts },
  {
    reason: "paused",
    job: all.job,
    facts: { ...all.facts, settings: { ...defaultSettings(type), breaker: openBreaker } },
  },
  {
    reason: "rate_limited",
    job: all.job,
    facts: { ...rated, workers: [aWorker({ version: 9, rate: null })], processing: 0 },
  },
  { reason: "paused", job: all.job, facts: all.facts },
  { reason: "paused", job: { ...all.job, state: "scheduled", runAt: now }, facts: all.facts },
  { reason: "paused", job: { ...all.job, state: "retrying", runAt: now }, facts: all.facts },
  { reason: "no_worker", job: all.job, facts: { ...all.facts, settings: { ...paused(now), concurrency: 1 } } },
  {
    reason: "needs_newer_worker",
    job: all.job,
    facts: { ...all.facts, settings: { ...defaultSettings(type), concurrency: 1 }, workers: [aWorker({ version: 8 })] },
  },
  {
    reason: "concurrency_full",
    job: all.job,
    facts: {
      settings: { ...defaultSettings(type), concurrency: 1 },
      workers: [aWorker({ version: 9 })],
      processing: 1,
    },
  },
  { reason: "queued", job: all.job, facts: { workers: [aWorker({ version: 9 })], processing: 1 } },
  { reason: "queued", job: {}, facts: { workers: [aWorker({}, { concurrency: 3, processing: 3 })], processing: 3 } },
  { reason: "next", job: {}, facts: { workers: [aWorker({}, { concurrency: 3, processing: 2 })], processing: 2 } },
];

test.each(lifted)("the first reason that holds is told: $reason", ({ reason, job, facts: some }) => {
  expect(waitingOf(aJob(job), facts(some))?.reason).toBe(reason);
});

const few = fc.oneof(fc.constantFrom(0, 1), fc.integer({ min: 0, max: 20 }));

const anyWorker = fc
  .record({
    version: fc.option(fc.integer({ min: 1, max: 3 })),
    concurrency: fc.option(fc.integer({ min: 1, max: 4 })),
    slots: fc.option(fc.integer({ min: 1, max: 12 })),
    rate: fc.constant(null),
    types: fc.subarray([type, "other"]),
    worker: fc.record({
      concurrency: fc.integer({ min: 1, max: 10 }),
      processing: few,
      isLost: fc.boolean(),
      leaseExpiresAt: fc.integer({ min: now - 2, max: now + 2 }),
    }),
  })
  .map(({ types, worker, ...worked }) =>
    aWorker({}, { ...worker, types: types.map((each) => ({ ...worked, type: each })) }),
  );

const anyFacts = fc.record({
  now: fc.constant(now),
  settings: fc
    .record({
      pause: fc.option(
        fc.record({
          actor: fc.string(),
          reason: fc.option(fc.string()),
          since: fc.constant(now - 5),
          until: fc.option(fc.integer({ min: now - 2, max: now + 2 })),
        }),
      ),
      concurrency: fc.option(fc.integer({ min: 1, max: 4 })),
      rate: fc.constantFrom(null, { limit: 1, perMs: 1, burst: 1 }),
      breaker: fc.constantFrom(null, null, openBreaker),
    })
    .map((settings) => ({ ...defaultSettings(type), ...settings })),
  spentUntil: fc.option(fc.integer({ min: now - 2, max: now + 2 })),
  workers: fc.array(anyWorker, { maxLength: 4 }),
  processing: few,
  runMs: fc.array(fc.nat({ max: 100_000 }), { maxLength: 50 }),
});

const anyJob = fc.record({
  id: fc.constant("job-1"),
  type: fc.constant(type),
  version: fc.integer({ min: 1, max: 4 }),
  state: fc.constantFrom<JobState>(...jobStates),
  runAt: fc.integer({ min: now - 2, max: now + 2 }),
  attempt: fc.nat({ max: 5 }),
  error: fc.option(fc.constant(anError())),
  ahead: fc.option(fc.oneof(fc.constantFrom(0, 1, 1_001), fc.integer({ min: 0, max: 1_001 }))),
  holder: fc.option(fc.constant("job-2")),
  controls: fc.constant(null),
  heldBy: fc.constantFrom<HeldBy | null>(null, null, "rollout", "rate", "concurrency_key"),
});

test("whatever the facts, a job that is pending has one reason, which its state and the facts bear out", () => {
  fc.assert(
    fc.property(anyJob, anyFacts, (job, given) => {
      const waiting = waitingOf(job, given);

      if (waiting === null) {
        expect(statusOf(job.state)).not.toBe("pending");
        return;
      }
      bearOut(waiting, job, given);
    }),
    { numRuns: 3_000 },
  );
});

test("the facts that are made up have every reason among them: what is never made up is never checked", () => {
  const seen = new Set<WaitingReason>();
  for (const [job, given] of fc.sample(fc.tuple(anyJob, anyFacts), { numRuns: 20_000, seed: 1 })) {
    const waiting = waitingOf(job, given);
    if (waiting !== null) seen.add(waiting.reason);
  }
  expect(seen.size).toBe(11);
});

function bearOut(waiting: Waiting, job: WaitingJob, { workers, settings, processing }: TypeFacts): void {
  const isHeldByItself = job.state === "blocked" || (job.state !== "pending" && job.runAt > now);
  const living = workers.filter(
    (worker) => !worker.isLost && worker.leaseExpiresAt > now && worker.types.some((worked) => worked.type === type),
  );
  const able = living.filter(({ types }) => types.every(({ version }) => (version ?? Infinity) >= job.version));
  switch (waiting.reason) {
    case "scheduled":
      expect([job.state, job.runAt > now]).toEqual(["scheduled", true]);
      break;
    case "backoff":
      expect([job.state, job.runAt > now]).toEqual(["retrying", true]);
      break;
    case "blocked":
      expect(job.state).toBe("blocked");
      break;
    case "paused":
      expect(isHeldByItself).toBe(false);
      if (waiting.pause.actor !== "circuit breaker") expect(waiting.pause).toEqual(settings.pause);
      else expect(settings.breaker).toBe(openBreaker);
      break;
    case "rollout_off":
      expect([job.state, job.heldBy]).toEqual(["blocked", "rollout"]);
      break;
    case "rate_limited":
      expect(waiting.until).toBeGreaterThan(now);
      break;
    case "no_worker":
      expect([isHeldByItself, living]).toEqual([false, []]);
      break;
    case "needs_newer_worker":
      expect([isHeldByItself, living.length > 0, able]).toEqual([false, true, []]);
      expect(waiting.newest).toBeLessThan(job.version);
      break;
    case "concurrency_full":
      expect(able).not.toEqual([]);
      expect(processing).toBeGreaterThanOrEqual(waiting.limit);
      break;
    case "queued":
      expect(able).not.toEqual([]);
      expect(waiting.ahead).toBeLessThanOrEqual(1_000);
      expect(Number.isFinite(waiting.wait?.mostMs ?? 0)).toBe(true);
      expect(waiting.wait?.leastMs ?? 0).toBeLessThanOrEqual(waiting.wait?.mostMs ?? 0);
      break;
    case "next":
      expect(job.ahead ?? 0).toBe(0);
      expect(able.some((worker) => worker.processing < worker.concurrency)).toBe(true);
      break;
    default:
      assertNever(waiting);
  }
}

// ── what each reason tells ──────────────────────────────────────────────────

test("a failed attempt is told with its error, and until when the backoff lasts", () => {
  const error = anError({ message: "the mail server is down" });

  const waiting = waitingOf(aJob({ state: "retrying", runAt: now + 500, attempt: 2, error }), facts());

  expect(waiting).toEqual({ reason: "backoff", until: now + 500, attempt: 2, error });
});

test("a pause is told with who, why, since and until when", () => {
  expect(waitingOf(aJob(), facts({ settings: paused(now + 1) }))).toEqual({
    reason: "paused",
    pause: { actor: "ada", reason: "migration", since: now - 1, until: now + 1 },
  });
});

test.each([
  { title: "lost", worker: aWorker({}, { isLost: true }) },
  { title: "silent for longer than its lease", worker: aWorker({}, { leaseExpiresAt: now }) },
  { title: "of other types", worker: aWorker({ type: "other" }) },
])("a worker that is $title is none", ({ worker }) => {
  expect(waitingOf(aJob(), facts({ workers: [worker] }))).toEqual({ reason: "no_worker" });
});

test("the version that is needed is told, and the newest that a worker knows", () => {
  const workers = [aWorker({ version: 1 }), aWorker({ version: 3 })];

  expect(waitingOf(aJob({ version: 4 }), facts({ workers }))).toEqual({
    reason: "needs_newer_worker",
    version: 4,
    newest: 3,
  });
});

test("a worker that did not say which versions it knows may know this one", () => {
  const workers = [aWorker({ version: 1 }), aWorker({ version: null })];

  expect(waitingOf(aJob({ version: 4 }), facts({ workers }))).toEqual({ reason: "next" });
});

test.each([
  { title: "the definition's", workers: [aWorker({ concurrency: 2 })], setting: null, limit: 2 },
  { title: "the setting's", workers: [aWorker({ concurrency: 9 })], setting: 2, limit: 2 },
  { title: "the most generous definition's", workers: [aWorker({ concurrency: 1 }), aWorker({ concurrency: 2 })], setting: null, limit: 2 }, // prettier-ignore
])("a type is held to a concurrency: $title", ({ workers, setting, limit }) => {
  const settings = { ...defaultSettings(type), concurrency: setting };
  const job = aJob({ ahead: 3 });

  expect(waitingOf(job, facts({ workers, settings, processing: 2 }))).toMatchObject({
    reason: "concurrency_full",
    limit,
    processing: 2,
    ahead: 3,
  });
  expect(waitingOf(job, facts({ workers, settings, processing: 1 }))?.reason).toBe("queued");
});

test("a worker that has room for other types only has none for this one", () => {
  const workers = [aWorker({ slots: 1 }, { concurrency: 10, processing: 1 })];

  expect(waitingOf(aJob(), facts({ workers, processing: 1 }))).toMatchObject({ reason: "queued", ahead: 0 });
  expect(waitingOf(aJob(), facts({ workers, processing: 0 }))).toEqual({ reason: "next" });
});

test("more than 1,000 ahead are only said to be more", () => {
  const some = facts({ runMs: Array.from({ length: 20 }, () => 100) });

  expect(waitingOf(aJob({ ahead: 1_000 }), some)).toMatchObject({ ahead: 1_000, isAheadCut: false });
  expect(waitingOf(aJob({ ahead: 1_001 }), some)).toEqual({
    reason: "queued",
    ahead: 1_000,
    isAheadCut: true,
    wait: null,
  });
});

// ── the estimate ────────────────────────────────────────────────────────────

/** One in ten ran for 1 s, one in ten for 10 s. */
const runMs = [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 10_000, 10_000];
const busy = aWorker({}, { concurrency: 2, processing: 2 });

test.each([
  { ahead: 0, leastMs: 0, mostMs: 10_000 },
  { ahead: 1, leastMs: 0, mostMs: 10_000 },
  { ahead: 2, leastMs: 1_000, mostMs: 20_000 },
  { ahead: 5, leastMs: 2_000, mostMs: 30_000 },
])("two busy slots and $ahead ahead: from $leastMs to $mostMs ms", ({ ahead, ...wait }) => {
  expect(waitOf(waitingOf(aJob({ ahead }), facts({ workers: [busy], processing: 2, runMs })))).toEqual(wait);
});

test("a slot that is free is no wait", () => {
  const some = facts({ workers: [aWorker({}, { concurrency: 4, processing: 1 })], processing: 1, runMs });

  expect(waitOf(waitingOf(aJob({ ahead: 2 }), some))).toEqual({ leastMs: 0, mostMs: 0 });
  expect(waitOf(waitingOf(aJob({ ahead: 3 }), some))).toEqual({ leastMs: 0, mostMs: 10_000 });
});

test("a concurrency makes the wait longer, whatever slots there are", () => {
  const settings = { ...defaultSettings(type), concurrency: 1 };

  const waiting = waitingOf(aJob({ ahead: 4 }), facts({ settings, processing: 1, runMs }));

  expect(waitOf(waiting)).toEqual({ leastMs: 4_000, mostMs: 50_000 });
});

test("other types of the workers make the longest wait longer, not the shortest", () => {
  const types = [type, "other"].map((each) => ({ type: each, version: 1, concurrency: null, slots: null, rate: null }));
  const workers = [{ ...busy, types }];

  expect(waitOf(waitingOf(aJob({ ahead: 5 }), facts({ workers, processing: 2, runMs })))).toEqual({
    leastMs: 2_000,
    mostMs: 60_000,
  });
});

test("with fewer than 10 run times nobody can say how long it takes", () => {
  const waiting = waitingOf(aJob({ ahead: 5 }), facts({ workers: [busy], runMs: runMs.slice(1) }));

  expect(waiting).toMatchObject({ reason: "queued", wait: null });
});
