/**
 * Text as every database can keep it. SQLite ends a text at NUL, PostgreSQL refuses it, and neither knows halves of surrogate
 * pairs.
 */
export function storable(text: string): string {
  return text.replace(/\0|\p{Cs}/gu, "\ufffd");
}
