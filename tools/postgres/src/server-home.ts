/**
 * Where a server lives: a folder in the system's temporary folder, and the one process that runs in it. Hides which user that is,
 * where its output goes, and how all of it ends with this process, however this process ends. Knows nothing of PostgreSQL.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { chown, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { serverAccount, type Account } from "./account.js";
import { Guard } from "./guard.js";
import { makeHome, sweepAbandonedHomes } from "./homes.js";

const pollMs = 10;
const startLimitMs = 60_000;
const endLimitMs = 10_000;
const tailLines = 15;

export class ServerHome {
  readonly path: string;
  /** What everything that runs here prints. */
  readonly logPath: string;
  readonly #account: Account;
  readonly #guard: Guard;

  private constructor(path: string, account: Account) {
    this.path = path;
    this.logPath = join(path, "server.log");
    this.#account = account;
    this.#guard = new Guard(path);
  }

  static async open(): Promise<ServerHome> {
    await sweepAbandonedHomes();
    const account = await serverAccount();
    const path = await makeHome();
    const home = new ServerHome(path, account);
    await home.#handOver(path);
    return home;
  }

  /** A file that only the server's user can read. */
  async write(name: string, text: string): Promise<string> {
    const path = join(this.path, name);
    await writeFile(path, text, { mode: 0o600 });
    await this.#handOver(path);
    return path;
  }

  /** Whether the server's user can reach and run this program. */
  async canRun(program: string): Promise<boolean> {
    const test = spawn("/bin/sh", ["-c", 'test -x "$1"', "sh", program], {
      ...this.#account,
      cwd: "/",
      stdio: "ignore",
    });
    const [code] = (await once(test, "exit")) as [number | null];
    return code === 0;
  }

  /** Runs a program to its end. */
  async run(program: string, args: readonly string[]): Promise<void> {
    const running = await this.start(program, args);
    await running.ended();
    if (running.exitCode !== 0) throw await this.#failure(program, "failed");
  }

  /** Starts a program which this process does not wait for when it exits. */
  async start(program: string, args: readonly string[]): Promise<Running> {
    const log = openSync(this.logPath, "a", 0o600);
    // A file and no pipe: it takes what is printed while the event loop is busy, and nobody gets SIGPIPE from it.
    const child = spawn(program, args, {
      ...this.#account,
      cwd: this.path,
      detached: true,
      env: { ...process.env, LC_ALL: "C" },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    if (child.pid !== undefined) this.#guard.watch(child.pid);
    child.once("exit", () => this.#guard.watch(null));
    try {
      await once(child, "spawn");
    } catch (error) {
      throw new Error(`${program} could not be started as the server's user: ${(error as Error).message}`, {
        cause: error,
      });
    }
    return new Running(child);
  }

  /** Starts a program and waits until it can be used. */
  async startUntil(
    program: string,
    args: readonly string[],
    isReady: (running: Running) => Promise<boolean>,
  ): Promise<Running> {
    const running = await this.start(program, args);
    const deadline = performance.now() + startLimitMs;
    while (!(await isReady(running))) {
      if (running.hasEnded) throw await this.#failure(program, "ended while it started");
      if (performance.now() > deadline) {
        await running.end("SIGKILL");
        throw await this.#failure(program, `was not ready within ${startLimitMs / 1_000} s`);
      }
      await sleep(pollMs);
    }
    return running;
  }

  /** Deletes it. What still runs in it ends by SIGQUIT, an immediate shutdown. */
  async close(): Promise<void> {
    await this.#guard.dismiss();
    await rm(this.path, { recursive: true, force: true }); // for a guard that was killed
  }

  async #handOver(path: string): Promise<void> {
    const { uid, gid } = this.#account;
    if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
  }

  async #failure(program: string, what: string): Promise<Error> {
    const log = await readFile(this.logPath, "utf8").catch(() => "");
    return new Error(`${program} ${what}. Its log ends with:\n${log.trim().split("\n").slice(-tailLines).join("\n")}`);
  }
}

/** A process in a home. */
export class Running {
  readonly pid: number;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.pid = child.pid!; // it has been spawned
    this.#child = child;
    child.unref();
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Null while it runs, and when a signal has ended it. */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  async ended(): Promise<void> {
    if (this.hasEnded) return;
    this.#child.ref();
    await once(this.#child, "exit");
  }

  /** Resolves when it has ended: by the signal, or by force when that takes too long. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.hasEnded) return;
    this.#child.kill(signal);
    const force = setTimeout(() => this.#child.kill("SIGKILL"), endLimitMs);
    await this.ended();
    clearTimeout(force);
  }
}
