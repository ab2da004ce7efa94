/**
 * For tests of jobs and of stores: a clock that stands still, builders, and the conformance suite.
 */
export { ManualClock } from "./manual-clock.js";
export {
  aBeat,
  aClaim,
  aClaimedJob,
  aCommand,
  aJobId,
  aNewJob,
  anEdit,
  anError,
  anIdempotency,
  aStep,
  aUniqueClaim,
  cancelOf,
  completeOf,
  defaultType,
  defaultWorkerId,
  failOf,
  holdOf,
  releaseOf,
  retryOf,
  snoozeOf,
} from "./builders.js";
export { describeLife } from "./conformance/life.js";
export { describeStore } from "./conformance/index.js";
export type { ConformanceTarget } from "./conformance/index.js";
export type { ApplicationTable, OpenedStore } from "./conformance/scene.js";
