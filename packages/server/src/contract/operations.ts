/** What the whole is like: statistics, workers, the audit, keys, streams, health. */
import { auditActions, roles } from "sluice";
import { z } from "zod";
import { endpoint } from "./endpoint.js";
import { Instant, pageLimit, Reason, TypeName } from "./values.js";

const Count = z.int().min(0);
const Ms = z.number().nullable();

// ── statistics ──────────────────────────────────────────────────────────────

const range = /^([1-9]\d{0,4})(m|h|d)$/;

export const StatsQuery = z.strictObject({
  range: z
    .string()
    .regex(range, "takes a number and m, h or d, as 15m, 24h or 7d")
    .default("1h")
    .meta({ description: "How far back: 15m, 24h, 7d. At most 400d." }),
  type: TypeName.optional().meta({ description: "Only of this type." }),
});

const Spread = z
  .object({
    count: Count,
    averageMs: Ms,
    p50Ms: Ms,
    p95Ms: Ms,
    p99Ms: Ms,
    buckets: z.array(Count).meta({ description: "How many took up to 1, 2, 4 … 2^24 ms, and longer." }),
  })
  .meta({
    id: "Spread",
    description: "Percentiles are estimates from the buckets: more than half the true one, less than twice.",
  });

const flow = {
  enqueued: Count,
  refused: Count.meta({ description: "Jobs that a limit or a rollout did not take in." }),
  attempts: Count.meta({ description: "Attempts that ended." }),
  completed: Count,
  retried: Count,
  failed: Count,
  cancelled: Count,
  snoozed: Count,
  crashed: Count.meta({ description: "Attempts whose worker died." }),
  failureRate: z
    .number()
    .nullable()
    .meta({ description: "Attempts that failed, of those that ended; null without any." }),
  wait: Spread.meta({ description: "From due to start." }),
  run: Spread.meta({ description: "Of an attempt." }),
};

export const StatsBody = z
  .object({
    from: Instant,
    to: Instant,
    stepMs: z.int(),
    total: z.object(flow).nullable().meta({ description: "All types together; null for a key that is for some." }),
    types: z.array(
      z.object({
        type: z.string(),
        total: z.object(flow),
        steps: z
          .array(z.object({ at: Instant, ...flow }))
          .meta({ description: "Oldest first. Steps in which nothing happened are left out." }),
      }),
    ),
  })
  .meta({ id: "Stats" });

export const readStats = endpoint({
  id: "readStats",
  method: "GET",
  path: "/v1/stats",
  tag: "Operate",
  summary: "What happened, in steps",
  description: "By the minute for 48 hours, by the hour for 400 days. Quantiles are of histograms: good to a bucket.",
  access: ["observe"],
  query: StatsQuery,
  answers: { 200: { description: "The rollups.", content: { type: "application/json", schema: StatsBody } } },
  problems: [],
});

// ── workers ─────────────────────────────────────────────────────────────────

export const WorkerBody = z
  .object({
    id: z.string(),
    host: z.string(),
    pid: z.int(),
    startedAt: Instant,
    leaseExpiresAt: Instant,
    isLost: z.boolean(),
    concurrency: z.int(),
    processing: Count.meta({ description: "Jobs it holds now." }),
    types: z.array(z.object({ type: z.string(), version: z.int().nullable(), slots: z.int().nullable() })),
  })
  .meta({ id: "Worker" });

export const listWorkers = endpoint({
  id: "listWorkers",
  method: "GET",
  path: "/v1/workers",
  tag: "Operate",
  summary: "Who works",
  access: ["observe"],
  answers: {
    200: {
      description: "Living and lost workers.",
      content: {
        type: "application/json",
        schema: z.object({ workers: z.array(WorkerBody) }).meta({ id: "WorkerList" }),
      },
    },
  },
  problems: [],
});

// ── audit ───────────────────────────────────────────────────────────────────

export const AuditQuery = z.strictObject({
  actor: z.string().min(1).max(200).optional().meta({ description: "Only what this one did." }),
  job: z.uuid().optional().meta({ description: "Only of this job; kept when the job is gone." }),
  type: TypeName.optional().meta({ description: "Only changes of the settings of this type." }),
  action: z.enum(auditActions).optional().meta({ description: "Only such." }),
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, "takes the `next` of the page before")
    .optional()
    .meta({ description: "From the `next` of the page before." }),
  limit: pageLimit(200),
});

export const AuditEntry = z
  .object({
    at: Instant,
    actor: z.string(),
    action: z.enum(auditActions),
    target: z.object({ kind: z.enum(["job", "type", "key", "bulk"]), id: z.string() }),
    type: z.string().nullable(),
    before: z.unknown().meta({ description: "A payload in it is masked." }),
    after: z.unknown(),
    reason: z.string().nullable(),
    requestId: z.string().nullable(),
  })
  .meta({ id: "AuditEntry" });

export const readAudit = endpoint({
  id: "readAudit",
  method: "GET",
  path: "/v1/audit",
  tag: "Operate",
  summary: "Who did what, newest first",
  access: ["operate"],
  query: AuditQuery,
  answers: {
    200: {
      description: "A page.",
      content: {
        type: "application/json",
        schema: z.object({ entries: z.array(AuditEntry), next: z.string().nullable() }).meta({ id: "AuditPage" }),
      },
      headers: ["Link"],
    },
  },
  problems: [],
});

// ── keys and sessions ───────────────────────────────────────────────────────

export const KeyBody = z
  .object({
    id: z.string(),
    name: z.string(),
    hint: z.string().meta({ description: "How the key begins." }),
    roles: z.array(z.enum(roles)),
    types: z.array(z.string()).nullable().meta({ description: "Null: all." }),
    canReadPayloads: z.boolean(),
    createdAt: Instant,
    expiresAt: Instant.nullable(),
    revokedAt: Instant.nullable(),
  })
  .meta({ id: "AccessKey" });

export const CreateKeyBody = z
  .strictObject({
    name: z.string().trim().min(1).max(100),
    roles: z.array(z.enum(roles)).min(1).max(4),
    types: z
      .array(
        z
          .string()
          .regex(
            /^(?:[A-Za-z0-9._:-]{1,100}|[A-Za-z0-9._:-]{0,100}\*)$/,
            "takes names of types; a * at the end stands for any ending",
          ),
      )
      .min(1)
      .max(100)
      .nullish()
      .meta({ description: "Which types it may touch; an entry may end in *. Left out: all." }),
    canReadPayloads: z.boolean().default(false),
    expiresAt: Instant.nullish(),
    reason: Reason.optional(),
  })
  .meta({ id: "CreateKeyRequest" });

export const listKeys = endpoint({
  id: "listKeys",
  method: "GET",
  path: "/v1/keys",
  tag: "Keys",
  summary: "The keys there are",
  access: ["admin"],
  answers: {
    200: {
      description: "Without the keys themselves: those are kept by nobody but their owners.",
      content: { type: "application/json", schema: z.object({ keys: z.array(KeyBody) }).meta({ id: "AccessKeyList" }) },
    },
  },
  problems: ["not_found"],
});

export const createKey = endpoint({
  id: "createKey",
  method: "POST",
  path: "/v1/keys",
  tag: "Keys",
  summary: "Make a key",
  description: "Shown in this answer and never again. From the first key on, every request needs one.",
  access: ["admin"],
  body: { schema: CreateKeyBody, types: ["application/json"] },
  answers: {
    201: {
      description: "The key.",
      content: {
        type: "application/json",
        schema: z.object({ key: KeyBody, token: z.string() }).meta({ id: "CreatedAccessKey" }),
      },
    },
  },
  problems: ["malformed_json", "not_found"],
});

export const revokeKey = endpoint({
  id: "revokeKey",
  method: "DELETE",
  path: "/v1/keys/{id}",
  tag: "Keys",
  summary: "Revoke a key, and the sessions made with it",
  access: ["admin"],
  params: z.strictObject({ id: z.string().min(1).max(100).meta({ description: "Of the key, as the list has it." }) }),
  answers: { 204: { description: "It opens nothing any more, within a second or two everywhere." } },
  problems: ["not_found"],
});

export const SessionBody = z
  .object({
    name: z.string(),
    roles: z.array(z.enum(roles)),
    types: z.array(z.string()).nullable(),
    canReadPayloads: z.boolean(),
    expiresAt: Instant.nullable(),
  })
  .meta({ id: "Session" });

export const openSession = endpoint({
  id: "openSession",
  method: "POST",
  path: "/v1/session",
  tag: "Keys",
  summary: "Open a browser session with a key",
  description: "The answer sets a cookie that no script can read (HttpOnly, SameSite=Strict), good for 12 hours.",
  access: "open",
  // Anybody may send one: it is small.
  body: { schema: z.strictObject({ key: z.string().min(1).max(200) }), types: ["application/json"], maxBytes: 4_096 },
  answers: {
    200: {
      description: "Who you are.",
      content: { type: "application/json", schema: SessionBody },
      headers: ["Set-Cookie"],
    },
  },
  problems: ["malformed_json", "unauthenticated", "not_found"],
});

export const readSession = endpoint({
  id: "readSession",
  method: "GET",
  path: "/v1/session",
  tag: "Keys",
  summary: "Who you are",
  access: "any",
  answers: { 200: { description: "Who you are.", content: { type: "application/json", schema: SessionBody } } },
  problems: [],
});

export const closeSession = endpoint({
  id: "closeSession",
  method: "DELETE",
  path: "/v1/session",
  tag: "Keys",
  summary: "End the session",
  access: "open",
  answers: { 204: { description: "The cookie opens nothing any more.", headers: ["Set-Cookie"] } },
  problems: ["unauthenticated", "not_found"],
});

// ── streams and health ──────────────────────────────────────────────────────

export const streamOverview = endpoint({
  id: "streamOverview",
  method: "GET",
  path: "/v1/events",
  tag: "Events",
  summary: "Follow all types",
  description:
    "Server-sent events. Each `overview` event says how many jobs of each type are in which state, and who works, when that has changed; at most one a second.",
  access: ["observe"],
  answers: { 200: { description: "The stream.", content: { type: "text/event-stream", schema: z.string() } } },
  problems: ["too_many_streams"],
});

const Health = z.object({ status: z.literal("ok") }).meta({ id: "Health" });

export const livez = endpoint({
  id: "livez",
  method: "GET",
  path: "/livez",
  tag: "Health",
  summary: "Whether the process lives; never asks the store",
  access: "open",
  answers: { 200: { description: "It does.", content: { type: "application/json", schema: Health } } },
  problems: [],
});

const Readiness = z
  .object({
    status: z.enum(["ready", "not_ready"]),
    checks: z.record(z.string(), z.object({ isGood: z.boolean(), detail: z.string() })),
  })
  .meta({ id: "Readiness" });

export const readyz = endpoint({
  id: "readyz",
  method: "GET",
  path: "/readyz",
  tag: "Health",
  summary: "Whether requests would be done: store, schema, worker",
  access: "open",
  answers: {
    200: { description: "They would.", content: { type: "application/json", schema: Readiness } },
    503: {
      description: "They would not; `checks` says why.",
      content: { type: "application/json", schema: Readiness },
      headers: ["Retry-After"],
    },
  },
  problems: [],
});

export const metrics = endpoint({
  id: "metrics",
  method: "GET",
  path: "/metrics",
  tag: "Health",
  summary: "For Prometheus",
  access: ["observe"],
  answers: { 200: { description: "The metrics.", content: { type: "text/plain", schema: z.string() } } },
  problems: [],
});

export const openapi = endpoint({
  id: "openapi",
  method: "GET",
  path: "/openapi.json",
  tag: "Documentation",
  summary: "This document",
  access: "open",
  answers: {
    200: { description: "OpenAPI 3.1.", content: { type: "application/json", schema: z.looseObject({}) } },
  },
  problems: [],
});

export const docs = endpoint({
  id: "docs",
  method: "GET",
  path: "/docs",
  tag: "Documentation",
  summary: "This document, for people",
  access: "open",
  answers: { 200: { description: "A page.", content: { type: "text/html", schema: z.string() } } },
  problems: [],
});
