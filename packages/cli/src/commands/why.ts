/**
 * `sluice why`: one sentence that says why a job is not running, or what has become of it. What the reason is, is the library's to
 * know (Queue.waiting); here it gets words.
 */
import type { Command } from "commander";
import { secretsOf, viewOf, viewOfError, type Job, type Place, type Queue, type Waiting } from "sluice";
import { notEmpty, placeOf, Refusal, type Address } from "../address.js";
import { withQueue, withStoreOptions, type StoreOptions } from "../open.js";
import type { Context } from "../program.js";
import { count, duration, instant, many, oneLine } from "../words.js";

interface WhyOptions extends StoreOptions {
  readonly json?: true;
}

export function addWhy(program: Command, { output, finish }: Context): void {
  withStoreOptions(program.command("why"))
    .description("say why a job is not running")
    .argument("<id>", "the id of the job", notEmpty)
    .option("--json", "print the answer as JSON")
    .action(async (id: string, options: WhyOptions) => {
      const { job, waiting } = await withQueue(options, (queue, address) => ask(queue, id, address));
      if (options.json === true) {
        output.json({ id, type: job.type, status: job.status, state: job.state, waiting });
      } else {
        output.line(waiting === null ? sentenceOn(job) : sentenceFor(waiting, job));
      }
      finish(0);
    });
}

async function ask(
  queue: Queue<unknown>,
  id: string,
  address: Address,
): Promise<{ readonly job: Job; readonly waiting: Waiting | null }> {
  // In this order: a job that is claimed between the two is told as running, not as one that waits for nothing.
  const waiting = await queue.waiting(id);
  const job = await queue.get(id);
  if (job === null) throw new Refusal(`There is no job ${id} in ${placeOf(address)}. It may have been pruned.`);
  return { job: viewOf(job, null), waiting: job.status === "pending" ? viewOfWaiting(waiting, job) : null };
}

/** What the job failed of may have anything of its payload in it. */
function viewOfWaiting(waiting: Waiting | null, job: Job): Waiting | null {
  if (waiting?.reason !== "backoff" || waiting.error === null) return waiting;
  return { ...waiting, error: viewOfError(waiting.error, secretsOf(job, null)) };
}

function sentenceFor(waiting: Waiting, { type }: Job): string {
  switch (waiting.reason) {
    case "scheduled":
      return `It is scheduled, and due at ${instant(waiting.until)}.`;
    case "backoff": {
      const { attempt, error, until } = waiting;
      const what = error === null ? "" : ` (${error.name}: ${oneLine(error.message)})`;
      return `Attempt ${attempt} failed${what}; it is tried again at ${instant(until)}.`;
    }
    case "rollout_off":
      return `The type ${type} is not switched on for it: its rollout, or a feature flag, leaves it out.`;
    case "rate_limited":
      return `The rate of ${type} is spent; it may start at ${instant(waiting.until)}.`;
    case "blocked": {
      const { concurrencyKey } = waiting;
      if (concurrencyKey !== null) {
        return `It is blocked: as many jobs with the concurrency key "${oneLine(concurrencyKey)}" as may be are processing.`;
      }
      const other = waiting.by === null ? "another job" : `job ${waiting.by}`;
      return `It is blocked: ${other} holds its unique key, and must end first.`;
    }
    case "paused": {
      const { actor, reason, since, until } = waiting.pause;
      const why = reason === null ? "" : ` (${oneLine(reason)})`;
      const end = until === null ? "until somebody resumes it" : `until ${instant(until)}`;
      return `The type ${type} is paused by ${oneLine(actor)}${why}, since ${instant(since)} and ${end}.`;
    }
    case "no_worker":
      return `No living worker works on ${type}. Start one that has a processor for it.`;
    case "needs_newer_worker": {
      const { version, newest } = waiting;
      return `It has version ${version} of ${type}, and the workers know up to version ${newest}. Deploy a newer worker.`;
    }
    case "concurrency_full": {
      const { limit, processing } = waiting;
      const full = `${count(processing)} of ${type} are processing, and ${count(limit)} may at once`;
      return `The type is full: ${full}. ${sentenceOf(waiting)}`;
    }
    case "queued":
      return `It is queued. ${sentenceOf(waiting)}`;
    case "next":
      return "It is next: nothing is ahead of it, and a worker has a free slot.";
  }
}

function sentenceOf({ ahead, isAheadCut, wait }: Place): string {
  const more = isAheadCut ? "more than " : "";
  const place = ahead === 0 ? "Nothing is ahead of it" : `Ahead of it: ${more}${many(ahead, "job")} of its type`;
  if (wait === null) return `${place}.`;
  const [least, most] = [duration(wait.leastMs / 1_000), duration(wait.mostMs / 1_000)];
  return `${place}; at the pace of late its turn comes ${least === most ? `in about ${most}` : `in ${least} to ${most}`}.`;
}

/** What there is to say of a job that does not wait. */
function sentenceOn(job: Job): string {
  switch (job.state) {
    case "processing":
      return `It is running: attempt ${job.attempt}, since ${instant(job.startedAt.getTime())}, in worker ${job.workerId}.`;
    case "completed":
      return `It completed at ${instant(job.finishedAt.getTime())}.`;
    case "failed":
      return `It failed at ${instant(job.finishedAt.getTime())}: ${job.reason} (${job.error.name}: ${oneLine(job.error.message)}).`;
    case "cancelled":
      return `It was cancelled at ${instant(job.finishedAt.getTime())}${job.reason === "" ? "" : `: ${oneLine(job.reason)}`}.`;
    case "scheduled":
    case "pending":
    case "blocked":
    case "retrying":
      return "It has just begun to wait. Ask again.";
  }
}
