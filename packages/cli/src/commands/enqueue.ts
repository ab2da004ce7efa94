/**
 * `sluice enqueue`: one job over HTTP, as any client of the service would. Whether it may be, and what is wrong with it, is the
 * service's to say; here it is shown in words.
 */
import { InvalidArgumentError, Option, type Command } from "commander";
import { createClient, expectData, SluiceProblem, type Schema } from "@sluice/client";
import { notEmpty, Refusal, Stopped } from "../address.js";
import type { Output } from "../output.js";
import type { Context } from "../program.js";
import { oneLine, visible, whole } from "../words.js";

type Enqueued = Schema<"EnqueuedJob">;

interface EnqueueOptions {
  readonly json: unknown;
  readonly url: string;
  readonly key?: string;
  readonly idempotencyKey?: string;
  readonly wait?: number;
  readonly jsonOutput?: true;
}

export function addEnqueue(program: Command, { output, signal, finish }: Context): void {
  program
    .command("enqueue")
    .description("add a job, over HTTP")
    .argument("<type>", "the type of the job", notEmpty)
    .addOption(new Option("--json <payload>", "its payload, as JSON").argParser(json).default({}, "{}"))
    .addOption(
      new Option("--url <address>", "where the service is")
        .env("SLUICE_URL")
        .default("http://127.0.0.1:3000")
        .argParser(url),
    )
    .addOption(
      new Option("--key <token>", "the access key; ps shows it here, and not in the environment")
        .env("SLUICE_KEY")
        .argParser(notEmpty),
    )
    .option("--idempotency-key <key>", "the same key again is the same job", notEmpty)
    .option("--wait <seconds>", "wait for its end, at most 60; exit code 1 when it has not completed", whole(0, 60))
    .option("--json-output", "print the answer as JSON (--json is the payload)")
    .action(async (type: string, options: EnqueueOptions) => {
      const job = await enqueue(type, options, signal).catch((error: unknown) => {
        if (error instanceof SluiceProblem) return complainOf(error, output);
        throw error;
      });
      if (job === null) return finish(1);
      if (options.jsonOutput === true) output.json(job);
      else printJob(job, output);
      if (options.wait === undefined || job.state === "completed") return finish(0);
      if (job.timings.finishedAt === null) output.complain(`It has not ended within ${options.wait} s.`);
      finish(1);
    });
}

/** @throws {SluiceProblem | Refusal} */
async function enqueue(
  type: string,
  { json: payload, url: baseUrl, key, idempotencyKey, wait }: EnqueueOptions,
  signal: AbortSignal,
): Promise<Enqueued> {
  const client = createClient({ baseUrl, ...(key !== undefined && { key }) });
  const header = {
    ...(idempotencyKey !== undefined && { "Idempotency-Key": idempotencyKey }),
    ...(wait !== undefined && { Prefer: `wait=${wait}` }),
  };
  const answer = await client
    .POST("/v1/jobs", { body: { type, payload }, params: { header }, signal })
    .catch((error: unknown) => {
      throw signal.aborted ? new Stopped(`Stopped. ${doubt}`) : ofConnection(error, baseUrl);
    });
  const job = expectData(answer);
  if (typeof job.id === "string") return job;
  throw new Refusal(`What answers at ${baseUrl} is no service of Sluice.`);
}

const doubt = "It is not known whether the job was added: with --idempotency-key it can be sent again without harm.";

/** What is said where there was no answer, or none that can be read. */
function ofConnection(error: unknown, baseUrl: string): Error {
  if (error instanceof SyntaxError) return new Refusal(`What answers at ${baseUrl} is no service of Sluice.`);
  const { code = "" } = ((error as Error).cause ?? {}) as { code?: string };
  if (code === "ECONNREFUSED")
    return new Refusal(`Nobody answers at ${baseUrl}. Start a service with sluice serve, or give --url.`);
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return new Refusal(`The host of ${baseUrl} is not known. Give --url.`);
  return new Refusal(`${baseUrl} did not answer${code === "" ? "" : ` (${code})`}. ${doubt}`);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new InvalidArgumentError("It is not JSON. In most shells it belongs between single quotes.");
  }
}

function url(text: string): string {
  const address = URL.canParse(text) ? new URL(text) : null;
  if (address !== null && /^https?:$/.test(address.protocol) && address.username === "") return text;
  throw new InvalidArgumentError("Write it as http://127.0.0.1:3000; the key has an option of its own.");
}

// ── in words ────────────────────────────────────────────────────────────────

function printJob(job: Enqueued, output: Output): void {
  output.fact("job", job.id);
  output.fact("type", job.type);
  output.fact("state", job.state);
  output.fact("outcome", job.outcome);
  if (job.output !== undefined) output.fact("result", JSON.stringify(job.output));
  if (job.error !== null) output.fact("error", oneLine(`${job.error.name}: ${job.error.message}`));
}

/** The sentence of the service, and each field that it names on a line of its own. */
function complainOf({ problem }: SluiceProblem, output: Output): null {
  output.complain(visible(problem.detail));
  for (const { pointer, parameter, detail } of problem.errors ?? []) {
    output.printError(`  ${visible(`${pointer ?? parameter ?? ""}: ${detail}`)}\n`);
  }
  return null;
}
