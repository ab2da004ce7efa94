/**
 * Text on its way into SQLite. What is JSON needs none of this: JSON.stringify escapes the character.
 */

/** As given, but for NUL: @photostructure/sqlite binds text as a C string, and would cut it there without a word. */
export function uncut<Text extends string | null>(text: Text): Text {
  return (text === null ? null : text.replaceAll("\0", "\uFFFD")) as Text;
}
