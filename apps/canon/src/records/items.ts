/**
 * The vocabulary of reading an import body: what comes out (items), where we are (cursor), what is too much (limits).
 * How a body is taken apart is in parser.ts; what a record means is in ../object.ts.
 */

export type Position = {
  /** 0-based number among everything the reader hands out, broken ones included. */
  index: number;
  /** 1-based line on which the record starts. */
  line: number;
  /** Byte offset of the start of the record in the whole body. */
  offset: number;
};

/**
 * A place between two items. Plain JSON: store it, and later read on from byte `offset` of the same body.
 * A cursor is only good for the body and the limits it came from.
 */
export type Cursor = {
  offset: number;
  index: number;
  line: number;
  /** Byte offset at which the current line starts. */
  lineStart: number;
  shape: Shape | "ended";
};

/** `sequence` is objects one after another that are not one per line: pretty-printed, or separated by commas. */
export type Shape = "array" | "wrapper" | "lines" | "sequence";

type Place = {
  position: Position;
  /** Where to go on right after this item. */
  next: Cursor;
};

export type RecordItem = Place &
  (
    | { kind: "record"; value: unknown }
    /** `reason` is one or two plain sentences for the person who sent the file. */
    | { kind: "broken"; reason: string }
  );

export type Limits = {
  /** Larger records are skipped while streaming and reported as broken. Bounds the memory of the reader. */
  maxRecordBytes: number;
  /** The record itself is level 1. */
  maxDepth: number;
};

export const defaultLimits: Limits = { maxRecordBytes: 4 * 1024 * 1024, maxDepth: 32 };

/** Nothing in the body can be a record. The message is a plain sentence that says what to do. */
export class UnreadableBody extends Error {
  override name = "UnreadableBody";
}
