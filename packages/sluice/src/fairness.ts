/**
 * Whose turn it is between groups of one type: start-time fair queueing (Goyal, Vin, Cheng 1996). A job gets its place when it is
 * enqueued, behind the last one of its own group and never before the one whose turn it is now; so a group that comes late stands
 * next to the others' heads and not behind their queues, and a claim goes on reading one index. Pure.
 */

/** What is known of a type's queue at one priority. Places are ranks, in ms. */
export interface Turns {
  /** The place of the first that is pending; null when none is. */
  readonly head: number | null;
  /** The last place given. */
  last: number | null;
  /** By group: the last place given. */
  readonly tails: Map<string, number>;
}

/** The place of a new job; notes it in `turns`. @param cost 1 for a usual job of a usual group. */
export function placeOf(
  turns: Turns,
  { group, cost }: { readonly group: string; readonly cost: number },
  now: number,
): number {
  // With nobody waiting, what groups have had so far is forgotten.
  const present = turns.head ?? Math.max(turns.last ?? 0, now);
  const place = Math.max(present, turns.tails.get(group) ?? 0) + cost;
  turns.tails.set(group, place);
  turns.last = Math.max(turns.last ?? 0, place);
  return place;
}
