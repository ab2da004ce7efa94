/**
 * The one error class of the library and its closed catalogue of codes.
 * docs/errors.md explains every code to a user; errors.test.ts keeps both in step.
 */

/** Every code a `JobsError` can carry, with what it means in one line. The long form is docs/errors.md. */
export const errorCodes = {
  INVALID_DEFINITION: "A job definition contradicts itself.",
  INVALID_OPTIONS: "An option has a value that cannot work.",
  INVALID_PAYLOAD: "A payload does not match the schema of its type.",
  INVALID_RESULT: "A handler returned a value that does not match the result schema of its type.",
  PAYLOAD_TOO_LARGE: "A payload is larger than a job row should hold.",
  ENQUEUE_REFUSED: "The type of a job takes in no more at present, or not this one.",
  IDEMPOTENCY_KEY_REUSED: "An idempotency key was used for something else before.",
  JOB_GONE: "A request is a repeat, and the job that it added has been deleted since.",
  SETTINGS_STALE: "Somebody else has changed the settings of a type since they were read.",
  JOB_NOT_FOUND: "No job has this id.",
  WAIT_TIMEOUT: "A job did not end within the time the caller was ready to wait.",
  LEASE_LOST: "This attempt no longer holds its job; what it wanted to write was refused.",
  STEP_FAILED: "A step cannot be remembered.",
  TRANSACTIONS_UNSUPPORTED: "The store has no transactions to join.",
  TRANSACTION_NOT_SYNCHRONOUS: "A SQLite transaction was given asynchronous work.",
  WORKER_STATE: "A worker was started twice, or used after it stopped.",
  DUPLICATE_PROCESSOR: "Two processors were registered for one type.",
  BLOB_NOT_FOUND: "No blob has this id.",
  STORE_UNAVAILABLE: "The store could not be reached or is too busy; safe to try again.",
  STORE_CLOSED: "The store was closed.",
  STORE_UNWRITABLE: "The folder or file of the store cannot be written.",
  STORE_CORRUPT: "The file of the store is damaged or is not a database.",
  SQLITE_TOO_OLD: "The SQLite library has the WAL-reset corruption bug.",
  STORE_REFUSED: "The database server does not let this process in, or not do what it must.",
  POSTGRES_TOO_OLD: "The PostgreSQL server is older than Sluice can use.",
  SCHEMA_OUTDATED: "The schema of the store must be brought up to date first, and this process may not.",
  SCHEMA_TOO_NEW: "A newer version of Sluice has migrated this store.",
  WORKERS_ALIVE: "Workers are running on a store that must stand still.",
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** One reason why a value does not match its schema. `path` is a JSON Pointer (RFC 6901), "" for the whole value. */
export interface Issue {
  readonly path: string;
  readonly message: string;
}

/**
 * Thrown (or rejected with) by everything in Sluice. The message says what happened, to what, and what to do.
 * `details` holds the same facts as fields; `cause` the error beneath, where there is one.
 */
export class JobsError extends Error {
  override readonly name = "JobsError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    { cause, ...details }: Readonly<Record<string, unknown>> & { cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }
}

/** Throw this from a handler when another try cannot help: the job fails at once with reason `non_retryable`. */
export class NonRetryableError extends Error {
  override readonly name: string = "NonRetryableError";
}

/** True when trying the same call again may work: the store was busy or out of reach, nothing was refused. */
export function isRetryable(error: unknown): boolean {
  return error instanceof JobsError && error.code === "STORE_UNAVAILABLE";
}

/** Makes the compiler refuse a switch that forgot a case. */
export function assertNever(value: never): never {
  throw new TypeError(`Unhandled case: ${JSON.stringify(value)}`);
}
