/**
 * A load for the fault tests, and the judge of what has become of it: callers who enqueue one job after another and write down what
 * they were told, workers whose effects are rows of a ledger in the same database.
 */
import { expect } from "vitest";
import { z } from "zod";
import { fixed } from "../../backoff.js";
import { defineJob } from "../../definition.js";
import { isRetryable } from "../../errors.js";
import type { JobId } from "../../job.js";
import { handle } from "../../processor.js";
import type { Processor } from "../../processor.js";
import type { Queue } from "../../queue.js";
import { countsOf, drained } from "./faults.test.bed.js";
import type { PostgresStore, PostgresTx } from "./index.js";

// Faults cost attempts, as many as they like: what must not be lost must not be given up either.
const work = defineJob({
  type: "fault.work",
  payload: z.object({ n: z.number() }),
  retry: fixed({ attempts: 1_000, delayMs: 50 }),
});

export async function makeLedger(store: PostgresStore): Promise<void> {
  await store.query("create table if not exists ledger (job uuid not null)");
}

/** A third of the jobs has its effect in its completion, a third in a step, a third has none. */
export function workOnLedger(): Processor {
  return handle(work, async (job, ctx) => {
    const write = (tx: PostgresTx) => tx.query("insert into ledger (job) values ($1)", [job.id]);
    if (job.payload.n % 3 === 0) await ctx.transaction(write);
    else if (job.payload.n % 3 === 1)
      await ctx.transactionStep("effect", async (tx: PostgresTx) => void (await write(tx)));
  });
}

export class Load {
  readonly #queue: Queue<PostgresTx>;
  readonly #accepted = new Map<JobId, number>();
  readonly #refusals: unknown[] = [];
  #isOver = false;
  #callers: Promise<unknown> = Promise.resolve();

  constructor(queue: Queue<PostgresTx>) {
    this.#queue = queue;
  }

  get accepted(): number {
    return this.#accepted.size;
  }

  start(callers: number): this {
    let n = 0;
    const call = async () => {
      while (!this.#isOver) {
        const payload = { n: n++ };
        try {
          const { job } = await this.#queue.enqueue(work, payload);
          this.#accepted.set(job.id, payload.n);
        } catch (error) {
          this.#refusals.push(error);
        }
      }
    };
    this.#callers = Promise.all(Array.from({ length: callers }, call));
    return this;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#callers;
  }

  /**
   * I1, I3, I8, I12: what was accepted has completed, once, and so has its effect; what was refused may have come through, but not
   * twice; every refusal says that it may be tried again.
   */
  async expectEachOnce(store: PostgresStore): Promise<void> {
    await drained(store);
    const { rows } = await store.query("select job, count(*)::int as effects from ledger group by job");
    const effects = new Map((rows as { job: JobId; effects: number }[]).map((row) => [row.job, row.effects]));

    const states: unknown[] = [];
    const ids = [...this.#accepted.keys()];
    for (let at = 0; at < ids.length; at += 500) {
      states.push(...(await store.get(ids.slice(at, at + 500))).map((job) => job?.state ?? "lost"));
    }
    const counts = await countsOf(store);
    expect(states.filter((state) => state !== "completed")).toEqual([]);
    expect(Object.keys(counts)).toEqual(["completed"]);
    expect(counts.completed).toBeGreaterThanOrEqual(ids.length);
    expect(ids.filter((id) => this.#accepted.get(id)! % 3 < 2 && !effects.has(id))).toEqual([]);
    expect([...effects.values()].filter((n) => n !== 1)).toEqual([]);
    expect(this.#refusals.filter((error) => !isRetryable(error))).toEqual([]);
  }
}
