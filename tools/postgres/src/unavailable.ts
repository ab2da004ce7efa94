/** The answer of whoever needs a program that this machine may not have. */
export interface Unavailable {
  /** Why there is none, in a sentence that a skipped test can print. */
  readonly unavailable: string;
}
