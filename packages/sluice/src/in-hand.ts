/**
 * Which jobs a worker knows that it holds: from the claim until their settlement is durable. A claim may be committed and its answer
 * lost on the way; then the store counts jobs as this worker's that it has never heard of, and nobody else will ever run them.
 */
import type { Hold } from "./job.js";

export class InHand {
  readonly #holds = new Set<string>();

  add(hold: Hold): void {
    this.#holds.add(nameOf(hold));
  }

  remove(hold: Hold): void {
    this.#holds.delete(nameOf(hold));
  }

  /**
   * Call before asking the store which jobs it counts as this worker's; tells of each whether it is unknown. A job that is settled
   * while the answer is on its way was known when the question was asked.
   */
  recount(): (hold: Hold) => boolean {
    const known = new Set(this.#holds);
    return (hold) => !known.has(nameOf(hold)) && !this.#holds.has(nameOf(hold));
  }
}

function nameOf({ id, epoch }: Hold): string {
  return `${id} ${epoch}`;
}
