/**
 * Where to begin to look for pending jobs. Jobs are claimed in the order of an index, and what was claimed leaves dead entries at
 * its head; while some transaction stays open elsewhere nobody may clean them up, and a claim that starts at the head walks over
 * all of them (measured: 70,000 jobs/s falling to 14,000 within 200,000 jobs). So a claim starts near the last one.
 *
 * A job may land before that place: released, retried, or committed late by a transaction that began early. This process's own
 * are announced (`land`); for others the cursor trails behind by some jobs, and a look at the part before it (`lookAt`) finds the
 * rest within about a second. Other priorities need no look: the claim's spans cover every place but those before the cursors.
 */

/** Pending jobs of a type from a place on, up to the end of an urgency. Urgency is the negative priority: what sorts first. */
export interface Span {
  readonly fromUrgency: number;
  readonly fromRank: number;
  readonly toUrgency: number;
}

/** So many jobs behind the last claimed one: enough for commits that overtake each other, cheap to walk over again. */
const trailJobs = 256;
const leastUrgency = -(2 ** 31);
const greatestUrgency = 2 ** 31 - 1;
const leastRank = 0;
/** More priorities than anybody uses in one type: then one scan from the head is as good. */
const maxUrgencies = 16;

interface Claimed {
  readonly rank: number;
  jobs: number;
}

export class Cursor {
  /** By urgency: the lowest rank of each of the last claims, oldest first. */
  readonly #claims = new Map<number, Claimed[]>();

  /** In the order in which jobs are claimed, without gap or overlap; only what lies before the cursors is left out. */
  spans(): readonly Span[] {
    const spans: Span[] = [];
    let next = leastUrgency;
    for (const urgency of [...this.#claims.keys()].sort((a, b) => a - b)) {
      if (urgency > next) spans.push({ fromUrgency: next, fromRank: leastRank, toUrgency: urgency - 1 });
      spans.push({ fromUrgency: urgency, fromRank: this.#claims.get(urgency)![0]!.rank, toUrgency: urgency });
      next = urgency + 1;
    }
    spans.push({ fromUrgency: next, fromRank: leastRank, toUrgency: greatestUrgency });
    return spans;
  }

  /** What a look must search: everything before these places. */
  places(): readonly { readonly urgency: number; readonly rank: number }[] {
    return [...this.#claims].map(([urgency, claims]) => ({ urgency, rank: claims[0]!.rank }));
  }

  /** So many jobs of the urgency were claimed, the first of them at `rank`. */
  claimed(urgency: number, rank: number, jobs: number): void {
    const claims = this.#claims.get(urgency);
    if (claims === undefined) {
      if (this.#claims.size >= maxUrgencies) this.#claims.clear();
      this.#claims.set(urgency, [{ rank, jobs }]);
      return;
    }
    if (rank < claims[0]!.rank) claims.splice(0, claims.length, { rank, jobs });
    else claims.push({ rank, jobs });
    let behind = claims.reduce((sum, claim) => sum + claim.jobs, 0);
    while (claims.length > 1 && behind - claims[0]!.jobs >= trailJobs) behind -= claims.shift()!.jobs;
  }

  /** Begin at the head again. */
  clear(): void {
    this.#claims.clear();
  }

  /** A job has landed at a place that may lie before the cursor. */
  land(urgency: number, rank: number): void {
    const claims = this.#claims.get(urgency);
    if (claims !== undefined && rank < claims[0]!.rank) claims.splice(0, claims.length, { rank, jobs: 0 });
  }
}
