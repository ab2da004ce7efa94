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
const signals = ["SIGINT", "SIGTERM"] as const;
// Once: a second one, whichever it is, ends the process at once, as it does without us.
const stop = (signal: NodeJS.Signals) => {
  for (const name of signals) process.off(name, stop);
  stopping.abort(signal);
};
for (const signal of signals) process.on(signal, stop);

const exitCode = await run(process.argv.slice(2), {
  output: new Output(process.stdout, process.stderr),
  signal: stopping.signal,
});
// What was printed into a pipe may still be on its way.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write("", done))));
// Jobs are other people's code: what it has left open, a timer or a pool of connections, must not keep a process that is done.
process.exit(exitCode);
