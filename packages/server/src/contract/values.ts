/** The small shapes that many endpoints share. */
import { jobStates } from "sluice";
import { z } from "zod";

export const Instant = z.iso.datetime({ offset: true }).meta({ description: "An instant, ISO 8601." });
export const JobId = z.uuid().meta({ description: "UUIDv7: sorts by time of creation." });
export const TypeName = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{1,100}$/, "takes 1 to 100 letters, digits, '.', '_', '-' or ':'")
  .meta({ description: "The name of a type of job." });
export const State = z.enum(jobStates);
export const Status = z.enum(["pending", "processing", "completed", "failed", "cancelled"]);
export const Reason = z.string().trim().min(1).max(1_000).meta({ description: "Why; kept in the audit." });

export const JobParams = z.strictObject({ id: JobId });
export const TypeParams = z.strictObject({ type: TypeName });

export const pageLimit = (most: number, usual = 50) =>
  z.coerce
    .number()
    .int()
    .min(1)
    .max(most)
    .default(usual)
    .meta({ description: `How many at most; default ${usual}, at most ${most}.` });
