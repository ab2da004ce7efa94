/** Types of jobs on the wire: what their definitions say, and what operators have set. */
import { z } from "zod";
import { endpoint } from "./endpoint.js";
import { Instant, Reason, TypeParams } from "./values.js";

const Concurrency = z.int().min(1).max(1_000_000);

export const Rate = z
  .strictObject({
    limit: z.number().positive().max(1e9).meta({ description: "How many units." }),
    perMs: z.number().min(1).max(86_400_000).meta({ description: "In how many ms; not fewer units than one a day." }),
    burst: z
      .number()
      .min(1)
      .max(1e9)
      .optional()
      .meta({ description: "How many at once after a quiet time; default: the limit." }),
  })
  .meta({ id: "Rate" });

export const EnqueueLimit = z
  .strictObject({
    rate: Rate.nullish(),
    ratePerCaller: Rate.nullish(),
    maxBacklog: z.int().min(1).nullish(),
  })
  .meta({ id: "EnqueueLimit" });

export const Rollout = z
  .strictObject({
    percentage: z.number().min(0).max(100).meta({ description: "That part of the keys is in." }),
    allow: z
      .array(z.string().max(200))
      .max(10_000)
      .optional()
      .meta({ description: "Keys that are in whatever the percentage." }),
    by: z
      .union([z.literal("group"), z.strictObject({ correlation: z.string().min(1).max(100) })])
      .optional()
      .meta({ description: "What the key is; default: the group of the job, else its whole correlation." }),
  })
  .meta({ id: "Rollout" });

export const Settings = z
  .object({
    version: z.int().min(0).meta({ description: "Grows by one with every change." }),
    pause: z
      .object({ actor: z.string(), reason: z.string().nullable(), since: Instant, until: Instant.nullable() })
      .nullable(),
    concurrency: z.int().nullable(),
    concurrencyPerKey: z.int().nullable(),
    rate: Rate.nullable(),
    ratePerKey: Rate.nullable(),
    enqueueLimit: EnqueueLimit.nullable(),
    rollout: Rollout.nullable(),
    breaker: z
      .object({
        dependency: z.string(),
        error: z.string().nullable().meta({ description: "For keys that may read payloads." }),
        openedAt: Instant,
        until: Instant,
        level: z.int(),
      })
      .nullable()
      .meta({ description: "Null: closed." }),
  })
  .meta({ id: "TypeSettings", description: "What operators have set; null: as the definition says." });

export const TypeBody = z
  .object({
    type: z.string(),
    settings: Settings,
    definition: z
      .object({
        version: z.int(),
        priority: z.int(),
        timeoutMs: z.number(),
        maxAttempts: z.int(),
        maxCrashes: z.int(),
        concurrency: z.int().nullable(),
        concurrencyPerKey: z.int().nullable(),
        rate: Rate.nullable(),
        ratePerKey: Rate.nullable(),
        enqueueLimit: EnqueueLimit.nullable(),
        whenOff: z.enum(["hold", "reject"]),
        hasBatches: z.boolean(),
        schema: z
          .record(z.string(), z.unknown())
          .nullable()
          .meta({ description: "JSON Schema (2020-12) of the payload; null where the schema offers none." }),
      })
      .nullable()
      .meta({ description: "Null for a type that this service does not know: it cannot be enqueued here." }),
    links: z.object({ self: z.string(), jobs: z.string() }),
  })
  .meta({ id: "Type" });

export const TypeSummary = z
  .object({
    type: z.string(),
    counts: z.record(z.string(), z.int()).meta({ description: "How many of its jobs are in which state." }),
    isKnown: z.boolean().meta({ description: "It can be enqueued here." }),
    isPaused: z.boolean(),
    settingsVersion: z.int(),
    workers: z.int().meta({ description: "Living workers that run it." }),
    links: z.object({ self: z.string(), jobs: z.string() }),
  })
  .meta({ id: "TypeSummary" });

export const listTypes = endpoint({
  id: "listTypes",
  method: "GET",
  path: "/v1/types",
  tag: "Types",
  summary: "All types, and how many of their jobs are in which state",
  access: ["observe"],
  answers: {
    200: {
      description: "The types, by name.",
      content: { type: "application/json", schema: z.object({ types: z.array(TypeSummary) }).meta({ id: "TypeList" }) },
    },
  },
  problems: [],
});

export const readType = endpoint({
  id: "readType",
  method: "GET",
  path: "/v1/types/{type}",
  tag: "Types",
  summary: "A type: its definition, its schema, its settings",
  access: ["submit", "observe"],
  params: TypeParams,
  headers: ["If-None-Match"],
  answers: {
    200: { description: "The type.", content: { type: "application/json", schema: TypeBody }, headers: ["ETag"] },
    304: { description: "As it is known already.", headers: ["ETag"] },
  },
  problems: ["type_not_found"],
});

export const SettingsBody = z
  .strictObject({
    pause: z
      .strictObject({ reason: Reason.nullish(), until: Instant.nullish() })
      .nullish()
      .meta({ description: "Null resumes." }),
    concurrency: Concurrency.nullish(),
    concurrencyPerKey: Concurrency.nullish(),
    rate: Rate.nullish(),
    ratePerKey: Rate.nullish(),
    enqueueLimit: EnqueueLimit.nullish(),
    rollout: Rollout.nullish(),
    breaker: z.null().optional().meta({ description: "Null closes it." }),
    reason: Reason.optional(),
  })
  .meta({
    id: "SettingsPatch",
    description: "What is left out stays (RFC 7396); null goes back to the definition.",
  });
export type SettingsBody = z.infer<typeof SettingsBody>;

export const setType = endpoint({
  id: "setType",
  method: "PATCH",
  path: "/v1/types/{type}",
  tag: "Types",
  summary: "Change what a type is held to",
  description:
    "In force at the next claim or enqueue of every process. Keys that may operate can pause, resume and close a breaker; all else is for admins.",
  access: ["operate"],
  params: TypeParams,
  headers: ["If-Match"],
  body: { schema: SettingsBody, types: ["application/json", "application/merge-patch+json"] },
  answers: {
    200: {
      description: "The type as it is now.",
      content: { type: "application/json", schema: TypeBody },
      headers: ["ETag"],
    },
  },
  problems: ["type_not_found", "stale", "malformed_json"],
});
