/** Waits between attempts: their bounds, and policies that make no sense. */
import { describe, expect, test } from "vitest";
import { checkRetryPolicy, delayAfter, exponential, fixed, noRetry } from "./backoff.js";

const least = () => 0;
const most = () => 1 - Number.EPSILON / 2;
const oneYearMs = 365 * 24 * 60 * 60 * 1_000;

describe("exponential", () => {
  test("doubles the longest wait with each attempt, up to the cap", () => {
    const policy = exponential({ attempts: 8, baseMs: 1_000, maxMs: 10_000 });

    const longest = [1, 2, 3, 4, 5, 6, 7].map((attempt) => delayAfter(policy, attempt, most));

    expect(longest).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
  });

  test("draws the wait uniformly from nothing to the longest", () => {
    const policy = exponential({ baseMs: 1_000, maxMs: 60_000 });

    const drawn = [0, 0.25, 0.5, 0.75].map((share) => delayAfter(policy, 3, () => share));

    expect(drawn).toEqual([0, 1_000, 2_000, 3_000]);
  });

  test("draws a fresh number for each wait", () => {
    const policy = exponential({ baseMs: 1_000 });
    const numbers = [0.1, 0.9];

    const waits = [delayAfter(policy, 1, () => numbers.shift()!), delayAfter(policy, 1, () => numbers.shift()!)];

    expect(waits).toEqual([100, 900]);
  });

  test("waits exactly the longest without jitter", () => {
    const policy = exponential({ baseMs: 1_000, maxMs: 60_000, jitter: "none" });

    expect([1, 2, 3].map((attempt) => delayAfter(policy, attempt, least))).toEqual([1_000, 2_000, 4_000]);
  });

  test("stays finite at attempts whose power of two is not", () => {
    const policy = exponential({ attempts: 1_000, baseMs: 1_000, maxMs: 60_000, jitter: "none" });

    expect(policy.delayMs(2_000, least)).toBe(60_000);
  });

  test("has five attempts, a second and a minute by default", () => {
    const policy = exponential();

    expect(policy.attempts).toBe(5);
    expect(delayAfter(policy, 1, most)).toBe(1_000);
    expect(delayAfter(policy, 50, most)).toBe(60_000);
  });

  test.each([
    { baseMs: -1 },
    { baseMs: Number.NaN },
    { maxMs: Number.POSITIVE_INFINITY },
    { maxMs: oneYearMs + 1 },
    { attempts: 0 },
    { attempts: 1.5 },
    { attempts: 1_001 },
  ])("refuses %o", (options) => {
    expect(() => exponential(options)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
  });
});

describe("fixed", () => {
  test("waits the same after every attempt", () => {
    const policy = fixed({ delayMs: 250 });

    expect([1, 2, 9].map((attempt) => delayAfter(policy, attempt, most))).toEqual([250, 250, 250]);
  });

  test("refuses a negative wait", () => {
    expect(() => fixed({ delayMs: -5 })).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
  });
});

test("noRetry has one attempt", () => {
  expect(noRetry.attempts).toBe(1);
});

describe("a policy of the user's own", () => {
  test.each([
    ["nothing a clock knows", Number.NaN, 60_000],
    ["for ever", Number.POSITIVE_INFINITY, 60_000],
    ["no number", "soon" as unknown as number, 60_000],
    ["the past", -1_000, 0],
    ["ten years", 10 * oneYearMs, oneYearMs],
    ["parts of a millisecond", 1.4, 1],
  ])("that waits %s is kept usable", (_what, answer, usable) => {
    const policy = { attempts: 3, delayMs: () => answer };

    expect(delayAfter(policy, 1, least)).toBe(usable);
  });

  test("is asked with the attempt that failed", () => {
    const asked: number[] = [];
    const policy = { attempts: 3, delayMs: (attempt: number) => asked.push(attempt) };

    delayAfter(policy, 2, least);

    expect(asked).toEqual([2]);
  });

  test("that throws cannot keep a job from being settled", () => {
    const policy = {
      attempts: 3,
      delayMs: () => {
        throw new Error("divided by zero");
      },
    };

    expect(delayAfter(policy, 1, least)).toBe(60_000);
  });

  test("with nonsense attempts is refused", () => {
    expect(() => checkRetryPolicy({ attempts: Number.NaN, delayMs: () => 0 })).toThrow(
      expect.objectContaining({
        code: "INVALID_OPTIONS",
        details: expect.objectContaining({ option: "retry.attempts" }),
      }),
    );
  });
});
