/**
 * The environment, checked once at start: everything wrong is reported together, with what to do.
 */
import { availableParallelism } from "node:os";
import { z } from "zod";

const Environment = z.object({
  SLUICE_DATA: z.string().min(1).default("./data"),
  SLUICE_HOST: z
    .enum(["127.0.0.1", "::1", "localhost"], {
      error: "must be a loopback address (127.0.0.1, ::1 or localhost): there are no API keys yet",
    })
    .default("127.0.0.1"),
  SLUICE_PORT: z.coerce.number().int().min(0).max(65_535).default(3000),
  SLUICE_CONCURRENCY: z.coerce.number().int().min(1).max(1_000).default(4),
  SLUICE_LEASE_MS: z.coerce.number().int().min(1_000).max(600_000).default(15_000),
  SLUICE_RETENTION_DAYS: z.coerce.number().min(0).max(3_650).default(7),
  CANON_EMBED_THREADS: z.coerce.number().int().min(1).max(64).default(availableParallelism()),
  LOG_LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("warn"),
});

export type Config = z.infer<typeof Environment>;

/** @throws {Error} with one line for each variable that is wrong. */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ""));
  const parsed = Environment.safeParse(given);
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  throw new Error(`The environment has values that cannot work:\n${lines.join("\n")}`);
}
