/**
 * What the fault tests stand on: a server of their own, stores, queues and workers on it that end with the test, and an eye on what
 * must hold whatever happens. Waits for what it can see in the database, as nobody can tell what a fault has swallowed.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { startPostgres } from "@sluice/test-postgres";
import type { PostgresServer } from "@sluice/test-postgres";
import pg from "pg";
import { Queue } from "../../queue.js";
import type { QueueOptions } from "../../queue.js";
import type { JobState } from "../../job.js";
import { Worker } from "../../worker.js";
import type { WorkerOptions } from "../../worker.js";
import { postgres } from "./index.js";
import type { PostgresOptions, PostgresStore, PostgresTx } from "./index.js";

type Row = Record<string, unknown>;

export class Bed {
  readonly server: PostgresServer;
  readonly #closings: (() => unknown)[] = [];
  #databases = 0;

  private constructor(server: PostgresServer) {
    this.server = server;
  }

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<Bed> {
    return new Bed(await startPostgres({ settings: { fsync: "off", ...settings } }));
  }

  // ── databases and roles ───────────────────────────────────────────────────

  /** Of a new and empty one. `settings` are its own, for every session. */
  async database(settings: Readonly<Record<string, string>> = {}): Promise<string> {
    this.#databases += 1;
    const name = `bed_${this.#databases}`;
    await this.ask(`create database ${name}`);
    for (const [setting, value] of Object.entries(settings)) {
      await this.ask(`alter database ${name} set ${setting} = '${value}'`);
    }
    return changed(this.server.url, (url) => (url.pathname = name));
  }

  /** One statement, as the superuser and on a connection of its own. */
  async ask<R = Row>(text: string, url = this.server.url): Promise<readonly R[]> {
    const client = new pg.Client(url);
    await client.connect();
    try {
      return (await client.query(text)).rows as R[];
    } finally {
      await client.end();
    }
  }

  /** Ends sessions of the library: all, or those of a lane or purpose. */
  async terminate(purpose = "%"): Promise<number> {
    const ended = await this.ask(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'sluice ${purpose}'`,
    );
    return ended.length;
  }

  /** Server processes that serve the library, by what they are for. */
  async sessions(purpose: string): Promise<readonly number[]> {
    const rows = await this.ask<{ pid: number }>(
      `select pid from pg_stat_activity where application_name like 'sluice ${purpose}' order by pid`,
    );
    return rows.map(({ pid }) => pid);
  }

  /** What a standby does to those who write. */
  async takeWrites(isTaken: boolean): Promise<void> {
    await this.ask(`alter system set default_transaction_read_only = ${isTaken ? "off" : "on"}`);
    await this.ask("select pg_reload_conf()");
    const isSo = async () => {
      const [row] = await this.ask<{ setting: string }>(
        "select current_setting('default_transaction_read_only') as setting",
      );
      return (row!.setting === "off") === isTaken;
    };
    await until("the server to know it", isSo);
  }

  // ── the postmaster ────────────────────────────────────────────────────────

  /** Immediate, as the power goes: nothing is written, every connection ends. `server.restart()` brings it back. */
  async crash(signal: "SIGQUIT" | "SIGKILL" = "SIGQUIT"): Promise<void> {
    const pid = Number.parseInt(await readFile(join(this.server.dataDir, "postmaster.pid"), "utf8"));
    process.kill(pid, signal);
    await until("the server to be gone", () => !isAlive(pid));
  }

  // ── what runs on it ───────────────────────────────────────────────────────

  async store(options: Partial<PostgresOptions> & { readonly url: string }): Promise<PostgresStore> {
    const store = await postgres(options);
    this.atEnd(() => store.close());
    return store;
  }

  queue(options: QueueOptions<PostgresTx>): Queue<PostgresTx> {
    const queue = new Queue(options);
    this.atEnd(() => queue.close());
    return queue;
  }

  /** A started worker, that is quick to give up and quick to look. */
  async worker(options: WorkerOptions<PostgresTx>): Promise<Worker<PostgresTx>> {
    const worker = new Worker({ leaseMs: 1_000, pollMs: 50, ...options });
    this.atEnd(() => worker.stop({ graceMs: 0 }));
    await worker.start();
    return worker;
  }

  atEnd(close: () => unknown): void {
    this.#closings.push(close);
  }

  /** Closes what this test has opened, the last first. */
  async clear(): Promise<void> {
    for (const close of this.#closings.splice(0).reverse()) await close();
  }
}

// ── what tests are made of ──────────────────────────────────────────────────

export function changed(url: string, change: (url: URL) => unknown): string {
  const copy = new URL(url);
  change(copy);
  return copy.href;
}

/** Real time: what has not happened by then never will. */
const patienceMs = 25_000;

/** Looks until it is so. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + patienceMs;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`Waited ${patienceMs} ms for ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** How many jobs there are in each state. */
export async function countsOf(store: PostgresStore): Promise<Readonly<Partial<Record<JobState, number>>>> {
  const counts: Partial<Record<JobState, number>> = {};
  for (const { counts: ofType } of await store.counts()) {
    for (const [state, n] of Object.entries(ofType) as [JobState, number][]) counts[state] = (counts[state] ?? 0) + n;
  }
  return Object.fromEntries(Object.entries(counts).filter(([, n]) => n !== 0));
}

const living: readonly JobState[] = ["scheduled", "pending", "blocked", "processing", "retrying"];

/** Waits until every job has ended. */
export async function drained(store: PostgresStore): Promise<void> {
  await until("every job to end", async () => {
    const counts = await countsOf(store).catch(() => null);
    return counts !== null && living.every((state) => !counts[state]);
  });
}

/** A door that handlers wait at until the test opens it. */
export class Gate {
  readonly opened: Promise<void>;
  #open = () => {};

  constructor() {
    this.opened = new Promise((resolve) => (this.#open = resolve));
  }

  open(): void {
    this.#open();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
