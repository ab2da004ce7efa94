/**
 * Reciprocal rank fusion: joins rankings whose scores cannot be compared, such as BM25 and cosine distance.
 *
 * score(d) = Σ over the rankings that contain d of 1 / (k + rank of d), rank from 1, k = 60.
 * G. V. Cormack, C. L. A. Clarke, S. Büttcher: "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank
 * Learning Methods", SIGIR 2009, where k = 60 was found in a pilot and kept. It only looks at ranks, so there is
 * no weight to tune per game.
 */

const k = 60;

/** The score of every key in any ranking. A key must occur once per ranking, best first. */
export function fuseRankings(rankings: readonly (readonly string[])[]): Map<string, number> {
  const scores = new Map<string, number>();
  for (const ranking of rankings) {
    for (const [index, key] of ranking.entries()) {
      scores.set(key, (scores.get(key) ?? 0) + 1 / (k + index + 1));
    }
  }
  return scores;
}
