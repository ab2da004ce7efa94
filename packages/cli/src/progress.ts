/**
 * How far a long command is: a bar that is redrawn, or a line now and then for a file or a pipe.
 */
import { count, duration, size } from "./words.js";

export interface ProgressState {
  readonly what: string;
  readonly done: number;
  /** Null where nobody knows. */
  readonly total: number | null;
  /** Of blobs, so far. */
  readonly bytes: number;
}

export interface ProgressView {
  show(state: ProgressState): void;
  /** Leaves the terminal as it was. */
  end(): void;
}

const redrawMs = 100;
const lineMs = 3_000;
const barCells = 24;

export class Bar implements ProgressView {
  readonly #write: (text: string) => void;
  readonly #columns: () => number;
  readonly #pace = new Pace();
  #drawnAt = -Infinity;

  constructor(write: (text: string) => void, columns: () => number) {
    this.#write = write;
    this.#columns = columns;
  }

  show(state: ProgressState): void {
    const rate = this.#pace.of(state);
    const now = performance.now();
    if (now - this.#drawnAt < redrawMs && state.done !== state.total) return;
    this.#drawnAt = now;
    const cells = state.total === null ? "" : `${bar(state.total === 0 ? 1 : state.done / state.total)}  `;
    this.#write(`\r${cells}${describe(state, rate)}`.slice(0, this.#columns()) + clearToEnd);
  }

  end(): void {
    if (this.#drawnAt > -Infinity) this.#write(`\r${clearToEnd}`);
  }
}

export class Lines implements ProgressView {
  readonly #write: (text: string) => void;
  readonly #pace = new Pace();
  /** What takes no time leaves no line. */
  #writtenAt = performance.now();

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  show(state: ProgressState): void {
    const rate = this.#pace.of(state);
    const now = performance.now();
    if (now - this.#writtenAt < lineMs) return;
    this.#writtenAt = now;
    this.#write(`${describe(state, rate)}\n`);
  }

  end(): void {}
}

const clearToEnd = "\u001b[K";

function bar(share: number): string {
  const filled = Math.min(barCells, Math.floor(share * barCells));
  return "█".repeat(filled) + "░".repeat(barCells - filled);
}

function describe({ what, done, total, bytes }: ProgressState, perSecond: number | null): string {
  const parts = [total === null ? `${what}: ${count(done)}` : `${what}: ${count(done)} of ${count(total)}`];
  if (bytes > 0) parts.push(`blobs: ${size(bytes)}`);
  if (perSecond !== null && perSecond >= 1) {
    parts.push(`${count(Math.round(perSecond))}/s`);
    if (total !== null && total > done) parts.push(`${duration((total - done) / perSecond)} left`);
  }
  return parts.join("  ");
}

/** How many a second, over the last few seconds: what lies further back says nothing of what is to come. */
class Pace {
  readonly #windowMs = 5_000;
  #what = "";
  #seen: { readonly at: number; readonly done: number }[] = [];

  of({ what, done }: ProgressState): number | null {
    const at = performance.now();
    if (what !== this.#what) this.#seen = [];
    this.#what = what;
    this.#seen.push({ at, done });
    while (this.#seen.length > 2 && at - this.#seen[1]!.at > this.#windowMs) this.#seen.shift();
    const first = this.#seen[0]!;
    return at - first.at < 200 ? null : ((done - first.done) * 1_000) / (at - first.at);
  }
}
