/**
 * The job of the concurrency experiment, for those who enqueue it and those who run it.
 */
import { z } from "zod";
import { defineJob } from "../definition.js";

export const marked = defineJob({ type: "marked", payload: z.object({ runMs: z.number() }), concurrency: 3 });
