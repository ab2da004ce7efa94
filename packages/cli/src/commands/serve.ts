/**
 * `sluice serve` and `sluice worker`: the HTTP service with a worker beside it, or the worker alone. Stays up until it is told to stop;
 * then it takes nothing more, finishes or gives back what runs, and ends with exit code 0.
 */
import { pino } from "pino";
import { Option, type Command } from "commander";
import type { Service } from "@sluice/server";
import { Events, Queue, Worker, type Store } from "sluice";
import { postgres } from "sluice/postgres";
import { sqlite } from "sluice/sqlite";
import { addressHelp, notEmpty, placeOf, toAddress, type Address } from "../address.js";
import { loadJobs, type JobsModule } from "../jobs-module.js";
import type { Context } from "../program.js";
import { whole } from "../words.js";

interface RunOptions {
  readonly jobs: string;
  readonly store: string;
  readonly schema?: string;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly retentionDays: number;
  readonly grace: number;
  readonly logLevel: string;
}

interface ServeOptions extends RunOptions {
  readonly host: string;
  readonly port: number;
  readonly worker: boolean;
}

const levels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"];

export function addServe(program: Command, context: Context): void {
  running(program.command("serve"))
    .description("the HTTP service, with a worker for the same jobs beside it")
    .addOption(
      new Option("--host <address>", "where to listen; without a key only on this machine")
        .env("SLUICE_HOST")
        .default("127.0.0.1"),
    )
    .addOption(new Option("--port <n>", "on which port").env("SLUICE_PORT").default(3_000).argParser(whole(0, 65_535)))
    .option("--no-worker", "run no jobs here: some other process does")
    .action((options: ServeOptions) => serve(options, context));
  running(program.command("worker"))
    .description("run jobs, without a service")
    .action((options: RunOptions) => work(options, context));
}

function running(command: Command): Command {
  return command
    .addOption(
      new Option("--jobs <module>", "the module that exports the jobs").argParser(notEmpty).makeOptionMandatory(),
    )
    .addOption(
      new Option("--store <address>", addressHelp)
        .env("SLUICE_STORE")
        .default("sqlite:data/sluice.db")
        .argParser(notEmpty),
    )
    .option("--schema <name>", 'the PostgreSQL schema of the store (default: "sluice")', notEmpty)
    .addOption(
      new Option("--concurrency <n>", "jobs at once").env("SLUICE_CONCURRENCY").default(10).argParser(whole(1, 1_000)),
    )
    .addOption(
      new Option("--lease-ms <n>", "how long a worker may be silent")
        .env("SLUICE_LEASE_MS")
        .default(15_000)
        .argParser(whole(1_000, 600_000)),
    )
    .addOption(
      new Option("--retention-days <n>", "how long completed jobs are kept")
        .env("SLUICE_RETENTION_DAYS")
        .default(7)
        .argParser(whole(0, 3_650)),
    )
    .option("--grace <seconds>", "how long running jobs may take to end when it stops", whole(0, 3_600), 10)
    .addOption(
      new Option("--log-level <level>", "what is logged, on the error stream")
        .env("LOG_LEVEL")
        .default("warn")
        .choices(levels),
    );
}

interface Running {
  readonly store: Store<unknown>;
  readonly queue: Queue<unknown>;
  readonly events: Events;
  readonly logger: pino.Logger;
  readonly jobs: JobsModule;
  readonly address: Address;
}

async function open(options: RunOptions): Promise<Running> {
  const jobs = await loadJobs(options.jobs);
  const address = toAddress(options.store, "--store", options.schema);
  const logger = pino({ level: options.logLevel }, pino.destination(2));
  const store: Store<unknown> =
    address.kind === "sqlite" ? await sqlite({ path: address.path }) : await postgres(address);
  const events = new Events();
  logEvents(events, logger);
  return { store, queue: new Queue<unknown>({ store, events }), events, logger, jobs, address };
}

/** By id, type and correlation, never by payload. */
function logEvents(events: Events, logger: pino.Logger): void {
  events.on("job.retried", ({ job, attempt, delayMs }) =>
    logger.warn({ job, attempt, delayMs }, "job will be retried"),
  );
  events.on("job.failed", ({ job, attempt, reason }) => logger.error({ job, attempt, reason }, "job failed"));
  events.on("job.completed", ({ job, runMs }) => logger.debug({ job, runMs }, "job completed"));
  events.on("worker.rescued", (event) => logger.warn(event, "jobs of a lost worker brought back"));
  events.on("worker.leaseLost", (event) => logger.error(event, "worker lost its lease"));
  events.on("worker.troubled", ({ during, error }) => logger.error({ err: error, during }, "worker in trouble"));
}

function workerOf({ store, events, jobs }: Running, options: RunOptions): Worker<unknown> | null {
  const { concurrency, leaseMs, retentionDays } = options;
  if (jobs.processors.length === 0) return null;
  return new Worker<unknown>({
    store,
    events,
    concurrency,
    leaseMs,
    retentionMs: retentionDays * 86_400_000,
    processors: jobs.processors as never,
  });
}

async function serve(options: ServeOptions, { output, signal, finish }: Context): Promise<void> {
  // Only here: it takes half a second to load, which no other verb should wait for.
  const { startService } = await import("@sluice/server");
  const running = await open(options);
  const { store, queue, logger, jobs, address } = running;
  const worker = options.worker ? workerOf(running, options) : null;
  let service: Service | null = null;
  try {
    // The door first: a process that cannot open it must not take jobs from one that could.
    const { host, port } = options;
    service = await startService({
      store,
      queue,
      definitions: jobs.definitions,
      workerId: () => worker?.workerId ?? null,
      host,
      port,
      logger,
    });
    await worker?.start();
    output.line(`sluice is up at ${service.url} (jobs in ${placeOf(address)}; ${service.url}/docs says how to use it)`);
    if (service.isOpen)
      output.line(
        'There is no API key: it answers this machine only, and to everybody on it. Make one with "sluice keys create".',
      );
    if (worker === null) output.line("It runs no jobs itself.");
    await stopped(signal);
    output.line("stopping: running jobs finish or are given back (again to force)");
  } finally {
    const door = service?.close({ graceMs: options.grace * 1_000 });
    await worker?.stop({ graceMs: options.grace * 1_000 });
    await door;
    await queue.close();
    await store.close();
  }
  finish(0);
}

async function work(options: RunOptions, { output, signal, finish }: Context): Promise<void> {
  const running = await open(options);
  const worker = workerOf(running, options);
  try {
    if (worker === null)
      throw new Error(`${options.jobs} exports no processors: there is nothing to run. Export what handle answers.`);
    await worker.start();
    output.line(`sluice runs jobs from ${placeOf(running.address)}`);
    await stopped(signal);
    output.line("stopping: running jobs finish or are given back (again to force)");
  } finally {
    await worker?.stop({ graceMs: options.grace * 1_000 });
    await running.queue.close();
    await running.store.close();
  }
  finish(0);
}

function stopped(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
