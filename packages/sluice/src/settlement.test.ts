/** What becomes of a job: every outcome against every budget. */
import { describe, expect, test } from "vitest";
import { fixed } from "./backoff.js";
import { decide, defaultMaxCrashes, isSuspect, type Outcome } from "./settlement.js";
import { aClaimedJob, anError, aNewJob } from "./testing/builders.js";

const maxCrashes = defaultMaxCrashes;
const error = anError();
const failed: Outcome = { kind: "failed", error, isRetryable: true };
const fatal: Outcome = { kind: "failed", error, isRetryable: false };
const timedOut: Outcome = { kind: "timed_out", error };
const unreadable: Outcome = { kind: "unreadable", error };
const snoozed: Outcome = { kind: "snoozed", delayMs: 5_000 };
const cancelled: Outcome = { kind: "cancelled", reason: "not wanted" };
const interrupted: Outcome = { kind: "interrupted" };
const lost: Outcome = { kind: "lost", lastWords: null };
const succeeded: Outcome = { kind: "succeeded", output: '"done"', children: [] };

const retried = { kind: "retry", delayMs: 1_000, error, hasCrashed: false, isCharged: true };
const dead = (reason: string, isCharged = true) => ({ kind: "fail", reason, error, hasCrashed: false, isCharged });
const workerLost = expect.objectContaining({ name: "WorkerLost" });
const crashed = { kind: "fail", reason: "crashed", error: workerLost, hasCrashed: true, isCharged: true };
const rescued = (delayMs: number) => ({ kind: "retry", delayMs, error: workerLost, hasCrashed: true, isCharged: true });

const first = { attempt: 1, maxAttempts: 3, crashes: 0 };
const last = { attempt: 3, maxAttempts: 3, crashes: 0 };
const crashedOnce = { attempt: 2, maxAttempts: 100, crashes: 1 };
const oneCrashLeft = { attempt: 50, maxAttempts: 100, crashes: maxCrashes - 1 };
const twoCrashesLeft = { attempt: 50, maxAttempts: 100, crashes: maxCrashes - 2 };

function decided(job: Parameters<typeof aClaimedJob>[0], outcome: Outcome) {
  return decide(aClaimedJob(job), outcome, { retry: fixed({ delayMs: 1_000 }), maxCrashes, random: () => 0.5 });
}

describe("decide", () => {
  test.each([
    ["an error with attempts left", first, failed, retried],
    ["an error in the last attempt", last, failed, dead("exhausted")],
    ["an error after crashes, with attempts left", crashedOnce, failed, retried],
    ["an error that says no to another try", first, fatal, dead("non_retryable")],
    ["an error that says no in the last attempt", last, fatal, dead("non_retryable")],
    ["a timeout with attempts left", first, timedOut, retried],
    ["a timeout in the last attempt", last, timedOut, dead("exhausted")],
    ["an unreadable payload", first, unreadable, dead("invalid_payload", false)],
    ["an unreadable payload in the last attempt", last, unreadable, dead("invalid_payload", false)],
    ["a snooze", first, snoozed, { kind: "snooze", delayMs: 5_000 }],
    ["a snooze in the last attempt", last, snoozed, { kind: "snooze", delayMs: 5_000 }],
    ["a cancellation", first, cancelled, { kind: "cancel", reason: "not wanted" }],
    ["an interruption", first, interrupted, { kind: "release" }],
    ["an interruption in the last attempt", last, interrupted, { kind: "release" }],
    ["a success", first, succeeded, { kind: "complete", output: '"done"', children: [] }],
    ["a success in the last attempt", last, succeeded, { kind: "complete", output: '"done"', children: [] }],
    ["a first crash", first, lost, rescued(0)],
    ["a second crash", crashedOnce, lost, rescued(1_000)],
    ["a crash with one more left", twoCrashesLeft, lost, rescued(1_000)],
    ["a crash too many", oneCrashLeft, lost, crashed],
    ["a crash in the last attempt", last, lost, crashed],
  ] as const)("answers %s", (_what, job, outcome, settlement) => {
    expect(decided(job, outcome)).toEqual({ hold: expect.anything(), ...settlement });
  });

  test("settles under the hold of the claim", () => {
    const job = aClaimedJob({ epoch: 7 });

    const { hold } = decide(job, succeeded, { retry: fixed(), maxCrashes, random: () => 0 });

    expect(hold).toEqual({ id: job.id, epoch: 7 });
  });

  test("asks the retry policy with the attempt that failed and the random source it was given", () => {
    const retry = { attempts: 5, delayMs: (attempt: number, random: () => number) => attempt * 100 + random() * 10 };

    const settlement = decide(aClaimedJob({ attempt: 2 }), failed, { retry, maxCrashes, random: () => 0.5 });

    expect(settlement).toMatchObject({ kind: "retry", delayMs: 205 });
  });

  test("takes the budget of the job, not that of the policy", () => {
    const settlement = decide(aClaimedJob({ attempt: 2, maxAttempts: 2 }), failed, {
      retry: fixed({ attempts: 10 }),
      maxCrashes,
      random: () => 0,
    });

    expect(settlement).toMatchObject({ kind: "fail", reason: "exhausted" });
  });

  test("hands the children of a success on", () => {
    const children = [aNewJob(), aNewJob()];

    expect(decided(first, { kind: "succeeded", output: null, children })).toMatchObject({ output: null, children });
  });

  test("takes the crashes that the definition allows", () => {
    const job = aClaimedJob({ attempt: 1, maxAttempts: 100 });
    const policy = { retry: fixed(), random: () => 0 };

    expect(decide(job, lost, { ...policy, maxCrashes: 1 })).toMatchObject({ kind: "fail", reason: "crashed" });
    expect(decide(job, lost, { ...policy, maxCrashes: 2 })).toMatchObject({ kind: "retry" });
  });

  test("a crash says what was last heard of the attempt", () => {
    const settlement = decided(oneCrashLeft, { kind: "lost", lastWords: "Last progress: 3 of 4." });

    expect(settlement).toMatchObject({ error: { message: expect.stringMatching(/lease\. Last progress: 3 of 4\.$/) } });
  });
});

test("a second crash makes a job a suspect", () => {
  expect([0, 1, 2, 3].map((crashes) => isSuspect({ crashes }))).toEqual([false, false, true, true]);
});
