/**
 * FTS5 expressions. FTS5 has a language of its own (quotes, *, NEAR, column filters); nobody's text may ever be read as that
 * language.
 */

/** Matches chunks with any of the words in the name or the text that also have this word as their scope. Null without words. */
export function anyOfWithin(scope: string, words: readonly string[]): string | null {
  if (words.length === 0) return null;
  // Each word is a quoted string, and holds letters, digits and marks only: no quote can be in it.
  const quoted = words.map((word) => `"${word}"`);
  return `{scope} : "${scope}" AND {name text} : (${quoted.join(" OR ")})`;
}
