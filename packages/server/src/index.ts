/** The public names of `@sluice/server`. */
export { startService, type Service, type StartOptions } from "./start.js";
export { sluiceService, version, type Edge, type ServiceOptions } from "./service.js";
export { stopOnSignals } from "./signals.js";
export { answerProblem, invalidRequest, Problem, type ProblemMore } from "./problem.js";
export type { ProblemBody, ProblemCode, FieldError } from "./contract/problems.js";
export type { Principal } from "./principal.js";
export type { OwnAuthenticate } from "./auth.js";
export { defaultLimits, type Limits } from "./limits.js";
export { Live, type Snapshot, type Source } from "./live.js";
export { openApiDocument, type OpenApi } from "./openapi.js";
