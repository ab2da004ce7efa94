/**
 * What a call leaves to do once it is durable: hints to give, and where the next claim of this process must look.
 */
import type { JobState } from "../../job.js";
import { hasEnded } from "../../job.js";
import type { WakeHint } from "../../store.js";

/** A job that became runnable, in the place that it took. Ranks are in milliseconds. */
export interface Landing {
  readonly type: string;
  readonly priority: number;
  readonly rank: number;
}

type Writable<T> = { -readonly [Field in keyof T]: T[Field] };

interface Moved {
  readonly job: { readonly type: string; readonly priority: number; readonly state: JobState; readonly runAt: number };
  readonly rank: number;
}

export class Effects {
  readonly hint: Writable<WakeHint> = { work: false, ended: false };
  /** Places that may lie before what was claimed already. */
  readonly landings: Landing[] = [];
  /** The earliest instant at which a job of the type becomes due. */
  readonly due = new Map<string, number>();

  /** A new job. It takes the last place of its priority. */
  added({ type }: { readonly type: string }, state: JobState, runAt: number): void {
    this.#note(type, state, runAt);
  }

  moved({ job, rank }: Moved): void {
    this.#note(job.type, job.state, job.runAt);
    if (job.state === "pending") this.landings.push({ type: job.type, priority: job.priority, rank });
  }

  /** The transaction is run again. */
  clear(): void {
    this.hint.work = false;
    this.hint.ended = false;
    this.landings.length = 0;
    this.due.clear();
  }

  wake(): void {
    this.hint.work = true;
  }

  #note(type: string, state: JobState, runAt: number): void {
    if (hasEnded(state)) this.hint.ended = true;
    if (state === "pending") this.hint.work = true;
    if (state !== "scheduled" && state !== "retrying") return;
    this.hint.work = true;
    this.due.set(type, Math.min(runAt, this.due.get(type) ?? Infinity));
  }
}
