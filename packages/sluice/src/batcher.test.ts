/** Group commit: what is gathered, what is sent again, and who hears of a failure. */
import { describe, expect, test, vi } from "vitest";
import { Batcher, type BatcherOptions } from "./batcher.js";
import { JobsError } from "./errors.js";
import { ManualClock } from "./testing/manual-clock.js";

const unavailable = () => new JobsError("STORE_UNAVAILABLE", "The store is busy.");

/** A batcher whose flushes wait until the test answers them. */
function setup(options: Partial<BatcherOptions<number, string>> = {}) {
  const clock = new ManualClock();
  const flushes: { items: readonly number[]; answer: () => void; fail: (error: unknown) => void }[] = [];
  const batcher = new Batcher<number, string>({
    flush: (items) =>
      new Promise((resolve, reject) => {
        flushes.push({ items, answer: () => resolve(items.map((item) => `did ${item}`)), fail: reject });
      }),
    clock,
    retryForMs: 1_000,
    ...options,
  });
  const flush = async (index: number) => {
    await vi.waitUntil(() => flushes.length > index, { interval: 1 });
    return flushes[index]!;
  };
  return { batcher, clock, flushes, flush };
}

/** Everything that needs no timer has happened. */
async function turn(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe("gathering", () => {
  test("an item is flushed without waiting for others", async () => {
    const { batcher, flush } = setup();

    const added = batcher.add(1);
    (await flush(0)).answer();

    expect(await added).toBe("did 1");
  });

  test("items of one turn of the event loop share a flush", async () => {
    const { batcher, flush } = setup();

    void batcher.add(1);
    void batcher.add(2);
    await Promise.resolve().then(() => void batcher.add(3));

    expect((await flush(0)).items).toEqual([1, 2, 3]);
  });

  test("what comes while a flush is in flight goes with the next one, all together", async () => {
    const { batcher, flushes, flush } = setup();
    void batcher.add(1);
    const first = await flush(0);

    void batcher.add(2);
    await turn();
    void batcher.add(3);
    await turn();
    expect(flushes).toHaveLength(1);
    first.answer();

    expect((await flush(1)).items).toEqual([2, 3]);
  });

  test("those who ask again at once when they are told join the next flush", async () => {
    const { batcher, flush } = setup();
    const again = async (item: number) => {
      await batcher.add(item);
      void batcher.add(item + 10);
    };

    void again(1);
    const first = await flush(0);
    void batcher.add(2);
    await turn();
    first.answer();

    expect((await flush(1)).items).toEqual([2, 11]);
  });

  test("where nobody does, the next flush goes out before the last one's callers are told", async () => {
    const told: number[] = [];
    const toldBefore: number[][] = [];
    const answers: (() => void)[] = [];
    const { batcher } = setup({
      flush: (items) => {
        toldBefore.push([...told]);
        return new Promise((resolve) => answers.push(() => resolve(items.map(String))));
      },
    });
    for (const item of [1, 2, 3, 4]) {
      void batcher.add(item).then(() => told.push(item));
      await turn();
    }

    // The first answer shows that nobody comes back; from then on nobody is waited for.
    answers[0]!();
    await turn();
    void batcher.add(5);
    answers[1]!();
    await turn();

    expect(toldBefore).toEqual([[], [1], [1]]);
    expect(told).toEqual([1, 2, 3, 4]);
  });

  test("each caller gets the result of its own item", async () => {
    const { batcher, flush } = setup();

    const added = Promise.all([batcher.add(3), batcher.add(1), batcher.add(2)]);
    (await flush(0)).answer();

    expect(await added).toEqual(["did 3", "did 1", "did 2"]);
  });

  test("a caller is told only when its flush is answered", async () => {
    const { batcher, flush } = setup();
    const told: string[] = [];

    void batcher.add(1).then((result) => told.push(result));
    const first = await flush(0);
    await turn();
    expect(told).toEqual([]);
    first.answer();
    await turn();

    expect(told).toEqual(["did 1"]);
  });

  test("a flush holds no more than maxItems, in the order they came", async () => {
    const { batcher, flush } = setup({ maxItems: 2 });
    for (const item of [1, 2, 3, 4, 5]) void batcher.add(item);

    const sizes = [];
    for (let i = 0; i < 3; i++) {
      const { items, answer } = await flush(i);
      sizes.push(items);
      answer();
    }

    expect(sizes).toEqual([[1, 2], [3, 4], [5]]);
  });
});

describe("failures", () => {
  test("a flush that failed with a retryable error is sent again, whole and in order", async () => {
    const { batcher, clock, flush } = setup();
    const added = Promise.all([batcher.add(1), batcher.add(2)]);

    (await flush(0)).fail(unavailable());
    await turn();
    clock.advance(10);
    const again = await flush(1);
    again.answer();

    expect(again.items).toEqual([1, 2]);
    expect(await added).toEqual(["did 1", "did 2"]);
  });

  test("the waits between tries grow", async () => {
    const { batcher, clock, flushes, flush } = setup();
    const added = batcher.add(1);

    (await flush(0)).fail(unavailable());
    await turn();
    clock.advance(10);
    (await flush(1)).fail(unavailable());
    await turn();
    clock.advance(19);
    await turn();
    expect(flushes).toHaveLength(2);
    clock.advance(1);
    (await flush(2)).answer();

    expect(await added).toBe("did 1");
  });

  test("after retryForMs every caller is told", async () => {
    const { batcher, clock, flushes } = setup();
    const told = Promise.allSettled([batcher.add(1), batcher.add(2)]);

    for (let i = 0; i < 30; i++) {
      await turn();
      for (const { fail } of flushes) fail(unavailable());
      await turn();
      clock.advance(100);
    }

    expect(await told).toEqual([
      { status: "rejected", reason: expect.objectContaining({ code: "STORE_UNAVAILABLE" }) },
      { status: "rejected", reason: expect.objectContaining({ code: "STORE_UNAVAILABLE" }) },
    ]);
  });

  test("each try again is reported", async () => {
    const reported: unknown[] = [];
    const { batcher, clock, flush } = setup({ onRetry: (error) => reported.push(error) });
    const added = batcher.add(1);
    const error = unavailable();

    (await flush(0)).fail(error);
    await turn();
    clock.advance(10);
    (await flush(1)).answer();
    await added;

    expect(reported).toEqual([error]);
  });

  test("one bad item fails alone, its neighbours are flushed without it", async () => {
    const flushed: number[][] = [];
    const { batcher } = setup({
      flush: async (items) => {
        if (items.includes(4)) throw new TypeError("4 is bad");
        flushed.push([...items]);
        return items.map((item) => `did ${item}`);
      },
    });

    const told = await Promise.allSettled([1, 2, 3, 4, 5, 6].map((item) => batcher.add(item)));

    expect(told.map((one) => (one.status === "fulfilled" ? one.value : String(one.reason)))).toEqual([
      "did 1",
      "did 2",
      "did 3",
      "TypeError: 4 is bad",
      "did 5",
      "did 6",
    ]);
    expect(flushed.flat()).toEqual([1, 2, 3, 5, 6]);
  });

  test("a failure does not stop what comes after it", async () => {
    const { batcher, flush } = setup();
    const bad = batcher.add(1);
    (await flush(0)).fail(new TypeError("bad"));
    await expect(bad).rejects.toThrow("bad");

    const good = batcher.add(2);
    (await flush(1)).answer();

    expect(await good).toBe("did 2");
  });
});

describe("idle", () => {
  test("resolves at once when nothing was added", async () => {
    const { batcher } = setup();

    await expect(batcher.idle()).resolves.toBeUndefined();
  });

  test("resolves when nothing waits and nothing is in flight any more", async () => {
    const { batcher, flush } = setup({ maxItems: 1 });
    void batcher.add(1);
    void batcher.add(2);
    let isIdle = false;
    void batcher.idle().then(() => (isIdle = true));

    (await flush(0)).answer();
    const second = await flush(1);
    await turn();
    expect(isIdle).toBe(false);
    second.answer();
    await turn();

    expect(isIdle).toBe(true);
  });

  test("resolves after a failed flush too", async () => {
    const { batcher, flush } = setup();
    batcher.add(1).catch(() => {});
    const idle = batcher.idle();

    (await flush(0)).fail(new TypeError("bad"));

    await expect(idle).resolves.toBeUndefined();
  });
});
