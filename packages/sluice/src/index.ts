/**
 * The public names of `sluice`. Stores are in `sluice/sqlite` and `sluice/memory`, the test kit in `sluice/testing`.
 */
export {
  covers,
  hashOfToken,
  hasRole,
  isGood,
  keyOfToken,
  newToken,
  roles,
  type AccessKey,
  type AccessKeyOptions,
  type AddKeyAnswer,
  type NewAccessKey,
  type Role,
  type Token,
} from "./access.js";
export { exponential, fixed, noRetry, type RetryPolicy } from "./backoff.js";
export {
  BatchProcessor,
  handleBatch,
  type Batch,
  type BatchHandler,
  type BatchItem,
  type BatchResult,
} from "./batch.js";
export {
  auditActions,
  type AuditAction,
  type AuditEntry,
  type AuditPage,
  type AuditQuery,
  type AuditRecord,
  type AuditTarget,
  type Origin,
} from "./audit.js";
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
  type AmendResult,
  type AmendSummary,
  type AuditFilter,
  type By,
  type Deed,
  type Enqueued,
  type IssuedKey,
  type JobPage,
  type JobQuery,
  type QueueOptions,
  type Refused,
  type Searched,
  type SearchOptions,
  type SearchPage,
} from "./queue.js";
export {
  compileQuery,
  maxQueryLength,
  needsTypes,
  parseQuery,
  printQuery,
  queryKeys,
  type CompiledQuery,
  type CompileOptions,
  type NumberRange,
  type ParsedQuery,
  type Query,
  type QueryFault,
  type Term,
  type Time,
  type TypeName,
} from "./search.js";
export type { TypeControls } from "./admission.js";
export {
  jsonSchemaOf,
  mask,
  maskOutput,
  maskPayload,
  scrub,
  Secrets,
  secretsOf,
  viewOf,
  viewOfCorrelation,
  viewOfError,
  type JobView,
  type Shown,
} from "./redaction.js";
export { breakerActor, type Breaker } from "./breaker.js";
export type { EnqueueLimit, IntakeDefaults, Refusal } from "./intake.js";
export type { Rate } from "./rate.js";
export { bucketBounds, type Histogram, type NewRollup, type Rollup, type RollupCounts } from "./rollup.js";
export type { Rollout } from "./rollout.js";
export { defaultSettings, isPaused } from "./settings.js";
export type { Pause, SettingsAnswer, SettingsChange, SettingsPatch, SettingsRecord, TypeSettings } from "./settings.js";
export type * from "./snapshot.js";
export type { Figures, Spread, Stats, StatsQuery, StatsStep, TypeStats } from "./stats.js";
export type * from "./store.js";
export type { CountOfBoth } from "./tally.js";
export { isAlive, type Place, type Waiting, type WaitingReason, type WaitRange } from "./waiting.js";
export { Worker, type WorkerOptions } from "./worker.js";
