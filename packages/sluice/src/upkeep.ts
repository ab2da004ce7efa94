/**
 * What any process may do for all: bring back the jobs of lost workers, and delete what retention no longer wants.
 * Idempotent: two processes doing it at once do no harm, because every settlement is fenced.
 */
import { announceSettled } from "./announce.js";
import { exponential } from "./backoff.js";
import type { Clock } from "./clock.js";
import type { AnyDefinition } from "./definition.js";
import { releaseHeld, type FlagContext } from "./flags.js";
import { defaultSettings } from "./settings.js";
import type { Events } from "./events.js";
import type { Progress } from "./job.js";
import type { Rollups } from "./rollups.js";
import { decide, defaultMaxCrashes } from "./settlement.js";
import type { LogLine, LostJob, Store } from "./store.js";

export interface UpkeepOptions {
  readonly store: Store<unknown>;
  readonly clock: Clock;
  readonly events: Events;
  /** Counts the attempts of lost workers. */
  readonly rollups: Rollups;
  readonly random: () => number;
  /** What the definition of a type says; undefined for one that this process does not know. */
  readonly policyOf: (type: string) => Policy | undefined;
  /** Of this worker. */
  readonly types: readonly string[];
  /** Whether the type is switched on for a job; null: the stored rollout says. */
  readonly flags: ((context: FlagContext) => Promise<boolean | undefined>) | null;
  readonly rescueEveryMs: number;
  /** How long completed and cancelled jobs are kept. Failed ones stay: they are work for an operator. */
  readonly retentionMs: number;
}

export type Policy = Pick<AnyDefinition, "retry" | "maxCrashes">;

const pruneEveryMs = 60_000;
/** How often jobs that wait to be switched on are looked at, where only flags of the application's know when. */
const askFlagsEveryMs = 10_000;
const rescueLimit = 500;
/** Small, so that the deletion never holds up a claim for long. */
const pruneLimit = 1_000;
const unknownType: Policy = { retry: exponential(), maxCrashes: defaultMaxCrashes };
const maxLineLength = 500;

export class Upkeep {
  readonly #options: UpkeepOptions;
  #cancelTimer: (() => void) | null = null;
  #prunedAt = 0;
  #askedAt = 0;
  #round: Promise<void> = Promise.resolve();

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  start(): void {
    this.#cancelTimer = this.#options.clock.setTimer(this.#options.rescueEveryMs, () => {
      this.#round = this.run().catch((error: unknown) =>
        this.#options.events.emit("worker.troubled", { during: "upkeep", error }),
      );
      void this.#round.then(() => this.#cancelTimer && this.start());
    });
  }

  /** Waits for the round under way. */
  async stop(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    await this.#round;
  }

  /** One round, now. */
  async run(): Promise<void> {
    await this.rescue();
    await this.#options.store.tidy?.();
    const { clock, store, retentionMs, flags } = this.#options;
    const isPruning = clock.now() - this.#prunedAt >= pruneEveryMs;
    if (isPruning || (flags !== null && clock.now() - this.#askedAt >= askFlagsEveryMs)) await this.#releaseHeld();
    if (!isPruning) return;
    this.#prunedAt = clock.now();
    while ((await store.prune({ retentionMs, limit: pruneLimit })).pruned === pruneLimit);
  }

  /** Jobs whose type is switched on for them by now: the operator's process may have died over it, and flags tell nobody. */
  async #releaseHeld(): Promise<void> {
    const { clock, store, types, flags } = this.#options;
    this.#askedAt = clock.now();
    const settings = new Map((await store.settings()).map((each) => [each.type, each]));
    for (const { type, counts } of await store.counts({ types })) {
      const isMeant = flags !== null || settings.has(type);
      if (counts.blocked > 0 && isMeant) await releaseHeld(store, settings.get(type) ?? defaultSettings(type), flags);
    }
  }

  /** Decides about every job whose worker's lease ran out, as about any other attempt that ended. */
  async rescue(): Promise<number> {
    const { store, clock, events, rollups, random, policyOf } = this.#options;
    let rescued = 0;
    for (;;) {
      const { workers, jobs } = await store.findLost({ limit: rescueLimit });
      if (jobs.length === 0) return rescued;
      const lastWords = await this.#lastWordsOf(jobs);
      const settlements = jobs.map((job, index) =>
        decide(
          job,
          { kind: "lost", lastWords: lastWords[index] ?? null },
          { ...(policyOf(job.type) ?? unknownType), random },
        ),
      );
      const results = await store.settle(settlements);
      // The others were settled meanwhile: by another rescuer, or by the worker itself, late but still holding.
      const applied = results.filter((result) => result !== "lease_lost").length;
      rescued += applied;
      if (applied === 0) continue;
      events.emit("worker.rescued", { workerIds: workers, jobs: applied });
      jobs.forEach((job, index) => {
        const result = results[index]!;
        if (result === "lease_lost") return;
        const runMs = Math.max(0, clock.now() - job.startedAt);
        const settled = { settlement: settlements[index]!, result, runMs };
        rollups.settled(job, settled);
        announceSettled(events, { job, workerId: job.workerId }, settled);
      });
    }
  }

  /** What is known of how far each got, for whoever looks for the cause. */
  async #lastWordsOf(jobs: readonly LostJob[]): Promise<readonly (string | null)[]> {
    const { store, events } = this.#options;
    try {
      const records = await store.get(jobs.map(({ id }) => id));
      // Lines cost a question for each job: asked where a crash is no accident any more, not for all that a dead worker held.
      const histories = await Promise.all(jobs.map(async (job) => (job.crashes > 0 ? store.history(job.id) : null)));
      return jobs.map((_job, index) => lastWords(records[index]?.progress ?? null, histories[index]?.lines.at(-1)));
    } catch (error) {
      // To bring the jobs back matters more than what they said.
      events.emit("worker.troubled", { during: "reading the last words of lost jobs", error });
      return [];
    }
  }
}

function lastWords(progress: Progress | null, line: LogLine | undefined): string | null {
  const words: string[] = [];
  if (progress !== null)
    words.push(`Last progress: ${progress.done}${progress.total === null ? "" : ` of ${progress.total}`}.`);
  if (line !== undefined) {
    words.push(`Last log line, ${new Date(line.at).toISOString()}: ${line.message.slice(0, maxLineLength)}`);
  }
  return words.length === 0 ? null : words.join(" ");
}
