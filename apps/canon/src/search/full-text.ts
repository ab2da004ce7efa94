/**
 * Turns what a person typed into an FTS5 query. FTS5 has a language of its own (quotes, *, NEAR, column filters);
 * nobody's text may ever be read as that language.
 */

/**
 * An FTS5 expression that matches any of the words, or null when the text has none (empty, emoji, punctuation).
 * Any, not all: a question holds words its answer does not, and BM25 puts the chunks with most of them first.
 */
export function matchAnyWord(text: string): string | null {
  const words = new Set(
    text
      .slice(0, maxCharacters)
      .toLowerCase()
      .match(/[\p{L}\p{N}\p{M}]+/gu) ?? [],
  );
  const telling = [...words].filter((word) => !fillers.has(word));
  const chosen = (telling.length > 0 ? telling : [...words]).slice(0, maxWords);
  if (chosen.length === 0) return null;
  // Each word is a quoted string, and holds letters, digits and marks only: no quote can be in it.
  return chosen.map((word) => `"${word}"`).join(" OR ");
}

/** The words of `matchAnyWord`, in the name or the text of chunks that also have this word as their scope. */
export function withinScope(scope: string, words: string): string {
  return `{scope} : "${scope}" AND {name text} : (${words})`;
}

// A pasted page is not a query: every word costs a lookup, and FTS5 refuses very deep expressions.
const maxCharacters = 2_000;
const maxWords = 48;

// In nearly every chunk: they cost a scan of all of them and tell nothing.
const fillers = new Set(
  (
    "a an and are as at be but by can did do does for from had has have how i if in into is it its my no not of on or " +
    "s so t that the their them then there these they this to was what when where which who whom why will with you"
  ).split(" "),
);
