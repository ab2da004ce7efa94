/**
 * Finds where one JSON value ends, byte by byte, without parsing it. The only per-byte loop of the reader.
 * For valid JSON the answer is exact. For broken JSON it is the most likely end, so that the records around a broken
 * one survive: see `#reopen`, `#close` and `#isStartOfNextRecord`. Whether the value is valid is decided by decode.ts.
 *
 * Every decision depends on the bytes alone, never on how they were cut into chunks: resuming relies on it.
 */
import { ascii } from "./ascii.js";
import type { ByteWindow } from "./window.js";

export type ScanStart = {
  offset: number;
  /** Bytes between the start of the line and `offset`. */
  column: number;
  /** Past this size nothing of the value is kept, and broken strings are not looked at twice. */
  maxBytes: number;
  /** Stop at the list of a member "objects" of the outermost object. */
  watchesForObjects: boolean;
};

/**
 * `end`: the value ends before `offset`. `cutOff`: it never ended, and the next record begins at `offset`.
 * `objects`: the first element of the list "objects" is at or after `offset`. `more`: call again with more bytes.
 */
export type ScanResult = "end" | "cutOff" | "objects" | "more";

// Types of brackets are remembered down to here; deeper ones are only counted. Bounds memory and the search in #close.
const rememberedDepth = 64;
const longestEscapedKey = 64;
const inObject = 1;
const inList = 2;

const endsString = new Uint8Array(256);
endsString[ascii.quote] = endsString[ascii.backslash] = endsString[ascii.lineFeed] = 1;

const mayFollowString = new Uint8Array(256);
for (const byte of [ascii.comma, ascii.colon, ascii.closeObject, ascii.closeList]) mayFollowString[byte] = 1;

export class ValueScanner {
  /** Where scanning stands; after a result, where the value ended or the next one starts. */
  offset = 0;
  #start: ScanStart = { offset: 0, column: 0, maxBytes: 0, watchesForObjects: false };
  #depth = 0;
  #uncountedDepth = 0;
  readonly #stack = new Uint8Array(rememberedDepth + 1);
  /** Last byte that is not white space; a quote means that a string has just been closed. */
  #previous = 0;
  #lastSignificant = -1;
  #firstLineFeed = -1;
  #lastLineFeed = -1;
  #stringStart = -1;
  #isInString = false;
  #isObjectsKey = false;
  #isSuspect = false;

  begin(start: ScanStart): void {
    this.#start = start;
    this.offset = start.offset;
    this.#lastSignificant = -1;
    this.#depth = 0;
    this.#uncountedDepth = 0;
    this.#previous = 0;
    this.#firstLineFeed = -1;
    this.#lastLineFeed = -1;
    this.#isInString = false;
    this.#isObjectsKey = false;
    this.#isSuspect = false;
  }

  /** Starts inside an object whose "objects" list has just been closed, to find its end or another such list. */
  beginInsideWrapper(offset: number): void {
    this.begin({ offset, column: 0, maxBytes: 0, watchesForObjects: true });
    this.#depth = 1;
    this.#stack[1] = inObject;
    this.#previous = ascii.closeList;
    this.#lastSignificant = offset - 1;
  }

  /** First byte that must stay in memory for the scan to go on. */
  get keepFrom(): number {
    if (!this.#isTooLarge(this.offset)) return this.#start.offset;
    const mayBeObjectsKey = this.#isInString && this.offset - this.#stringStart <= longestEscapedKey;
    return mayBeObjectsKey ? this.#stringStart : this.offset;
  }

  /** White space after the value does not count. */
  get isOnOneLine(): boolean {
    return this.#firstLineFeed === -1 || this.#firstLineFeed > this.#lastSignificant;
  }

  scan(window: ByteWindow): ScanResult {
    const { bytes, base, length } = window;
    let at = this.offset - base;

    while (at < length) {
      if (this.#isInString) {
        while (at < length && endsString[bytes[at]!] === 0) at++;
        if (at >= length) break;
        const byte = bytes[at]!;
        if (byte === ascii.backslash) {
          at += 2;
          continue;
        }
        this.#isInString = false;
        if (byte === ascii.lineFeed) {
          // JSON has no raw line break in a text: its closing quote is missing.
          if (this.#depth === 0) return this.#stop("end", base + at);
          at = this.#reopen(base + at) - base;
          continue;
        }
        this.#previous = ascii.quote;
        this.#lastSignificant = base + at;
        at++;
        if (this.#depth === 0) return this.#stop("end", base + at);
        if (this.#start.watchesForObjects && this.#depth === 1) {
          this.#isObjectsKey = isObjects(window, this.#stringStart, base + at);
        }
        continue;
      }

      const byte = bytes[at]!;
      if (byte === ascii.space || byte === ascii.lineFeed || byte === ascii.carriageReturn || byte === ascii.tab) {
        if (byte === ascii.lineFeed) {
          this.#lastLineFeed = base + at;
          if (this.#firstLineFeed === -1) this.#firstLineFeed = this.#lastLineFeed;
        }
        at++;
        continue;
      }
      if (this.#previous === ascii.quote && mayFollowString[byte] === 0 && !this.#isTooLarge(base + at)) {
        at = this.#reopen(base + at) - base;
        continue;
      }

      switch (byte) {
        case ascii.quote:
          this.#isInString = true;
          this.#stringStart = base + at;
          at++;
          continue;
        case ascii.openObject:
        case ascii.openList:
          if (this.#isObjectsKey && byte === ascii.openList && this.#depth === 1 && this.#previous === ascii.colon) {
            return this.#stop("objects", base + at + 1);
          }
          if (this.#depth > 0 && byte === ascii.openObject && this.#isStartOfNextRecord(base + at)) {
            return this.#stop("cutOff", base + at);
          }
          this.#open(byte === ascii.openObject ? inObject : inList);
          break;
        case ascii.closeObject:
        case ascii.closeList:
          this.#close(byte === ascii.closeObject ? inObject : inList);
          if (this.#depth === 0) {
            this.#lastSignificant = base + at;
            return this.#stop("end", base + at + 1);
          }
          break;
        case ascii.backslash:
          // Only in a text that was reopened: keeps its escaped quotes from looking like quotes.
          at++;
          break;
      }
      this.#previous = byte;
      this.#lastSignificant = base + at;
      at++;
    }
    this.offset = base + at;
    return "more";
  }

  #stop(result: ScanResult, offset: number): ScanResult {
    this.offset = offset;
    return result;
  }

  #isTooLarge(offset: number): boolean {
    return offset - this.#start.offset > this.#start.maxBytes;
  }

  /**
   * A text that cannot be right: take its opening quote for a stray one, and look at its content as JSON again. The
   * quote that seemed to close it then opens the next text, and a missing or extra quote costs one record, not all.
   * The content holds no quotes, so each byte is looked at twice at most.
   * @returns Where to scan on.
   */
  #reopen(offset: number): number {
    this.#isSuspect = true;
    this.#previous = 0;
    this.#lastSignificant = this.#stringStart;
    return this.#isTooLarge(offset) ? offset : this.#stringStart + 1;
  }

  #open(kind: number): void {
    if (this.#depth === rememberedDepth) {
      this.#uncountedDepth++;
      return;
    }
    this.#stack[++this.#depth] = kind;
  }

  /** A bracket that closes the wrong kind also closes what was left open inside; one that closes nothing is stray. */
  #close(kind: number): void {
    if (this.#uncountedDepth > 0) {
      this.#uncountedDepth--;
      return;
    }
    let depth = this.#depth;
    while (depth > 0 && this.#stack[depth] !== kind) depth--;
    if (depth !== this.#depth) this.#isSuspect = true;
    if (depth > 0) this.#depth = depth - 1;
  }

  /** Tells whether a `{` inside a value is out of place there, so that closing brackets must be missing before it. */
  #isStartOfNextRecord(offset: number): boolean {
    const previous = this.#previous;
    const kind = this.#stack[this.#depth];
    const isInPlace =
      this.#uncountedDepth > 0 ||
      (kind === inObject ? previous === ascii.colon : previous === ascii.comma || previous === ascii.openList);
    const beginsOutermostLine =
      this.#lastLineFeed > this.#lastSignificant && offset - this.#lastLineFeed - 1 <= this.#start.column;

    if (isInPlace) {
      // Valid as it stands, so only for a value that is lost anyway: both `]` and `}` may be missing.
      const isLost = this.#isSuspect || this.#isTooLarge(offset);
      return isLost && beginsOutermostLine && previous === ascii.comma;
    }
    if (beginsOutermostLine) return true;
    if (kind !== inObject) return false;

    const list = this.#stack.lastIndexOf(inList, this.#depth);
    if (list > 0) {
      this.#depth = list;
      this.#isSuspect = true;
      return false;
    }
    return previous === ascii.comma || previous === ascii.closeObject || previous === ascii.closeList;
  }
}

/** The key may be written with escapes, and the window may hold only the end of a very long one. */
function isObjects(window: ByteWindow, from: number, to: number): boolean {
  if (to - from > longestEscapedKey || to - from < '"objects"'.length) return false;
  const key = window.slice(from, to).toString("latin1");
  if (!key.includes("\\")) return key === '"objects"';
  try {
    return JSON.parse(key) === "objects";
  } catch {
    return false; // a bad escape: some other key
  }
}
