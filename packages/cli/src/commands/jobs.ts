/**
 * `sluice jobs`: find jobs by a text, look at one, and cancel, retry or discard some. The language is the library's (Queue.search). The command
 * line knows no definitions, so that every value of a payload is masked, and texts of errors lose what is (viewOf).
 */
import { userInfo } from "node:os";
import { InvalidArgumentError, type Command } from "commander";
import {
  JobsError,
  scrub,
  secretsOf,
  viewOf,
  viewOfError,
  type AmendResult,
  type AttemptRecord,
  type JobView,
  type LogLine,
  type QueryFault,
  type SearchPage,
} from "sluice";
import { notEmpty, placeOf, Refusal } from "../address.js";
import { withQueue, withStoreOptions, type StoreOptions } from "../open.js";
import type { Output } from "../output.js";
import type { Context } from "../program.js";
import { count, instant, many, oneLine, visible } from "../words.js";

interface ListOptions extends StoreOptions {
  readonly limit?: number;
  readonly cursor?: string;
  readonly json?: true;
}

interface ChangeOptions extends StoreOptions {
  readonly reason?: string;
  readonly actor?: string;
  readonly json?: true;
}

export function addJobs(program: Command, context: Context): void {
  const jobs = program.command("jobs").description("find jobs, look at one, and cancel, retry or discard some");
  addList(jobs, context);
  addShow(jobs, context);
  addChange(jobs, context, "cancel", "cancel jobs that wait, and ask those that run to stop");
  addChange(jobs, context, "retry", "let failed jobs run again, and retrying ones at once");
  addChange(jobs, context, "discard", "put failed jobs away: they count as cancelled");
}

function addList(jobs: Command, { output, finish }: Context): void {
  withStoreOptions(jobs.command("list"))
    .description("list jobs that match, newest first")
    .argument("[query]", '"state:failed type:mail.* since:24h"; write -- before one that begins with a minus', "")
    .option("--limit <n>", "how many at most, 1 to 200 (default: 50)", wholeNumber)
    .option("--cursor <id>", "go on after this job", notEmpty)
    .option("--json", "print the answer as JSON")
    .action(async (query: string, options: ListOptions) => {
      const { limit, cursor = null } = options;
      try {
        const page = await withQueue(options, (queue) => queue.search(query, { cursor, ...(limit && { limit }) }));
        const views = page.jobs.map((job) => viewOf(job, null));
        if (options.json === true) output.json({ ...page, jobs: views });
        else printPage(output, page, views);
        finish(0);
      } catch (error) {
        if (!(error instanceof JobsError) || error.code !== "INVALID_QUERY") throw error;
        complainOf(error.details["faults"] as readonly QueryFault[], query, output);
        finish(2);
      }
    });
}

function addShow(jobs: Command, { output, finish }: Context): void {
  withStoreOptions(jobs.command("show"))
    .description("show a job, its attempts that failed and what they logged")
    .argument("<id>", "the id of the job", notEmpty)
    .option("--json", "print the answer as JSON")
    .action(async (id: string, options: ListOptions) => {
      const { job, history } = await withQueue(options, async (queue, address) => {
        const job = await queue.get(id);
        if (job === null)
          throw new Refusal(`There is no job ${visible(id)} in ${placeOf(address)}. It may have been pruned.`);
        return { job, history: await queue.history(id) };
      });
      const secrets = secretsOf(job, null);
      const attempts = history.attempts.map((each) => ({ ...each, error: viewOfError(each.error, secrets) }));
      const lines = history.lines.map((each) => ({ ...each, message: scrub(each.message, secrets) }));
      if (options.json === true) output.json({ job: viewOf(job, null), attempts, lines });
      else printJob(output, viewOf(job, null), attempts, lines);
      finish(0);
    });
}

function addChange(
  jobs: Command,
  { output, finish }: Context,
  action: "cancel" | "retry" | "discard",
  description: string,
): void {
  withStoreOptions(jobs.command(action))
    .description(description)
    .argument("<id...>", "the ids of the jobs, at most 500")
    .option("--reason <text>", "why; kept in the audit", notEmpty)
    .option("--actor <name>", "who; kept in the audit (default: the name of the user)", notEmpty)
    .option("--json", "print the answer as JSON")
    .action(async (ids: readonly string[], options: ChangeOptions) => {
      const by = { actor: options.actor ?? userInfo().username, ...(options.reason && { reason: options.reason }) };
      const results = await withQueue(options, (queue) => queue.amendMany(action, ids, by));
      if (options.json === true) output.json(results);
      else output.table(["job", "outcome", "state"], results.map(({ id, outcome, state }) => [id, outcome, state ?? ""])); // prettier-ignore
      finish(results.every(isDone) ? 0 : 1);
    });
}

function isDone({ outcome }: AmendResult): boolean {
  return outcome === "applied" || outcome === "requested";
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError("Give a whole number from 1.");
  return Number(text);
}

// ── in words ────────────────────────────────────────────────────────────────

function printPage(output: Output, { next, searched }: SearchPage, views: readonly JobView[]): void {
  if (views.length > 0) {
    output.table(
      ["id", "type", "state", "attempt", "created", "error"],
      views.map((job) => [
        job.id,
        job.type,
        job.state,
        `${count(job.attempt)}/${count(job.maxAttempts)}`,
        instant(job.createdAt.getTime()),
        job.state === "failed" || job.state === "retrying" ? oneLine(`${job.error.name}: ${job.error.message}`).slice(0, 100) : "", // prettier-ignore
      ]),
    );
  }
  if (next === null) {
    if (views.length === 0) output.line("No job matches.");
    return;
  }
  const from = searched.from === null ? "" : `, back to ${instant(searched.from.getTime())}`;
  output.line(`Looked at ${many(searched.rows, "job")}${from}. Go on with --cursor ${visible(next)}.`);
}

function printJob(output: Output, job: JobView, attempts: readonly AttemptRecord[], lines: readonly LogLine[]): void {
  const fact = (name: string, text: string) => output.fact(name, text);
  fact("job", job.id);
  fact("type", `${job.type}, version ${job.version}`);
  fact("state", `${job.state}${job.state === "failed" ? ` (${job.reason})` : ""}`);
  fact(
    "attempt",
    `${count(job.attempt)} of ${count(job.maxAttempts)}, ${many(job.crashes, "crash").replace("crashs", "crashes")}`,
  );
  fact("priority", count(job.priority));
  fact("created", instant(job.createdAt.getTime()));
  fact("due", instant(job.runAt.getTime()));
  if (job.state === "processing") fact("running", `since ${instant(job.startedAt.getTime())} in ${job.workerId}`);
  if ("finishedAt" in job) fact("ended", instant(job.finishedAt.getTime()));
  if (job.state === "cancelled" && job.reason !== "") fact("reason", oneLine(job.reason));
  if (job.progress !== null) fact("progress", `${count(job.progress.done)}${job.progress.total === null ? "" : ` of ${count(job.progress.total)}`}`); // prettier-ignore
  for (const [name, value] of Object.entries(job.correlation ?? {})) fact("correlation", `${name} = ${value}`);
  fact("payload", JSON.stringify(job.payload));
  if (job.state === "completed" && job.output !== undefined) fact("result", JSON.stringify(job.output));
  if (job.isMasked) fact("", "(The command line does not know what may be seen: all values are masked.)");
  for (const { attempt, startedAt, endedAt, workerId, error } of attempts) {
    output.line("");
    fact(`attempt ${attempt}`, `${instant(startedAt)} to ${instant(endedAt)} in ${workerId}`);
    for (const line of (error.stack ?? `${error.name}: ${error.message}`).split("\n"))
      output.line(`  ${visible(line)}`);
    for (const { path, message } of error.issues ?? []) output.line(`  ${visible(`${path}: ${message}`)}`);
  }
  if (lines.length > 0) output.line("");
  for (const { at, level, message } of lines) output.line(`${instant(at)}  ${level.padEnd(5)}  ${oneLine(message)}`);
}

/** The first three: a text that is nonsense has a fault in every word. */
function complainOf(faults: readonly QueryFault[], query: string, output: Output): void {
  const columns = (text: string) => [...visible(text)].length;
  for (const { position, length, message } of faults.slice(0, 3)) {
    output.complain(visible(message));
    const before = " ".repeat(columns(query.slice(0, position)));
    const marks = "^".repeat(Math.max(1, columns(query.slice(position, position + length))));
    output.printError(`  ${visible(query)}\n  ${before}${marks}\n`);
  }
}
