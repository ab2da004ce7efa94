/**
 * The circuit breakers of one worker: counts how its attempts end, opens and closes, and learns from the settings what other
 * workers have done. Best effort: a breaker that cannot be written now is tried at the next failure.
 */
import { breakerActor, opened, widened } from "./breaker.js";
import type { Breaker, BreakerChange, BreakerRule } from "./breaker.js";
import type { SettledElsewhere } from "./attempt.js";
import type { Clock } from "./clock.js";
import type { Processor } from "./processor.js";
import type { Outcome } from "./settlement.js";
import type { ClaimedJob, Store } from "./store.js";

export interface BreakersOptions {
  readonly store: Store<unknown>;
  readonly clock: Clock;
  /** By type. */
  readonly rules: ReadonlyMap<string, BreakerRule>;
  /** Nothing of the type should start any more. */
  readonly onOpened: (type: string) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** How often the settings are read for what other workers have opened or closed. */
const refreshMs = 1_000;

export function breakerRules(processors: ReadonlyMap<string, Processor>): ReadonlyMap<string, BreakerRule> {
  return new Map(
    [...processors].flatMap(([type, { definition }]) =>
      definition.breaker === null ? [] : [[type, definition.breaker]],
    ),
  );
}

export class Breakers {
  readonly #options: BreakersOptions;
  /** By dependency: the last attempts, true for those that failed. */
  readonly #windows = new Map<string, boolean[]>();
  /** By type, where not closed. */
  readonly #breakers = new Map<string, Breaker>();
  /** By type: tries that succeeded since the breaker was last changed. */
  readonly #successes = new Map<string, number>();
  /** By type: the version of its settings, as last seen. */
  readonly #versions = new Map<string, number>();
  #changing: Promise<void> = Promise.resolve();
  #cancelTimer: (() => void) | null = null;

  constructor(options: BreakersOptions) {
    this.#options = options;
  }

  /** Reads the settings once a second, as long as some type has a breaker. */
  start(): void {
    if (this.#options.rules.size === 0) return;
    this.#cancelTimer = this.#options.clock.setTimer(refreshMs, () => {
      void this.#then(() => this.#refresh()).then(() => this.#cancelTimer && this.start());
    });
  }

  async stop(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    await this.#changing;
  }

  /** Whether a failure of this type says more about what it depends on than about the job: then it costs no attempt. */
  isBroken(type: string): boolean {
    return this.#breakers.has(type);
  }

  /** Only what may have to do with what the type needs counts: a job that says of itself that it cannot work says nothing of that. */
  ended({ type, startedAt }: ClaimedJob, outcome: Outcome | SettledElsewhere): void {
    const isFailure = outcome.kind === "timed_out" || (outcome.kind === "failed" && outcome.isRetryable);
    if (!isFailure && outcome.kind !== "succeeded" && outcome.kind !== "committed") return;
    const error = isFailure ? `${outcome.error.name}: ${outcome.error.message}` : null;
    const rule = this.#options.rules.get(type);
    if (rule === undefined) return;
    const breaker = this.#breakers.get(type);
    if (breaker === undefined) return this.#count(rule, error);
    // It began before the breaker opened: its end says nothing that is not known.
    if (startedAt < breaker.until) return;
    if (error !== null) return void this.#change(rule, opened(rule, breaker, error));
    const successes = (this.#successes.get(type) ?? 0) + 1;
    this.#successes.set(type, successes);
    if (successes >= breaker.level) void this.#change(rule, widened(breaker));
  }

  #count(rule: BreakerRule, error: string | null): void {
    const { dependency, of, failures } = rule;
    const window = this.#windows.get(dependency) ?? [];
    this.#windows.set(dependency, window);
    window.push(error !== null);
    if (window.length > of) window.shift();
    if (error === null || window.filter((isFailure) => isFailure).length < failures) return;
    window.length = 0;
    void this.#change(rule, opened(rule, null, error));
  }

  /** For every type of this worker that needs the same; what somebody else has changed meanwhile stands. */
  #change(rule: BreakerRule, change: BreakerChange): Promise<void> {
    // The version that was decided on, not the one known when it is this change's turn: in between, a refresh may have seen that
    // another worker opened the breaker again, and a success from before must not undo that.
    const decided = [...this.#options.rules]
      .filter(([, each]) => each.dependency === rule.dependency)
      .map(([type]) => ({ type, ifVersion: this.#versions.get(type) ?? 0 }));
    // At once for this worker, which must not wait for the store to know it.
    for (const { type } of decided) this.#successes.set(type, 0);
    return this.#then(async () => {
      for (const { type, ifVersion } of decided) await this.#set(type, change, ifVersion);
    });
  }

  async #set(type: string, change: BreakerChange, ifVersion: number): Promise<void> {
    const patch = { breaker: change };
    const reason = change === null ? "it works again" : change.error;
    const { outcome, settings } = await this.#options.store.setType({
      type,
      patch,
      ifVersion,
      actor: breakerActor,
      reason,
      requestId: null,
    });
    this.#versions.set(type, settings.version);
    this.#see(type, settings.breaker);
    // Somebody was quicker. If it was about something else than the breaker, the next end of an attempt says so again.
    if (outcome === "stale" && change !== null && settings.breaker === null) {
      await this.#set(type, change, settings.version);
    }
  }

  #see(type: string, breaker: Breaker | null): void {
    const known = this.#breakers.get(type);
    if (breaker === null) this.#breakers.delete(type);
    else this.#breakers.set(type, breaker);
    if (known?.level !== breaker?.level || known?.until !== breaker?.until) this.#successes.set(type, 0);
    if (breaker !== null && breaker.until !== known?.until) this.#options.onOpened(type);
  }

  async #refresh(): Promise<void> {
    const settings = new Map((await this.#options.store.settings()).map((each) => [each.type, each]));
    for (const [type, { dependency }] of this.#options.rules) {
      const own = settings.get(type);
      this.#versions.set(type, own?.version ?? 0);
      this.#see(type, own?.breaker ?? null);
      if (own?.breaker != null) continue;
      // A worker of other types has found out that what this one needs, too, does not work.
      const [other] = [...settings.values()].flatMap(({ breaker }) =>
        breaker !== null && breaker.dependency === dependency && breaker.level === 1 ? [breaker] : [],
      );
      if (other !== undefined) await this.#set(type, other, this.#versions.get(type)!);
    }
  }

  /** One change after the other. */
  #then(run: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.then(run).catch((error: unknown) => this.#options.onTrouble(error));
    return this.#changing;
  }
}
