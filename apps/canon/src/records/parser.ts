/**
 * Takes an import body apart into items, as a synchronous state machine that is fed with chunks.
 * Decides what shape the body has, where records begin and what can still be read after a broken one. Where one value
 * ends is in scanner.ts, whether it is valid in decode.ts; reader.ts connects it to a stream.
 *
 * State that outlives an item is in the cursor and nowhere else. That is what makes resuming exact.
 */
import { ascii, isWhiteSpace } from "./ascii.js";
import { decodeRecord } from "./decode.js";
import type { Decoded } from "./decode.js";
import { notJson, refuseKnownFormats } from "./formats.js";
import { UnreadableBody } from "./items.js";
import type { Cursor, Limits, Position, RecordItem, Shape } from "./items.js";
import { ValueScanner } from "./scanner.js";
import { ByteWindow } from "./window.js";

type Phase =
  | "start" /* nothing seen yet */
  | "list" /* between two records of an array, wrapper or sequence */
  | "value" /* inside an object, list or text: the scanner knows where */
  | "word" /* inside anything else that stands where a record should */
  | "tail" /* after something broken, looking for the next place to go on */
  | "firstEnded" /* after the first object of a body that is not a wrapper */
  | "members" /* in a wrapper, after its list */
  | "closed" /* after the end of the array or wrapper */
  | "lines"
  | "ended";

/** `again`: the phase has changed, or there is more to do in it. */
type Step = RecordItem | "more" | "again";

type Pending = { start: Position; outcome: Decoded };

// Long enough for any number, true, false or null.
const longestWord = 4096;

export class RecordParser {
  readonly #limits: Limits;
  readonly #window: ByteWindow;
  readonly #scanner = new ValueScanner();
  #isComplete = false;

  #phase: Phase;
  /** Undefined until the first record tells. */
  #shape: Shape | undefined;
  #offset: number;
  #index: number;
  #line: number;
  #lineStart: number;

  #start: Position = { index: 0, line: 1, offset: 0 };
  /** How far a word, tail or line has been looked at. */
  #lookedAt = 0;
  #tailDepth = 0;
  #pending: Pending | undefined;

  constructor(limits: Limits, from?: Cursor) {
    this.#limits = limits;
    this.#offset = from?.offset ?? 0;
    this.#index = from?.index ?? 0;
    this.#line = from?.line ?? 1;
    this.#lineStart = from?.lineStart ?? 0;
    this.#window = new ByteWindow(this.#offset);
    if (from === undefined) {
      this.#phase = "start";
    } else if (from.shape === "ended") {
      this.#phase = "ended";
    } else {
      this.#shape = from.shape;
      this.#phase = from.shape === "lines" ? "lines" : "list";
    }
  }

  push(chunk: Uint8Array): void {
    this.#window.append(chunk);
  }

  /** No more chunks will come. */
  complete(): void {
    this.#isComplete = true;
  }

  /**
   * @returns "more" when it needs another chunk (or `complete`) to go on.
   * @throws {UnreadableBody} when the body cannot hold any record.
   */
  next(): RecordItem | "more" | "ended" {
    while (this.#phase !== "ended") {
      const step = this.#step();
      if (step === "again") continue;
      this.#window.keepFrom(this.#offset);
      return step;
    }
    return "ended";
  }

  #step(): Step {
    switch (this.#phase) {
      case "start":
        return this.#readStart();
      case "list":
        return this.#readBetweenRecords();
      case "value":
        return this.#readValue();
      case "word":
        return this.#readWord();
      case "tail":
        return this.#readTail();
      case "firstEnded":
        return this.#readAfterFirst();
      case "members":
        return this.#readMembers();
      case "closed":
        return this.#readAfterEnd();
      case "lines":
        return this.#readLine();
      case "ended":
        return "again";
    }
  }

  #readStart(): Step {
    if (this.#offset === 0) {
      if (this.#window.end < 4 && !this.#isComplete) return "more";
      const head = this.#window.slice(0, Math.min(4, this.#window.end)).toString("latin1");
      refuseKnownFormats(head);
      if (head.startsWith("\xef\xbb\xbf")) {
        this.#consume(3);
        this.#lineStart = 3;
      }
    }
    const byte = this.#skipWhiteSpace();
    if (byte === undefined) {
      if (!this.#isComplete) return "more";
      throw new UnreadableBody("The file is empty. Choose the file with your world and send it again.");
    }
    if (byte === ascii.openList) {
      this.#consume(this.#offset + 1);
      this.#shape = "array";
      return this.#enter("list");
    }
    if (byte === ascii.openObject) return this.#beginValue();
    throw notJson(byte);
  }

  #readBetweenRecords(): Step {
    const byte = this.#skipWhiteSpace(ascii.comma);
    if (byte === undefined) {
      if (!this.#isComplete) return "more";
      if (this.#shape === "sequence") return this.#enter("ended");
      return this.#end(
        this.#here(),
        "The file ends before its list of records is closed with ]. It may be truncated; send it again.",
      );
    }
    switch (byte) {
      case ascii.openObject:
      case ascii.openList:
      case ascii.quote:
        return this.#beginValue();
      case ascii.closeList:
        this.#consume(this.#offset + 1);
        if (this.#shape === "array") return this.#enter("closed");
        if (this.#shape === "wrapper") {
          this.#scanner.beginInsideWrapper(this.#offset);
          return this.#enter("members");
        }
        return "again";
      case ascii.closeObject:
        if (this.#shape === "sequence") {
          this.#consume(this.#offset + 1);
          return "again";
        }
    }
    this.#start = this.#here();
    this.#lookedAt = this.#offset + 1;
    return this.#enter("word");
  }

  #beginValue(): Step {
    this.#start = this.#here();
    this.#scanner.begin({
      offset: this.#offset,
      column: this.#offset - this.#lineStart,
      maxBytes: this.#limits.maxRecordBytes,
      watchesForObjects: this.#shape === undefined,
    });
    return this.#enter("value");
  }

  #readValue(): Step {
    const result = this.#scanner.scan(this.#window);
    const end = this.#scanner.offset;
    switch (result) {
      case "more":
        this.#consume(Math.min(this.#scanner.keepFrom, this.#window.end));
        if (!this.#isComplete) return "more";
        return this.#end(this.#start, truncated(this.#start));
      case "objects":
        this.#consume(end);
        this.#shape = "wrapper";
        return this.#enter("list");
      case "cutOff": {
        this.#consume(end);
        this.#shape ??= this.#scanner.isOnOneLine ? "lines" : "sequence";
        this.#enter(this.#shape === "lines" ? "lines" : "list");
        return this.#broken(this.#start, "A bracket or a quotation mark is missing in this record. Correct it.");
      }
      case "end": {
        const outcome = this.#decode(end);
        this.#consume(end);
        if (this.#shape !== undefined) return this.#settle({ start: this.#start, outcome });
        this.#pending = { start: this.#start, outcome };
        return this.#enter("firstEnded");
      }
    }
  }

  /** A first object on a line of its own means one record per line; anything else is read object by object. */
  #readAfterFirst(): Step {
    let byte: number | undefined;
    while ((byte = this.#byteAt(this.#offset)) !== undefined) {
      if (!isWhiteSpace(byte) || byte === ascii.lineFeed) break;
      this.#consume(this.#offset + 1);
    }
    if (byte === undefined && !this.#isComplete) return "more";

    const pending = this.#pending!;
    const endsLine = byte === undefined || byte === ascii.lineFeed;
    this.#shape = endsLine && this.#scanner.isOnOneLine ? "lines" : "sequence";
    if (this.#shape === "sequence") return this.#settle(pending);
    this.#enter("lines");
    return this.#finish(pending);
  }

  #readWord(): Step {
    let at = this.#lookedAt;
    let byte: number | undefined;
    while ((byte = this.#byteAt(at)) !== undefined && !endsWord(byte)) at++;
    this.#lookedAt = at;

    const isTooLong = at - this.#start.offset > longestWord;
    if (isTooLong) this.#consume(at);
    if (byte === undefined && !this.#isComplete) return "more";

    const outcome: Decoded = isTooLong ? { ok: false, reason: "This is not JSON. Remove it." } : this.#decode(at);
    this.#consume(at);
    return this.#settle({ start: this.#start, outcome });
  }

  /** A broken record first looks where the next one may begin, so that one mistake is reported once. */
  #settle(pending: Pending): Step {
    this.#enter("list");
    if (pending.outcome.ok) return this.#finish(pending);
    this.#pending = pending;
    this.#tailDepth = 0;
    return this.#enter("tail");
  }

  #readTail(): Step {
    let at = this.#offset;
    for (; ; at++) {
      const byte = this.#byteAt(at);
      if (byte === undefined || byte === ascii.comma || byte === ascii.openObject) break;
      if (byte === ascii.closeList && this.#tailDepth === 0) break;
      if (byte === ascii.openList) this.#tailDepth++;
      if (byte === ascii.closeList) this.#tailDepth--;
    }
    this.#consume(at);
    if (at === this.#window.end && !this.#isComplete) return "more";
    this.#enter("list");
    return this.#finish(this.#pending!);
  }

  #readMembers(): Step {
    const result = this.#scanner.scan(this.#window);
    const end = result === "more" ? this.#scanner.keepFrom : this.#scanner.offset;
    this.#consume(Math.min(end, this.#window.end));
    switch (result) {
      case "more":
        if (!this.#isComplete) return "more";
        return this.#end(this.#here(), "The file ends before its closing }. It may be truncated; send it again.");
      case "end":
        return this.#enter("closed");
      case "objects":
        return this.#enter("list");
      case "cutOff":
        this.#enter("list");
        return this.#broken(this.#here(), "The list was closed with ] before this record. Remove that ].");
    }
  }

  #readAfterEnd(): Step {
    const byte = this.#skipWhiteSpace();
    if (byte === undefined) return this.#isComplete ? this.#enter("ended") : "more";

    // Most likely a stray ] has closed the list too early, or two files were joined: the records in it are wanted.
    const start = this.#here();
    this.#shape = "sequence";
    const reason = "The list of records has ended before this line, but more text follows. Remove what is too much.";
    if (byte !== ascii.openList) return this.#settle({ start, outcome: { ok: false, reason } });
    this.#consume(this.#offset + 1);
    this.#enter("list");
    return this.#broken(start, reason);
  }

  #readLine(): Step {
    if (this.#lookedAt <= this.#offset) {
      if (this.#skipWhiteSpace() === undefined) return this.#isComplete ? this.#enter("ended") : "more";
      this.#start = this.#here();
      this.#lookedAt = this.#offset;
    }
    const { bytes, base, length } = this.#window;
    const found = bytes.subarray(0, length).indexOf(ascii.lineFeed, this.#lookedAt - base);
    const end = found === -1 ? this.#window.end : base + found;
    this.#lookedAt = end;
    if (found === -1 && !this.#isComplete) {
      // One byte stays, so that lookedAt is still ahead of offset: we are inside this line.
      if (end - this.#start.offset > this.#limits.maxRecordBytes) this.#consume(end - 1);
      return "more";
    }

    let outcome = this.#decode(end);
    if (found === -1 && !outcome.ok && outcome.isCutShort === true) {
      outcome = { ok: false, reason: truncated(this.#start) };
    }
    this.#consume(end);
    this.#lookedAt = end;
    return this.#finish({ start: this.#start, outcome });
  }

  #decode(end: number): Decoded {
    if (end - this.#start.offset > this.#limits.maxRecordBytes) {
      return { ok: false, reason: this.#tooLarge() };
    }
    const { bytes, base } = this.#window;
    return decodeRecord({ bytes, from: this.#start.offset - base, to: end - base, limits: this.#limits });
  }

  #tooLarge(): string {
    const bytes = this.#limits.maxRecordBytes;
    const size = bytes >= 1024 * 1024 ? `${bytes / (1024 * 1024)} MiB` : `${bytes} bytes`;
    const hint =
      this.#shape === undefined ? `If it is a whole world, put its records in a list named "objects"` : "Split it up";
    return `This record is larger than ${size}. ${hint} and send it again.`;
  }

  #finish({ start, outcome }: Pending): RecordItem {
    this.#pending = undefined;
    if (!outcome.ok) return this.#broken(start, outcome.reason);
    return { kind: "record", value: outcome.value, position: this.#number(start), next: this.#advanceIndex() };
  }

  #broken(start: Position, reason: string): RecordItem {
    return { kind: "broken", reason, position: this.#number(start), next: this.#advanceIndex() };
  }

  #number({ line, offset }: Position): Position {
    return { index: this.#index, line, offset };
  }

  #end(start: Position, reason: string): RecordItem {
    this.#consume(this.#window.end);
    this.#phase = "ended";
    return this.#broken(start, reason);
  }

  #advanceIndex(): Cursor {
    this.#index++;
    return {
      offset: this.#offset,
      index: this.#index,
      line: this.#line,
      lineStart: this.#lineStart,
      shape: this.#phase === "ended" ? "ended" : this.#shape!,
    };
  }

  #enter(phase: Phase): "again" {
    this.#phase = phase;
    return "again";
  }

  #here(): Position {
    return { index: this.#index, line: this.#line, offset: this.#offset };
  }

  #byteAt(offset: number): number | undefined {
    const at = offset - this.#window.base;
    return at < this.#window.length ? this.#window.bytes[at] : undefined;
  }

  #skipWhiteSpace(alsoSkipped?: number): number | undefined {
    let at = this.#offset;
    let byte: number | undefined;
    while ((byte = this.#byteAt(at)) !== undefined && (isWhiteSpace(byte) || byte === alsoSkipped)) at++;
    this.#consume(at);
    return byte;
  }

  /** The only place where lines are counted: everything that is read or skipped passes through here once. */
  #consume(to: number): void {
    const { bytes, base } = this.#window;
    for (let at = this.#offset - base; at < to - base; at++) {
      if (bytes[at] !== ascii.lineFeed) continue;
      this.#line++;
      this.#lineStart = base + at + 1;
    }
    this.#offset = Math.max(this.#offset, to);
  }
}

function endsWord(byte: number): boolean {
  switch (byte) {
    case ascii.comma:
    case ascii.openObject:
    case ascii.closeObject:
    case ascii.openList:
    case ascii.closeList:
    case ascii.lineFeed:
      return true;
    default:
      return false;
  }
}

function truncated(start: Position): string {
  return `The file ends in the middle of a record that begins on line ${start.line}. It may be truncated; send it again.`;
}
