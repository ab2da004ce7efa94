#!/usr/bin/env node
/**
 * The program `sluice`: gives the process's streams and signals to program.ts, and its answer to the shell.
 */
import { Output } from "./output.js";
import { run } from "./program.js";

// Somebody stopped reading, as `head` does: there is nobody left to tell anything.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

const stopping = new AbortController();
// Once: a second Ctrl+C ends the process at once, as it does without us.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopping.abort(signal));

process.exitCode = await run(process.argv.slice(2), {
  output: new Output(process.stdout, process.stderr),
  signal: stopping.signal,
});
