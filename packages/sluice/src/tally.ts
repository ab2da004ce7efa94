/**
 * Numbers of jobs by type and state.
 */
import { jobStates } from "./job.js";
import type { JobState } from "./job.js";
import type { TypeCounts } from "./store.js";

export interface CountOfBoth {
  readonly type: string;
  readonly state: JobState;
  readonly source: number;
  readonly target: number;
}

export class Tally {
  readonly #byType = new Map<string, Map<JobState, number>>();

  add(type: string, state: JobState, jobs: number): void {
    let states = this.#byType.get(type);
    if (states === undefined) this.#byType.set(type, (states = new Map<JobState, number>()));
    states.set(state, (states.get(state) ?? 0) + jobs);
  }

  addAll(counts: readonly TypeCounts[], isWanted: (state: JobState) => boolean = () => true): void {
    for (const { type, counts: states } of counts) {
      for (const state of jobStates) if (isWanted(state)) this.add(type, state, states[state]);
    }
  }

  addTally(other: Tally): void {
    for (const [type, states] of other.#byType) for (const [state, jobs] of states) this.add(type, state, jobs);
  }

  sum(): number {
    let sum = 0;
    for (const states of this.#byType.values()) for (const jobs of states.values()) sum += jobs;
    return sum;
  }

  /** This one as the source; nothing where both have none. */
  beside(target: Tally): readonly CountOfBoth[] {
    const types = [...new Set([...this.#byType.keys(), ...target.#byType.keys()])].sort();
    return types
      .flatMap((type) =>
        jobStates.map((state) => ({ type, state, source: this.#of(type, state), target: target.#of(type, state) })),
      )
      .filter((both) => both.source > 0 || both.target > 0);
  }

  #of(type: string, state: JobState): number {
    return this.#byType.get(type)?.get(state) ?? 0;
  }
}
