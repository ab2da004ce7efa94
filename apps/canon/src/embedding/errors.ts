/**
 * The one error class of the embedding folder. What to do about a code is in its comment.
 */

export type EmbeddingErrorCode =
  /** A model file is missing or is not the one tested. Retrying does not help; the message says what to install. */
  | "MODEL_UNUSABLE"
  /** A thread stopped while it held the texts. Safe to retry; a new thread starts by itself. */
  | "THREAD_FAILED"
  /** `close()` was called. */
  | "EMBEDDER_CLOSED";

export class EmbeddingError extends Error {
  override readonly name = "EmbeddingError";
  readonly code: EmbeddingErrorCode;

  constructor(code: EmbeddingErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
