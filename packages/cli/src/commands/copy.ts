/**
 * `sluice copy`: moves the jobs of a SQLite file to PostgreSQL, shows how far it is, and says at the end what arrived. What a copy
 * is, is the library's to know (copyStore).
 */
import type { Command } from "commander";
import { copyStore, JobsError, type CopyReport, type NotCopied, type Some } from "sluice";
import { postgres } from "sluice/postgres";
import { sqlite } from "sluice/sqlite";
import { addressHelp, notEmpty, Refusal, toAddress } from "../address.js";
import type { Output } from "../output.js";
import type { Context } from "../program.js";
import { count, many, size } from "../words.js";

interface CopyCommandOptions {
  readonly from: string;
  readonly to: string;
  readonly schema?: string;
  readonly liveOnly?: true;
  readonly force?: true;
  readonly json?: true;
}

/** A page of jobs over a slow line. */
const timeoutMs = 120_000;

export function addCopy(program: Command, context: Context): void {
  program
    .command("copy")
    .description("copy the jobs of a SQLite file to PostgreSQL; run it again to go on")
    .requiredOption("--from <address>", "the source: sqlite:PATH", notEmpty)
    .requiredOption("--to <address>", "the target: postgres://user@host/database", notEmpty)
    .option("--schema <name>", 'the PostgreSQL schema of the target (default: "sluice")', notEmpty)
    .option("--live-only", "leave out jobs that completed or were cancelled, and what was done to jobs")
    .option("--force", "copy although workers are running; their jobs will run again in the target")
    .option("--json", "print the result as JSON")
    .action(async (options: CopyCommandOptions) => {
      context.finish(await copy(options, context));
    });
}

async function copy(options: CopyCommandOptions, { output, signal }: Context): Promise<number> {
  const source = toAddress(options.from, "--from", undefined);
  const target = toAddress(options.to, "--to", options.schema);
  if (source.kind !== "sqlite") throw new Refusal("A copy goes from a SQLite file: give --from sqlite:PATH.");
  if (target.kind !== "postgres")
    throw new Refusal(`A copy goes to PostgreSQL: give --to postgres://…, not ${addressHelp}.`);

  const from = await sqlite({ path: source.path, migrate: false });
  const progress = output.progress();
  try {
    const to = await postgres({ ...target, timeoutMs });
    try {
      const startedAt = performance.now();
      const report = await copyStore({
        from,
        to,
        signal,
        liveOnly: options.liveOnly === true,
        force: options.force === true,
        onProgress: ({ of, done, total, blobBytes }) => progress.show({ what: of, done, total, bytes: blobBytes }),
      }).finally(() => progress.end());
      return tell(report, (performance.now() - startedAt) / 1_000, { output, isJson: options.json === true });
    } finally {
      await to.close();
    }
  } catch (error) {
    throw inWords(error);
  } finally {
    await from.close();
  }
}

function inWords(error: unknown): unknown {
  if (!(error instanceof JobsError)) return error;
  if (error.code === "WORKERS_ALIVE")
    return new Refusal(`${error.message} Or give --force: their jobs then run twice.`);
  if (error.code !== "STORE_UNAVAILABLE") return error;
  return new Refusal(`${error.message} What was copied stays; run the same command again to go on.`);
}

function tell(
  report: CopyReport,
  seconds: number,
  { output, isJson }: { readonly output: Output; readonly isJson: boolean },
): number {
  const problems = problemsOf(report);
  if (isJson) {
    output.json({ ok: problems.length === 0, problems, seconds: Number(seconds.toFixed(3)), ...report });
  } else {
    const rows = report.counts.map(({ type, state, source, target }) => {
      return [type, state, source, target, source === target ? "" : "differs"];
    });
    if (rows.length > 0) output.table(["type", "state", "source", "target", ""], rows);
    output.line(summaryOf(report, seconds));
    if (report.withoutBlob.jobs > 0) {
      output.line(`Without their blob, which the source has lost: ${named(report.withoutBlob)}.`);
    }
    if (problems.length === 0) output.line("Start no worker on the source again: its jobs would run twice.");
  }
  for (const problem of problems) output.complain(problem);
  return problems.length === 0 ? 0 : 1;
}

function summaryOf(
  { copied, known, blobs, blobBytes, audit, settings, accessKeys }: CopyReport,
  seconds: number,
): string {
  const parts = [`Copied ${many(copied, "job")}`];
  if (known > 0) parts.push(`found ${count(known)} there already`);
  if (blobs > 0) parts.push(`${many(blobs, "blob")} of ${size(blobBytes)}`);
  if (settings > 0) parts.push(`the settings of ${many(settings, "type")}`);
  if (accessKeys > 0) parts.push(many(accessKeys, "access key"));
  if (audit > 0) parts.push(`${many(audit, "line")} of the audit`);
  const rate = copied >= 1_000 ? ` (${count(Math.round(copied / seconds))} jobs/s)` : "";
  return `${parts.join(", ")}, in ${seconds.toFixed(1)} s${rate}.`;
}

const explanations: Readonly<Record<NotCopied, (jobs: string, ids: string) => string>> = {
  key_taken: (jobs, ids) =>
    `Left out: ${jobs} of the source, because another job of the target holds the same unique key (${ids}). ` +
    "Let that one end, then copy again.",
  unfit: (jobs, ids) => `Left out: ${jobs} of the source, because PostgreSQL takes no other ids than UUIDs (${ids}).`,
  differs: (jobs, ids) =>
    `Left alone: ${jobs} that the target has already, in another condition than the source (${ids}). If somebody worked on the ` +
    "source after a first copy, drop the schema of the target and copy again.",
};

function problemsOf({ notCopied, foreign, isEqual }: CopyReport): readonly string[] {
  const problems = Object.entries(explanations).flatMap(([why, explain]) => {
    const some = notCopied[why as NotCopied];
    return some.jobs === 0 ? [] : [explain(many(some.jobs, "job"), named(some))];
  });
  if (foreign > 0) problems.push(`Left alone: ${many(foreign, "job")} of the target that the source does not have.`);
  if (!isEqual && problems.length === 0) {
    problems.push(
      "Source and target differ: somebody changed one of them during the copy. Stop them, then copy again.",
    );
  }
  return problems;
}

function named({ jobs, ids }: Some): string {
  return ids.length < jobs ? `${ids.join(", ")} and others` : ids.join(", ");
}
