/**
 * The environment and the arguments, checked once at start: everything wrong is reported together, with what to do.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { z } from "zod";
import { howToSayIt, parseLocation } from "./database/location.js";

/** Which half of the work a process does: answer requests, run jobs, or both. */
export type Role = "both" | "service" | "worker";

const Environment = z.object({
  SLUICE_DATA: z.string().min(1).default("./data"),
  SLUICE_STORE: z
    .string()
    .default("sqlite:")
    .transform((text, ctx) => {
      const location = parseLocation(text);
      if (location !== null) return location;
      ctx.addIssue({ code: "custom", message: howToSayIt });
      return z.NEVER;
    }),
  // Any other than a loopback address needs an API key; the service says so.
  SLUICE_HOST: z.string().min(1).default("127.0.0.1"),
  SLUICE_PORT: z.coerce.number().int().min(0).max(65_535).default(3000),
  SLUICE_CONCURRENCY: z.coerce.number().int().min(1).max(1_000).default(4),
  SLUICE_LEASE_MS: z.coerce.number().int().min(1_000).max(600_000).default(15_000),
  SLUICE_RETENTION_DAYS: z.coerce.number().min(0).max(3_650).default(7),
  CANON_ROLE: z
    .enum(["both", "service", "worker"] satisfies Role[], {
      error: "must be service (answers requests), worker (runs jobs) or both",
    })
    .default("both"),
  CANON_EMBED_THREADS: z.coerce.number().int().min(1).max(64).default(availableParallelism()),
  LOG_LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("warn"),
});

export type Config = z.infer<typeof Environment>;

/**
 * @param args Of the command line: `--role` takes the place of CANON_ROLE.
 * @throws {Error} with one line for each value that is wrong.
 */
export function readConfig(environment: NodeJS.ProcessEnv, args: readonly string[] = []): Config {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ""));
  const role = roleIn(args);
  const parsed = Environment.safeParse(role === undefined ? given : { ...given, CANON_ROLE: role });
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  throw new Error(`The environment has values that cannot work:\n${lines.join("\n")}`);
}

function roleIn(args: readonly string[]): string | undefined {
  try {
    return parseArgs({ args: [...args], options: { role: { type: "string" } } }).values.role;
  } catch (cause) {
    throw new Error("The arguments were not understood. There is one: --role service|worker|both.", { cause });
  }
}
