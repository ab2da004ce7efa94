/**
 * Unique keys: each has at most one holder, and at most one blocked job that waits to succeed it.
 * Who takes and gives back a key when is decided in moves.ts. Pure: a store fills it with the keys that a call touches.
 */
import type { JobRecord } from "./job.js";
import type { UniqueClaim } from "./store.js";

/** As much of a job as its key needs. */
export interface Keyed {
  readonly job: Pick<JobRecord, "createdAt">;
  readonly unique: Pick<UniqueClaim, "key" | "holdWhile" | "periodMs"> | null;
}

export class Keys<Row extends Keyed> {
  readonly #holders = new Map<string, Row>();
  readonly #successors = new Map<string, Row>();

  /** The job that holds the key now. A period that has passed holds nothing. */
  holder(key: string, now: number): Row | undefined {
    const row = this.#holders.get(key);
    return row !== undefined && now >= keyExpiresAt(row) ? undefined : row;
  }

  successor(key: string): Row | undefined {
    return this.#successors.get(key);
  }

  /** Who is down as holder of the key, be it that its period has passed. */
  registered(key: string): Row | undefined {
    return this.#holders.get(key);
  }

  /** From here on `row` holds its key, if it has one. */
  take(row: Row): void {
    if (row.unique !== null) this.#holders.set(row.unique.key, row);
  }

  /** For a row that may have given its key back. False when another job holds it by now; then nothing changes. */
  takeIfFree(row: Row, now: number): boolean {
    const holder = row.unique === null ? undefined : this.holder(row.unique.key, now);
    if (holder !== undefined && holder !== row) return false;
    this.take(row);
    return true;
  }

  /** From here on `row` waits behind the holder of its key. */
  wait(row: Row): void {
    if (row.unique !== null) this.#successors.set(row.unique.key, row);
  }

  /**
   * Called when `row` is done with its key. The job that waits behind it takes the key over and is returned;
   * with nobody waiting, a key held for a period stays held.
   */
  giveBack(row: Row): Row | undefined {
    if (row.unique === null) return undefined;
    const { key, holdWhile } = row.unique;
    if (this.#successors.get(key) === row) this.#successors.delete(key);
    if (this.#holders.get(key) !== row) return undefined;

    const successor = this.#successors.get(key);
    if (successor !== undefined) {
      this.#successors.delete(key);
      this.#holders.set(key, successor);
    } else if (holdWhile !== "period") {
      this.#holders.delete(key);
    }
    return successor;
  }

  /** Whether an ended job must stay because its key is still held for a period. */
  isKeeping(row: Row, now: number): boolean {
    return row.unique !== null && this.holder(row.unique.key, now) === row;
  }

  /** Called when `row` is deleted. */
  forget(row: Row): void {
    if (row.unique !== null && this.#holders.get(row.unique.key) === row) this.#holders.delete(row.unique.key);
  }
}

function keyExpiresAt({ job, unique }: Keyed): number {
  return unique?.holdWhile === "period" ? job.createdAt + (unique.periodMs ?? 0) : Infinity;
}
