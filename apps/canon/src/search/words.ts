/**
 * The words of a text, and those of a question that tell something. Pure, and the same for every database.
 */

/** Letters, digits and marks, in lower case; everything else is between words. */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];
}

/**
 * What to look for when a person typed this: each word once, without fillers as long as anything else is left. None for a text
 * without words (empty, emoji, punctuation). Any of them may match, not all must: a question holds words its answer does not.
 */
export function tellingWords(typed: string): string[] {
  const words = new Set(wordsOf(typed.slice(0, maxCharacters)));
  const telling = [...words].filter((word) => !fillers.has(word));
  return (telling.length > 0 ? telling : [...words]).slice(0, maxWords);
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
