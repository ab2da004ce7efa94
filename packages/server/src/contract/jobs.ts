/** Jobs on the wire, and the endpoints that enqueue and read them. */
import { failReasons } from "sluice";
import { z } from "zod";
import { endpoint } from "./endpoint.js";
import { FieldError } from "./problems.js";
import { Instant, JobId, JobParams, pageLimit, Reason, State, Status, TypeName } from "./values.js";

const Count = z.int().min(0);

export const Correlation = z
  .record(z.string().min(1).max(100), z.string().max(1_000))
  .meta({ description: 'Keys that say what a job is about, for example { "entityId": "e1" }.' });

export const EnqueueBody = z
  .strictObject({
    type: TypeName,
    payload: z.unknown().meta({ description: "As the schema of the type has it: GET /v1/types/{type}." }),
    correlation: Correlation.optional().meta({ description: "Added to what the type derives from the payload." }),
    delayMs: z
      .int()
      .min(0)
      .max(3_650 * 86_400_000)
      .optional()
      .meta({ description: "Runs no earlier than so many ms from now." }),
    runAt: Instant.optional().meta({ description: "Runs no earlier than this. At most one of delayMs and runAt." }),
    priority: z.int().min(-1_000).max(1_000).optional().meta({ description: "Higher runs first." }),
    maxAttempts: z.int().min(1).max(1_000).optional().meta({ description: "Executions in all." }),
  })
  .refine(({ delayMs, runAt }) => delayMs === undefined || runAt === undefined, {
    path: ["runAt"],
    message: "give delayMs or runAt, not both",
  })
  .meta({ id: "EnqueueRequest" });
export type EnqueueBody = z.infer<typeof EnqueueBody>;

export const AttemptError = z
  .object({
    name: z.string(),
    message: z.string(),
    stack: z.string().optional().meta({ description: "For keys that may operate." }),
    issues: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: "AttemptError", description: "What went wrong in an attempt; sensitive values are masked." });

const place = {
  ahead: Count.meta({ description: "Jobs of its type that come before it, counted up to 1,000." }),
  isAheadCut: z.boolean().meta({ description: "There are more." }),
  wait: z
    .object({ leastMs: z.number(), mostMs: z.number() })
    .nullable()
    .meta({ description: "How long that may take; null where nobody can honestly say." }),
};

/** Mirrors `Waiting` of the library; instants as text. */
export const Waiting = z
  .discriminatedUnion("reason", [
    z.object({ reason: z.literal("scheduled"), until: Instant }),
    z.object({ reason: z.literal("backoff"), until: Instant, attempt: Count, error: AttemptError.nullable() }),
    z.object({ reason: z.literal("blocked"), by: z.string().nullable(), concurrencyKey: z.string().nullable() }),
    z.object({ reason: z.literal("rollout_off") }),
    z.object({ reason: z.literal("rate_limited"), until: Instant }),
    z.object({
      reason: z.literal("paused"),
      pause: z.object({
        actor: z.string(),
        reason: z.string().nullable(),
        since: Instant,
        until: Instant.nullable(),
      }),
    }),
    z.object({ reason: z.literal("no_worker") }),
    z.object({ reason: z.literal("needs_newer_worker"), version: z.int(), newest: z.int() }),
    z.object({ reason: z.literal("concurrency_full"), limit: z.int(), processing: Count, ...place }),
    z.object({ reason: z.literal("queued"), ...place }),
    z.object({ reason: z.literal("next") }),
  ])
  .meta({ id: "Waiting", description: "Why a pending job is not running: the first reason that holds." });
export type WaitingBody = z.infer<typeof Waiting>;

const jobShape = {
  id: JobId,
  type: z.string(),
  version: z.int(),
  status: Status,
  state: State,
  createdAt: Instant,
  runAt: Instant.meta({ description: "When it may first run, or run again." }),
  correlation: z.record(z.string(), z.string()).nullable(),
  priority: z.int(),
  attempt: Count.meta({ description: "Executions charged to it so far." }),
  maxAttempts: Count,
  crashes: Count.meta({ description: "Attempts whose worker died, apart from errors." }),
  progress: z.object({ done: z.number(), total: z.number().nullable() }).nullable(),
  timings: z.object({
    startedAt: Instant.nullable(),
    finishedAt: Instant.nullable(),
    runMs: z.number().nullable().meta({ description: "How long the last attempt ran, where that is known." }),
  }),
  payload: z
    .unknown()
    .meta({ description: "Masked: values that are sensitive, or that no schema declares, read •••." }),
  isMasked: z.boolean(),
  output: z.unknown().optional().meta({ description: "Of a completed job; masked as the payload." }),
  reason: z
    .string()
    .nullable()
    .meta({ description: `Of a failed job one of ${failReasons.join(", ")}; of a cancelled one why.` }),
  error: AttemptError.nullable().meta({ description: "Of a failed or retrying job." }),
  workerId: z.string().nullable().meta({ description: "Who runs it." }),
  isCancelRequested: z.boolean(),
  traceparent: z.string().nullable(),
  links: z.object({ self: z.string(), events: z.string() }),
};

export const JobBody = z.object(jobShape).meta({ id: "Job" });
export type JobBody = z.infer<typeof JobBody>;

export const ListedJob = z.object({ ...jobShape, waiting: Waiting.nullable() }).meta({ id: "ListedJob" });

export const EnqueuedJob = z
  .object({
    ...jobShape,
    outcome: z.enum(["created", "duplicate", "replaced"]).meta({
      description:
        "created: a new job. duplicate: this job holds the unique key already, or was enqueued with the same Idempotency-Key. replaced: this job has taken the new payload.",
    }),
  })
  .meta({ id: "EnqueuedJob" });

export const JobDetail = z
  .object({
    ...jobShape,
    waiting: Waiting.nullable().meta({ description: "Null when it runs or has ended." }),
    attempts: z
      .array(
        z.object({
          attempt: z.int(),
          workerId: z.string(),
          startedAt: Instant,
          endedAt: Instant,
          runMs: z.number(),
          crashed: z.boolean(),
          error: AttemptError,
        }),
      )
      .meta({ description: "The last 100 that did not complete it, oldest first." }),
    log: z
      .array(z.object({ at: Instant, level: z.enum(["debug", "info", "warn", "error"]), message: z.string() }))
      .meta({ description: "The last 200 lines of its handlers, oldest first." }),
  })
  .meta({ id: "JobDetail" });

const enqueueProblems = [
  "malformed_json",
  "invalid_payload",
  "unknown_type",
  "idempotency_key_reused",
  "request_in_progress",
  "gone",
  "refused",
  "switched_off",
  "body_too_large",
] as const;

export const enqueueJob = endpoint({
  id: "enqueueJob",
  method: "POST",
  path: "/v1/jobs",
  tag: "Jobs",
  summary: "Enqueue a job",
  description:
    "The job is durable before the answer. With `Prefer: wait=N` the answer comes when the job has ended, after N seconds (at most 60) at the latest.",
  access: ["submit"],
  headers: ["Idempotency-Key", "Prefer", "traceparent"],
  body: { schema: EnqueueBody, types: ["application/json"] },
  answers: {
    200: {
      description: "The job has ended within the time that `Prefer: wait` gave it.",
      content: { type: "application/json", schema: EnqueuedJob },
      headers: ["Location", "Preference-Applied", "Idempotency-Replayed"],
    },
    202: {
      description: "The job is there, or was there already.",
      content: { type: "application/json", schema: EnqueuedJob },
      headers: ["Location", "Retry-After", "Preference-Applied", "Idempotency-Replayed"],
    },
  },
  problems: enqueueProblems,
});

export const BatchResult = z
  .object({
    line: z.int().min(1).meta({ description: "Of the item in the request, from 1." }),
    outcome: z.enum(["created", "duplicate", "replaced", "refused", "invalid", "unavailable"]).meta({
      description:
        "refused: a limit or a rollout did not take it in. invalid: it cannot be a job. unavailable: the store did not take it; send it again.",
    }),
    id: JobId.optional(),
    retryAfterMs: z.number().optional().meta({ description: "When a refused one may be sent again." }),
    problem: z.object({ code: z.string(), detail: z.string(), errors: z.array(FieldError).optional() }).optional(),
  })
  .meta({ id: "BatchResult" });
export type BatchResult = z.infer<typeof BatchResult>;

export const enqueueBatch = endpoint({
  id: "enqueueBatch",
  method: "POST",
  path: "/v1/jobs/batch",
  tag: "Jobs",
  summary: "Enqueue many jobs",
  description:
    "A JSON array (at most 1,000 jobs and 8 MiB), or one job on each line (application/x-ndjson) as a stream of any length. Each line is answered by a line, in order, once it is durable; one that is wrong does not stop the others. An Idempotency-Key counts for each line: a batch that broke off may be sent again.",
  access: ["submit"],
  headers: ["Idempotency-Key"],
  body: {
    schema: z.array(EnqueueBody).max(1_000),
    types: ["application/json", "application/x-ndjson"],
    texts: { "application/x-ndjson": z.string().meta({ description: "On each line one job, an EnqueueRequest." }) },
    isStream: true,
  },
  answers: {
    202: {
      description:
        "One result for each job, in order: a line each for a request in lines, otherwise an array under `results`.",
      content: {
        type: "application/json",
        schema: z.object({ results: z.array(BatchResult) }).meta({ id: "BatchResults" }),
      },
      inLines: { type: "application/x-ndjson", schema: BatchResult },
    },
  },
  problems: ["malformed_json", "body_too_large", "request_in_progress"],
});

export const readJob = endpoint({
  id: "readJob",
  method: "GET",
  path: "/v1/jobs/{id}",
  tag: "Jobs",
  summary: "Read a job, and why it is not running",
  access: ["submit", "observe"],
  params: JobParams,
  headers: ["If-None-Match"],
  answers: {
    200: {
      description: "The job.",
      content: { type: "application/json", schema: JobDetail },
      headers: ["ETag", "Retry-After"],
    },
    304: { description: "As it is known already.", headers: ["ETag"] },
  },
  problems: ["job_not_found"],
});

export const SearchQuery = z.strictObject({
  q: z.string().max(2_000).default("").meta({
    description:
      "type: state: status: reason: error: attempt: priority: version: worker: since: until: correlation.<name>:, joined by spaces; a comma means or, a leading - not. For example `state:failed type:canon.* since:24h -error:timeout`.",
  }),
  cursor: z
    .uuid("takes the `next` of the page before")
    .optional()
    .meta({ description: "From the `next` of the page before." }),
  limit: pageLimit(200),
});

export const searchJobs = endpoint({
  id: "searchJobs",
  method: "GET",
  path: "/v1/jobs",
  tag: "Jobs",
  summary: "Search jobs, newest first",
  access: ["observe"],
  query: SearchQuery,
  answers: {
    200: {
      description:
        "A page. It may hold fewer than asked for and still have a next: `searched` says what was looked at.",
      content: {
        type: "application/json",
        schema: z
          .object({
            jobs: z.array(ListedJob),
            next: z.string().nullable().meta({ description: "The cursor of the next page; null at the end." }),
            searched: z.object({
              from: Instant.nullable().meta({ description: "The oldest creation that was looked at." }),
              to: Instant.nullable().meta({ description: "The newest." }),
              rows: Count,
              isComplete: z.boolean().meta({ description: "Nothing older can match." }),
            }),
          })
          .meta({ id: "JobPage" }),
      },
      headers: ["Link"],
    },
  },
  problems: ["invalid_query"],
});

export const streamJob = endpoint({
  id: "streamJob",
  method: "GET",
  path: "/v1/jobs/{id}/events",
  tag: "Events",
  summary: "Follow a job",
  description:
    "Server-sent events. Each `job` event is the whole job as it is now (as the search lists it), at most one a second; a reconnect gets the present. After a job has ended and its last state was sent, the stream ends; a client that comes back with that event's id is told by 204 that there is no more.",
  access: ["submit", "observe"],
  params: JobParams,
  headers: ["Last-Event-ID"],
  answers: {
    200: { description: "The stream.", content: { type: "text/event-stream", schema: z.string() } },
    204: { description: "The job has ended, and the client has its last state." },
  },
  problems: ["job_not_found", "too_many_streams"],
});

export const revealPayload = endpoint({
  id: "revealPayload",
  method: "GET",
  path: "/v1/jobs/{id}/payload",
  tag: "Jobs",
  summary: "Read a payload unmasked",
  description: "For keys that may read payloads. Each read is kept in the audit before it is answered.",
  access: ["observe"],
  params: JobParams,
  query: z.strictObject({ reason: Reason.optional().meta({ description: "Why; kept in the audit." }) }),
  answers: {
    200: {
      description: "The payload as it was enqueued.",
      content: {
        type: "application/json",
        schema: z.object({ id: JobId, version: z.int(), payload: z.unknown() }).meta({ id: "RevealedPayload" }),
      },
    },
  },
  problems: ["job_not_found"],
});

const commandAnswers = {
  200: { description: "Done: the job as it is now.", content: { type: "application/json", schema: JobBody } },
} as const;

const command = (
  id: string,
  verb: string,
  more: { summary: string; description: string; roles: readonly ("operate" | "admin")[] },
) =>
  endpoint({
    id,
    method: "POST",
    path: `/v1/jobs/{id}/${verb}`,
    tag: "Operate",
    summary: more.summary,
    description: more.description,
    access: more.roles,
    params: JobParams,
    body: { schema: z.strictObject({ reason: Reason.optional() }), types: ["application/json"], isOptional: true },
    answers: {
      ...commandAnswers,
      ...(verb === "cancel" && {
        202: {
          description: "The job is being run, and was asked to stop.",
          content: { type: "application/json", schema: JobBody },
          headers: ["Location", "Retry-After"] as const,
        },
      }),
    },
    problems: ["job_not_found", "wrong_state", "key_taken", "malformed_json"],
  });

export const cancelJob = command("cancelJob", "cancel", {
  summary: "Cancel a job",
  description: "A waiting job is cancelled; one that is being run is asked to stop: its signal fires.",
  roles: ["operate"],
});
export const retryJob = command("retryJob", "retry", {
  summary: "Retry a job",
  description:
    "A failed job becomes pending with a fresh budget of attempts; one that waits for its backoff is due now.",
  roles: ["operate"],
});
export const discardJob = command("discardJob", "discard", {
  summary: "Discard a failed job",
  description: "A failed job becomes cancelled: nobody will look at it again.",
  roles: ["admin"],
});

export const editPayload = endpoint({
  id: "editPayload",
  method: "PATCH",
  path: "/v1/jobs/{id}/payload",
  tag: "Operate",
  summary: "Give a job another payload, and retry it if it has failed",
  description: "The whole new payload, not a part of it. The old one is kept in the audit.",
  access: ["operate"],
  params: JobParams,
  body: {
    schema: z.strictObject({ payload: z.unknown(), reason: Reason.optional() }),
    types: ["application/json", "application/merge-patch+json"],
  },
  answers: commandAnswers,
  problems: ["job_not_found", "unknown_type", "invalid_payload", "wrong_state", "key_taken", "malformed_json"],
});

export const BulkBody = z
  .strictObject({
    action: z.enum(["cancel", "retry", "discard"]),
    q: z.string().min(1).max(2_000).meta({ description: "Which jobs, in the grammar of the search." }),
    asOf: Instant.optional().meta({
      description:
        "Jobs created, and ended, by then; default now. Take it from the dry run, so that no more are swept in.",
    }),
    dryRun: z.boolean().default(false).meta({ description: "Only count what matches." }),
    canary: Count.max(100).default(0).meta({
      description: "For retry: so many first; the rest only when four fifths of them completed within ten minutes.",
    }),
    ratePerSecond: z.number().min(0.1).max(10_000).default(500),
    reason: Reason,
  })
  .meta({ id: "BulkRequest" });
export type BulkBody = z.infer<typeof BulkBody>;

export const BulkPreview = z
  .object({
    asOf: Instant,
    matched: Count,
    isCut: z.boolean().meta({ description: "More than were looked at: matched is a least." }),
    byType: z.record(z.string(), Count),
    byState: z.record(z.string(), Count),
    oldest: Instant.nullable(),
    estimatedMs: z.number().meta({ description: "How long it takes at the rate asked for." }),
  })
  .meta({ id: "BulkPreview" });

export const bulk = endpoint({
  id: "bulk",
  method: "POST",
  path: "/v1/bulk",
  tag: "Operate",
  summary: "Cancel, retry or discard all jobs that match",
  description:
    "Itself a job of type sluice.bulk: follow it, or cancel it, as any other. Each job that it touches is in the audit with the actor and the reason.",
  access: ["operate"],
  headers: ["Idempotency-Key"],
  body: { schema: BulkBody, types: ["application/json"] },
  answers: {
    200: {
      description: "A dry run: what would be touched.",
      content: { type: "application/json", schema: BulkPreview },
    },
    202: {
      description: "The job that does it.",
      content: { type: "application/json", schema: EnqueuedJob },
      headers: ["Location", "Retry-After", "Idempotency-Replayed"],
    },
  },
  problems: ["malformed_json", "invalid_query", "idempotency_key_reused", "gone"],
});
