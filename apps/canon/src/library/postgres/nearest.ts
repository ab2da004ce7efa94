/**
 * Keeps the nearest objects while vectors pass by. Pure. Unit vectors: the larger the product, the nearer.
 */
import type { VectorQuery } from "../library.js";
import type { Place } from "./ranking.js";

/** The vectors of an object's chunks, one after the other. */
export interface ObjectVectors {
  readonly ordinals: readonly number[];
  readonly isRestricted: readonly boolean[];
  readonly numbers: Float32Array;
}

interface Found extends Place {
  readonly nearness: number;
}

export class Nearest {
  readonly #vector: Float32Array;
  readonly #depth: number;
  readonly #seesRestricted: boolean;
  /** Best first. */
  readonly #found: Found[] = [];

  constructor({ vector, depth, as }: Pick<VectorQuery, "vector" | "depth" | "as">) {
    this.#vector = vector;
    this.#depth = depth;
    this.#seesRestricted = as === "gm";
  }

  compare(objectId: string, { ordinals, isRestricted, numbers }: ObjectVectors): void {
    let best: Found | null = null;
    for (let n = 0; n < ordinals.length; n++) {
      if (isRestricted[n] && !this.#seesRestricted) continue;
      const nearness = product(this.#vector, numbers, n * this.#vector.length);
      if (best === null || nearness > best.nearness) best = { objectId, ordinal: ordinals[n]!, nearness };
    }
    if (best !== null) this.#insert(best);
  }

  /** An object that changed while it passed by may have been seen twice. */
  places(): readonly Place[] {
    const places = new Map<string, Place>();
    for (const found of this.#found) if (!places.has(found.objectId)) places.set(found.objectId, found);
    return [...places.values()];
  }

  #insert(found: Found): void {
    const last = this.#found.at(-1);
    if (this.#found.length === this.#depth && !isBefore(found, last!)) return;
    let low = 0;
    let high = this.#found.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(this.#found[middle]!, found)) low = middle + 1;
      else high = middle;
    }
    this.#found.splice(low, 0, found);
    if (this.#found.length > this.#depth) this.#found.pop();
  }
}

/** Equals by id. */
function isBefore(a: Found, b: Found): boolean {
  return a.nearness > b.nearness || (a.nearness === b.nearness && a.objectId < b.objectId);
}

function product(a: Float32Array, b: Float32Array, start: number): number {
  let sum = 0;
  for (let n = 0; n < a.length; n++) sum += a[n]! * b[start + n]!;
  return sum;
}
