/**
 * The application's job definitions: what the request path enqueues and what the workers run (S2). No handlers here.
 */
import { defineJob, exponential } from "sluice";
import { z } from "zod";

/** Reads an import body from the blob store and saves its objects (F4, ingestion). */
export const ingest = defineJob({
  type: "canon.ingest",
  payload: z.object({ game: z.string(), importId: z.string(), blob: z.string(), bytes: z.number() }),
  result: z.object({ total: z.number(), accepted: z.number(), failed: z.number() }),
  correlation: ({ game, importId }) => ({ gameId: game, importId }),
  retry: exponential({ attempts: 5, baseMs: 500, maxMs: 30_000 }),
  timeoutMs: 6 * 60 * 60 * 1_000,
});

/**
 * Makes one object searchable (F4, re-embedding). Reads the object's text when it runs, so that the newest text counts; asked
 * for while a run is in flight, exactly one more follows.
 */
export const embed = defineJob({
  type: "canon.embed",
  payload: z.object({ game: z.string(), objectId: z.string() }),
  correlation: ({ game, objectId }) => ({ gameId: game, objectId }),
  unique: { by: "correlation", while: "active", onConflict: "rerun" },
  retry: exponential({ attempts: 5, baseMs: 1_000, maxMs: 60_000 }),
  timeoutMs: 5 * 60 * 1_000,
});
