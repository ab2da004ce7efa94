/** All endpoints there are. What is not here has no route, and is in no document. */
import * as jobs from "./jobs.js";
import * as operations from "./operations.js";
import * as types from "./types.js";
import type { Endpoint } from "./endpoint.js";

export const endpoints: readonly Endpoint[] = [
  jobs.enqueueJob,
  jobs.enqueueBatch,
  jobs.searchJobs,
  jobs.readJob,
  jobs.revealPayload,
  jobs.streamJob,
  jobs.cancelJob,
  jobs.retryJob,
  jobs.discardJob,
  jobs.editPayload,
  jobs.bulk,
  types.listTypes,
  types.readType,
  types.setType,
  operations.readStats,
  operations.listWorkers,
  operations.readAudit,
  operations.listKeys,
  operations.createKey,
  operations.revokeKey,
  operations.openSession,
  operations.readSession,
  operations.closeSession,
  operations.streamOverview,
  operations.livez,
  operations.readyz,
  operations.metrics,
  operations.openapi,
  operations.docs,
] as readonly Endpoint[];

export { jobs, operations, types };
