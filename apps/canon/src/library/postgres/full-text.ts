/**
 * Words for PostgreSQL's full text search. Its parser has ideas of its own (addresses, paths, signed numbers) and its queries a
 * language (&, |, !, quotes): both only ever see single words of letters, digits and marks.
 */
import { wordsOf } from "../../search/words.js";

/** What `to_tsvector` gets: the words of the text, without accents, one space apart. */
export function textOfWords(text: string): string {
  return wordsOf(withoutAccents(text)).join(" ");
}

/** For each word the query that finds it. Equals once; words too long to be in any index are left out. */
export function wordQueries(words: readonly string[]): string[] {
  const plain = words
    .flatMap((word) => wordsOf(withoutAccents(word)))
    .filter((word) => Buffer.byteLength(word) <= longestLexeme);
  return [...new Set(plain)].map((word) => `'${word}'`);
}

/**
 * The game as one word that no text can hold: it has an upper case letter. Every chunk has its game's, so that a query reads the
 * word lists of its own game only.
 */
export function scopeOf(game: string): string {
  return `G${Buffer.from(game).toString("hex")}`;
}

const longestLexeme = 2_046; // PostgreSQL's own limit, in bytes

function withoutAccents(text: string): string {
  return text
    .normalize("NFD")
    .replace(/[\u0300-\u036f]+/g, "")
    .normalize("NFC");
}
