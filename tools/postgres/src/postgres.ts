/**
 * A PostgreSQL server that belongs to this process: its own data, port and password, on 127.0.0.1 only. It is gone with the
 * process, whether that calls `stop` or is killed.
 */
import { randomBytes } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "./ports.js";
import { embeddedPrograms, programsIn } from "./programs.js";
import { ServerHome, type Running } from "./server-home.js";

export interface PostgresOptions {
  /** For `postgres -c`, say `{ fsync: "off" }`. What is not here has PostgreSQL's default. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The folder of initdb and postgres, 15 or newer, for a server of this machine; see `findLocalPostgres`. Default: the one from npm. */
  readonly binDir?: string;
}

/** Fast ends every session and writes a checkpoint; immediate is a crash, and the next start recovers from it. */
export type ShutdownMode = "fast" | "immediate";

export interface PostgresServer {
  /** Of the database postgres, as a superuser. */
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  /** The server's log, deleted with the data. */
  readonly logPath: string;
  /** The same data on the same port. Also starts a server that was killed. Default "fast". */
  restart(mode?: ShutdownMode): Promise<void>;
  /** Deletes the data. Can be called twice. */
  stop(): Promise<void>;
}

const signals: Record<ShutdownMode, NodeJS.Signals> = { fast: "SIGINT", immediate: "SIGQUIT" };

/** Takes about a second, nearly all of it initdb. */
export async function startPostgres({ settings = {}, binDir }: PostgresOptions = {}): Promise<PostgresServer> {
  const home = await ServerHome.open();
  try {
    const programs = binDir === undefined ? await embeddedPrograms(home) : programsIn(binDir);
    const port = await freePort();
    const password = randomBytes(16).toString("hex");
    const dataDir = join(home.path, "data");
    await initialise(home, { initdb: programs.initdb, dataDir, password });
    const flags = toFlags({
      ...settings,
      port: String(port),
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
    });
    const start = () =>
      home.startUntil(programs.postgres, ["-D", dataDir, ...flags], ({ pid }) => isReady(dataDir, pid));
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    return new OwnServer({ home, start, running: await start(), url, port, dataDir });
  } catch (error) {
    await home.close();
    throw error;
  }
}

class OwnServer implements PostgresServer {
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  readonly logPath: string;
  readonly #home: ServerHome;
  readonly #start: () => Promise<Running>;
  #running: Running;
  #stopped: Promise<void> | null = null;

  constructor({
    home,
    start,
    running,
    url,
    port,
    dataDir,
  }: {
    readonly home: ServerHome;
    readonly start: () => Promise<Running>;
    readonly running: Running;
    readonly url: string;
    readonly port: number;
    readonly dataDir: string;
  }) {
    this.url = url;
    this.port = port;
    this.dataDir = dataDir;
    this.logPath = home.logPath;
    this.#home = home;
    this.#start = start;
    this.#running = running;
  }

  async restart(mode: ShutdownMode = "fast"): Promise<void> {
    if (this.#stopped !== null) throw new Error("This server was stopped, its data are gone.");
    await this.#running.end(signals[mode]);
    this.#running = await this.#start();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    // No checkpoint for data that nobody will read.
    await this.#running.end(signals.immediate);
    await this.#home.close();
  }
}

async function initialise(
  home: ServerHome,
  { initdb, dataDir, password }: { readonly initdb: string; readonly dataDir: string; readonly password: string },
): Promise<void> {
  const passwordPath = await home.write("password", password);
  await home.run(initdb, [
    `--pgdata=${dataDir}`,
    "--username=postgres",
    "--auth=scram-sha-256",
    `--pwfile=${passwordPath}`,
    "--encoding=UTF8",
    // Text sorts as in most people's databases, and not by bytes: a query that relies on its order must fail here, not there.
    "--locale=C",
    "--locale-provider=icu",
    "--icu-locale=en-US",
    "--no-sync",
    "--no-instructions",
  ]);
  await rm(passwordPath);
}

/** The eighth line of the file that pg_ctl reads as well. A crashed server leaves it behind, so the first line counts, too. */
async function isReady(dataDir: string, pid: number): Promise<boolean> {
  const text = await readFile(join(dataDir, "postmaster.pid"), "utf8").catch(() => "");
  const lines = text.split("\n");
  return lines[0] === String(pid) && lines[7]?.trim() === "ready";
}

function toFlags(settings: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}
