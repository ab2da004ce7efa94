/**
 * The application's job definitions: what the request path enqueues and what the workers run (S2). No handlers here.
 */
import { defineJob, exponential } from "sluice";
import { z } from "zod";

/**
 * Reads a part of an import body from the blob store and saves its objects (F4, ingestion); the next part is another job,
 * enqueued in the transaction that completes this one. Parts keep a job short: what it remembers stays small, and the crashes
 * that a long import lives through are not charged to one job.
 */
export const ingest = defineJob({
  type: "canon.ingest",
  payload: z.object({
    game: z.string(),
    importId: z.string(),
    blob: z.string(),
    bytes: z.number(),
    /** Where this part begins; absent for the first. */
    from: z
      .object({
        cursor: z.object({
          offset: z.number(),
          index: z.number(),
          line: z.number(),
          lineStart: z.number(),
          shape: z.enum(["array", "wrapper", "lines", "sequence", "ended"]),
        }),
        total: z.number(),
        failed: z.number(),
      })
      .optional(),
  }),
  correlation: ({ game, importId }) => ({ gameId: game, importId }),
  // The next part is enqueued while this one still runs.
  unique: false,
  retry: exponential({ attempts: 10, baseMs: 500, maxMs: 30_000 }),
  timeoutMs: 60 * 60 * 1_000,
});

/**
 * Makes one object searchable (F4, re-embedding). Reads the object's text when it runs, so that the newest text counts; asked
 * for while a run is in flight, exactly one more follows.
 */
export const embed = defineJob({
  type: "canon.embed",
  payload: z.object({
    game: z.string(),
    objectId: z.string(),
    /** The import that counts the object when it is searchable, or given up. */
    importId: z.string(),
    /** The length of its record when it was read. */
    length: z.number().optional(),
  }),
  // Eight cost as little as 32 (bench/README.md), are done sooner, and are fewer to suspect after a crash. Long texts fill the model by
  // themselves; the others of their batch would only wait for them.
  batch: { max: 8, weight: ({ length = 0 }) => length, maxWeight: 20_000 },
  correlation: ({ game, objectId }) => ({ gameId: game, objectId }),
  unique: { by: "correlation", while: "active", onConflict: "rerun" },
  retry: exponential({ attempts: 5, baseMs: 1_000, maxMs: 60_000 }),
  timeoutMs: 60 * 60 * 1_000,
});
