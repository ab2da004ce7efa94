/** Server-sent events as a browser reads them, over a network that breaks again and again. */
import { once } from "node:events";
import { startFlakyProxy, type FlakyProxy } from "@sluice/test-postgres";
import { EventSource } from "eventsource";
import type { Store } from "sluice";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startDemo, type Demo } from "./demo.js";
import { onSqlite, openStore, type Place } from "./service.test.bed.js";

let place: Place;
let store: Store<unknown>;
let demo: Demo;
let proxy: FlakyProxy;

beforeEach(async () => {
  place = await onSqlite.make();
  store = await openStore(place);
  demo = await startDemo(store);
  proxy = await startFlakyProxy({ targetPort: Number(new URL(demo.service.url).port) });
});

afterEach(async () => {
  await proxy.stop();
  await demo.stop();
  await store.close();
  await onSqlite.remove(place);
});

interface Reader {
  readonly source: EventSource;
  readonly states: string[];
  readonly done: number[];
  opens: number;
  /** The status with which it was told to stay away. */
  readonly ended: Promise<number | undefined>;
}

function follow(url: string): Reader {
  const source = new EventSource(url);
  const ended = new Promise<number | undefined>((resolve) => {
    source.addEventListener("error", ({ code }) => {
      if (source.readyState === source.CLOSED) resolve(code);
    });
  });
  const reader: Reader = { source, states: [], done: [], opens: 0, ended };
  source.addEventListener("open", () => reader.opens++);
  source.addEventListener("job", ({ data }) => {
    const job = JSON.parse(String(data)) as { state: string; progress: { done: number } | null };
    reader.states.push(job.state);
    reader.done.push(job.progress?.done ?? 0);
  });
  return reader;
}

test(
  "twenty readers whose connections are cut see the end, nothing backwards, and then stay away",
  { timeout: 120_000 },
  async () => {
    const ids = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const response = await fetch(`${demo.service.url}/v1/jobs`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ type: "demo.slow", payload: { ms: 5_000 } }),
        });
        return ((await response.json()) as { id: string }).id;
      }),
    );
    const readers = Array.from({ length: 20 }, (_, n) =>
      follow(`http://127.0.0.1:${proxy.port}/v1/jobs/${ids[n % ids.length]}/events`),
    );
    await Promise.all(readers.map(({ source }) => once(source as unknown as EventTarget, "open")));
    const cutting = setInterval(() => proxy.cut(), 2_000);

    const statuses = await Promise.all(readers.map(({ ended }) => ended)).finally(() => clearInterval(cutting));

    expect(statuses).toEqual(readers.map(() => 204));
    for (const { states, done, opens } of readers) {
      expect(states.at(-1)).toBe("completed");
      expect(done.at(-1)).toBe(10);
      expect(done).toEqual([...done].sort((a, b) => a - b));
      // It was cut, and came back.
      expect(opens).toBeGreaterThanOrEqual(2);
    }
  },
);
