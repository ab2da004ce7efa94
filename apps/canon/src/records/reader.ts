/**
 * Reads the records of an import body from a stream: a JSON array, `{ "objects": [...] }`, one record per line, or one
 * object. Holds at most one record and one chunk, and gives the event loop back every few milliseconds.
 * How records are found is in parser.ts; what they mean is the caller's concern.
 */
import { setImmediate } from "node:timers/promises";
import { defaultLimits } from "./items.js";
import type { Cursor, Limits, RecordItem } from "./items.js";
import { RecordParser } from "./parser.js";

export { UnreadableBody } from "./items.js";
export type { Cursor, Limits, Position, RecordItem } from "./items.js";

export type ReadOptions = {
  /** Go on after the item this cursor came with; `source` then begins at byte `from.offset` of the same body. */
  from?: Cursor;
  limits?: Partial<Limits>;
  /** For tests. Tells the time in milliseconds and lets others run. */
  turns?: Turns;
};

export type Turns = { now: () => number; giveWay: () => Promise<unknown> };

const longestTurnMs = 5;
// A chunk may be the whole body: in pieces it is neither copied at once nor scanned without a look at the clock.
const pieceBytes = 64 * 1024;

/**
 * Yields every record in the order of the body, broken ones in their place. An item depends only on the body, so
 * reading on from any `item.next` yields exactly the items that an uninterrupted read yields after it.
 *
 * A body can be broken in as many places as it has bytes: stop when you have seen enough, or count without keeping.
 * @throws {UnreadableBody} before the first item, when the body is empty or begins like nothing that can be read.
 * Errors of `source` pass through.
 */
export async function* readRecords(
  source: AsyncIterable<Uint8Array>,
  { from, limits, turns = realTurns }: ReadOptions = {},
): AsyncGenerator<RecordItem, void, undefined> {
  const parser = new RecordParser({ ...defaultLimits, ...limits }, from);
  let turnEndsAt = turns.now() + longestTurnMs;

  for await (const piece of inPieces(source)) {
    if (piece === undefined) parser.complete();
    else parser.push(piece);

    let item: RecordItem | "more" | "ended";
    while (typeof (item = parser.next()) === "object") {
      yield item;
      if (turns.now() < turnEndsAt) continue;
      await turns.giveWay();
      turnEndsAt = turns.now() + longestTurnMs;
    }
    if (item === "ended") return;
    if (turns.now() < turnEndsAt) continue;
    await turns.giveWay();
    turnEndsAt = turns.now() + longestTurnMs;
  }
}

const realTurns: Turns = { now: () => performance.now(), giveWay: () => setImmediate() };

/** Ends with one undefined, so that the end of the body is a step like any other. */
async function* inPieces(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array | undefined> {
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += pieceBytes) yield chunk.subarray(at, at + pieceBytes);
  }
  yield undefined;
}
