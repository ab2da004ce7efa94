/**
 * The public names of `sluice`. Stores are in `sluice/sqlite` and `sluice/memory`, the test kit in `sluice/testing`.
 */
export { exponential, fixed, noRetry, type RetryPolicy } from "./backoff.js";
export {
  BatchProcessor,
  handleBatch,
  type Batch,
  type BatchHandler,
  type BatchItem,
  type BatchResult,
} from "./batch.js";
export { systemClock, type Clock } from "./clock.js";
export { copyStore, type CopyOptions, type CopyProgress, type CopyReport, type NotCopied, type Some } from "./copy.js";
export { AttemptAborted, type AbortReason, type Context, type ContextLog } from "./context.js";
export {
  defineJob,
  type AnyDefinition,
  type BatchOptions,
  type BatchRules,
  type DefinitionOptions,
  type EnqueueOptions,
  type IdempotencyOptions,
  type InputOf,
  type JobDefinition,
  type PayloadOf,
  type ResultOf,
  type UniqueOptions,
} from "./definition.js";
export { errorCodes, isRetryable, JobsError, NonRetryableError, type ErrorCode, type Issue } from "./errors.js";
export { openFeature, type FlagClient, type FlagContext, type Flags } from "./flags.js";
export { Events, type EventMap, type EventName, type JobSubject } from "./events.js";
export {
  failReasons,
  hasEnded,
  jobStates,
  statusOf,
  transitions,
  type AttemptError,
  type AttemptRecord,
  type Controls,
  type Correlation,
  type FailReason,
  type HeldBy,
  type Hold,
  type Job,
  type JobId,
  type JobRecord,
  type JobState,
  type JobStatus,
  type Progress,
  type TraceCarrier,
} from "./job.js";
export {
  cancel,
  fail,
  handle,
  Processor,
  snooze,
  type Directive,
  type Handler,
  type HandlerResult,
  type JobInHand,
  type Middleware,
} from "./processor.js";
export {
  allTakenIn,
  Queue,
  type AmendSummary,
  type By,
  type Enqueued,
  type JobPage,
  type JobQuery,
  type QueueOptions,
  type Refused,
} from "./queue.js";
export type { TypeControls } from "./admission.js";
export type { EnqueueLimit, IntakeDefaults, Refusal } from "./intake.js";
export type { Rate } from "./rate.js";
export type { Rollout } from "./rollout.js";
export type { Pause, SettingsAnswer, SettingsChange, SettingsPatch, SettingsRecord, TypeSettings } from "./settings.js";
export type * from "./snapshot.js";
export type * from "./store.js";
export type { CountOfBoth } from "./tally.js";
export type { Place, Waiting, WaitingReason, WaitRange } from "./waiting.js";
export { Worker, type WorkerOptions } from "./worker.js";
