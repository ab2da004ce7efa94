/**
 * The command line as a whole: which verbs there are, and what an answer, an error or a signal means to a shell.
 * Exit codes: 0 done; 1 refused, failed, or something did not arrive; 2 used wrongly; 130 and 143 stopped by a signal.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { Stopped } from "./address.js";
import { addCopy } from "./commands/copy.js";
import { addKeys } from "./commands/keys.js";
import { addEnqueue } from "./commands/enqueue.js";
import { addJobs } from "./commands/jobs.js";
import { addMigrate } from "./commands/migrate.js";
import { addServe } from "./commands/serve.js";
import { addTypes } from "./commands/types.js";
import { addWhy } from "./commands/why.js";
import type { Output } from "./output.js";

export interface Surroundings {
  readonly output: Output;
  /** Aborted with the name of the signal that asked the process to stop. */
  readonly signal: AbortSignal;
}

/** What a verb gets: where it is, and where it leaves its exit code. */
export interface Context extends Surroundings {
  readonly finish: (exitCode: number) => void;
}

const signalCodes: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143 };

/** @returns The exit code. */
export async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { output, signal } = surroundings;
  let exitCode = 0;
  const program = toProgram({ ...surroundings, finish: (code) => (exitCode = code) });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    // It has said so already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (signal.aborted && error === signal.reason) {
      output.complain("Stopped. Nothing is half done; run the same command again to go on.");
      return signalCodes[String(signal.reason)] ?? 1;
    }
    output.complain(error instanceof Error ? error.message : String(error));
    return error instanceof Stopped ? (signalCodes[String(signal.reason)] ?? 1) : 1;
  }
}

function toProgram(context: Context): Command {
  const { output } = context;
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const program = new Command("sluice")
    .description("Durable background jobs: the tools of an operator.")
    .version(version)
    .exitOverride()
    .showHelpAfterError("Add --help to see what there is.")
    .configureOutput({
      writeOut: (text) => output.print(text),
      writeErr: (text) => output.printError(text),
      outputError: (text, write) => write(text.replace(/^error: /, "sluice: ")),
    });
  addServe(program, context);
  addEnqueue(program, context);
  addMigrate(program, context);
  addCopy(program, context);
  addJobs(program, context);
  addTypes(program, context);
  addKeys(program, context);
  addWhy(program, context);
  return program;
}
