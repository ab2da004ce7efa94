/**
 * Everything that is said to whoever called: results on the one stream, all else on the other. Keeps secrets of addresses out of
 * both, whoever brings them.
 */
import { Bar, Lines, type ProgressView } from "./progress.js";
import { count, visible } from "./words.js";

/** As much of process.stdout and process.stderr as is used. */
export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export class Output {
  readonly #out: Stream;
  readonly #err: Stream;

  constructor(out: Stream, err: Stream) {
    this.#out = out;
    this.#err = err;
  }

  /** A part of the result, as it is. */
  print(text: string): void {
    this.#out.write(withoutSecrets(text));
  }

  line(text: string): void {
    this.print(`${text}\n`);
  }

  json(value: unknown): void {
    // What JSON lets stand as it is would still act on a terminal. Its own line breaks are outside of texts.
    this.line(JSON.stringify(value, null, 2).split("\n").map(visible).join("\n"));
  }

  /** A line that says one thing about what is shown. */
  fact(name: string, text: string): void {
    this.line(`${(name === "" ? "" : `${name}:`).padEnd(13)}${visible(text)}`);
  }

  /** Columns of text, each cell on its line; numbers to the right. */
  table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
    const texts = [
      head,
      ...rows.map((row) => row.map((cell) => (typeof cell === "number" ? count(cell) : visible(cell)))),
    ];
    const widths = head.map((_, column) => Math.max(...texts.map((row) => row[column]!.length)));
    const isNumber = head.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === "number"));
    for (const row of texts) {
      const cells = row.map((text, at) => (isNumber[at] ? text.padStart(widths[at]!) : text.padEnd(widths[at]!)));
      this.line(cells.join("  ").trimEnd());
    }
  }

  /** Not a result, as it is. */
  printError(text: string): void {
    this.#err.write(withoutSecrets(text));
  }

  /** What went wrong, in one sentence or a few. */
  complain(text: string): void {
    this.printError(`sluice: ${text.replaceAll(/\s*\n\s*/g, " ")}\n`);
  }

  /** A bar on a terminal, elsewhere a line every few seconds. */
  progress(): ProgressView {
    const write = (text: string) => this.printError(text);
    const isTerminal = this.#err.isTTY === true && process.env["TERM"] !== "dumb";
    return isTerminal ? new Bar(write, () => this.#err.columns || 80) : new Lines(write);
  }
}

/** Passwords of addresses, also of those that are no good, and among their parameters. */
function withoutSecrets(text: string): string {
  return text.replaceAll(/(:\/\/[^\s/?#:@]*):\S*@/g, "$1:***@").replaceAll(/(password=)[^&\s'"]*/gi, "$1***");
}
