/**
 * The store thread: owns the writing connection. Everything that waits in its port goes into one transaction, so that under load
 * one commit (one fsync) serves hundreds of calls. Also renews leases, watches for the writes
 * of other processes, and keeps the WAL short.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import { systemClock } from "../../clock.js";
import type { WakeHint } from "../../store.js";
import { deleteBlobFiles } from "./blob-files.js";
import { openDatabase, retryBusy, toStoreError } from "./engine.js";
import type { Database } from "./engine.js";
import { reads, shortcuts, writes } from "./operations.js";
import { freedBlobs } from "./operators.js";
import { packError } from "./protocol.js";
import type { Answer, Call, FromThread, KeepLease, ThreadStart, ToThread } from "./protocol.js";
import { Session } from "./session.js";
import type { Effects } from "./session.js";
import { SteadyClock } from "./steady-clock.js";

type Operation = (session: Session, argument: unknown) => unknown;

const idleMs = 1_000;

class StoreThread {
  readonly #port: MessagePort;
  readonly #database: Database;
  readonly #session: Session;
  /** None where the clock is a test's. */
  readonly #steady: SteadyClock | null;
  readonly #blobDir: string;
  readonly #path: string;
  readonly #pollMs: number;
  readonly #leases = new Map<number, NodeJS.Timeout>();
  readonly #idleTimer: NodeJS.Timeout;
  #watchTimer: NodeJS.Timeout | undefined;
  #dataVersion = 0;
  /** Idle rounds since the last commit; the WAL is cut in the first. */
  #quietRounds = 1;

  constructor(port: MessagePort, database: Database, { path, blobDir, pollMs, sharedNow }: ThreadStart) {
    this.#port = port;
    this.#database = database;
    this.#steady = sharedNow === null ? new SteadyClock(() => systemClock.now()) : null;
    this.#session = new Session(database, clockOf(sharedNow), this.#steady);
    this.#blobDir = blobDir;
    this.#path = path;
    this.#pollMs = pollMs;
    this.#idleTimer = setInterval(() => this.#tidyWhenIdle(), idleMs);
    port.on("message", (message: ToThread) => this.#receive(message));
  }

  #receive(first: ToThread): void {
    const calls: Call[] = [];
    let message: ToThread | undefined = first;
    while (message !== undefined) {
      if (message.kind === "call") calls.push(message);
      else if (message.kind === "close") return this.#close(calls);
      else this.#order(message);
      message = (receiveMessageOnPort(this.#port) as { message: ToThread } | undefined)?.message;
    }
    this.#serve(calls);
  }

  #order(message: Exclude<ToThread, { readonly kind: "call" | "close" }>): void {
    switch (message.kind) {
      case "keepLease":
        return this.#keepLease(message);
      case "dropLease":
        clearInterval(this.#leases.get(message.n));
        this.#leases.delete(message.n);
        return;
      case "watch":
        return this.#watch(message.isWatching);
    }
  }

  // ── calls ─────────────────────────────────────────────────────────────────

  #serve(calls: readonly Call[]): void {
    const answers: Answer[] = [];
    const hint = { work: false, ended: false };
    const toWrite = calls.filter((call) => {
      const answer = this.#read(call);
      if (answer !== null) answers.push(answer);
      return answer === null;
    });
    if (toWrite.length > 0) answers.push(...this.#write(toWrite, hint));
    if (answers.length > 0) this.#post({ kind: "answers", answers, hint });
  }

  /** The answer of a call that can do without the write lock; null when it cannot. */
  #read({ n, operation, argument }: Call): Answer | null {
    const read = (reads as Partial<Record<string, Operation>>)[operation];
    const shortcut = (shortcuts as Partial<Record<string, Operation>>)[operation];
    const run = read ?? shortcut;
    if (run === undefined) return null;
    try {
      const { value } = retryBusy(this.#path, () => this.#session.begin(() => run(this.#session, argument)));
      return read === undefined && value === null ? null : { n, value };
    } catch (error) {
      return { n, error: packError(toStoreError(error, this.#path)) };
    }
  }

  /** All in one transaction. A call that fails is undone alone; when the commit fails, all are. */
  #write(calls: readonly Call[], hint: { work: boolean; ended: boolean }): Answer[] {
    const answers: Answer[] = [];
    const effects: Effects[] = [];
    try {
      const prepared = calls.map((call) => this.#prepare(call));
      retryBusy(this.#path, () => this.#session.sql("begin immediate").run());
      for (const call of prepared) answers.push(this.#apply(call, { isAlone: calls.length === 1, effects }));
      this.#session.sql("commit").run();
    } catch (error) {
      if (this.#database.isTransaction) this.#session.sql("rollback").run();
      const packed = packError(toStoreError(error, this.#path));
      return calls.map(({ n }) => ({ n, error: packed }));
    }

    this.#quietRounds = 0;
    for (const { hint: changed, freedBlobs: freed } of effects) {
      hint.work ||= changed.work;
      hint.ended ||= changed.ended;
      deleteBlobFiles(this.#blobDir, freed);
    }
    return answers;
  }

  #prepare(call: Call): Call {
    if (call.operation !== "prune") return call;
    // Files first, then the rows that remember those that are gone: after a crash in between, they are deleted once more.
    const deletedBlobs = deleteBlobFiles(this.#blobDir, freedBlobs(this.#session));
    return { ...call, argument: { ...(call.argument as object), deletedBlobs } };
  }

  #apply(
    { n, operation, argument }: Call,
    { isAlone, effects }: { readonly isAlone: boolean; readonly effects: Effects[] },
  ): Answer {
    const session = this.#session;
    const run = () => (writes as Record<string, Operation>)[operation]!(session, argument);
    // A savepoint costs a copy of every page that is changed under it: a call that is alone has the transaction for that.
    if (isAlone) {
      const done = session.begin(run);
      effects.push(done.effects);
      return { n, value: done.value };
    }
    try {
      const done = session.atomically(run);
      effects.push(done.effects);
      return { n, value: done.value };
    } catch (error) {
      // After a full disk SQLite has rolled everything back.
      if (!this.#database.isTransaction) throw error;
      return { n, error: packError(toStoreError(error, this.#path)) };
    }
  }

  // ── leases ────────────────────────────────────────────────────────────────

  #keepLease({ n, beat, everyMs, stuckAfterMs, pulse }: KeepLease): void {
    const counter = new Int32Array(pulse);
    let lastCount = Atomics.load(counter, 0);
    let movedAt = performance.now();
    const renew = () => {
      const count = Atomics.load(counter, 0);
      if (count !== lastCount) movedAt = performance.now();
      lastCount = count;
      // The worker is gone in all but name: let its lease run out.
      if (performance.now() - movedAt > stuckAfterMs) return;
      const [answer] = this.#write([{ kind: "call", n, operation: "heartbeat", argument: beat }], { ...noHint });
      const outcome = answer !== undefined && "value" in answer ? answer.value : answer;
      this.#post({ kind: "beat", n, answer: outcome as (FromThread & { kind: "beat" })["answer"] });
    };
    this.#leases.set(n, setInterval(renew, everyMs));
  }

  // ── other processes, and the WAL ──────────────────────────────────────────

  #watch(isWatching: boolean): void {
    clearInterval(this.#watchTimer);
    if (!isWatching) return;
    this.#dataVersion = this.#readDataVersion();
    this.#watchTimer = setInterval(() => {
      const version = this.#readDataVersion();
      if (version === this.#dataVersion) return;
      this.#dataVersion = version;
      this.#post({ kind: "wake" });
    }, this.#pollMs);
  }

  /** Changes when another connection has committed; a look costs two microseconds. */
  #readDataVersion(): number {
    try {
      return (this.#session.sql("pragma data_version").get() as { data_version: number }).data_version;
    } catch {
      // Only a hint: the calls themselves report what is wrong with the file.
      return this.#dataVersion;
    }
  }

  #tidyWhenIdle(): void {
    this.#steady?.look();
    this.#quietRounds += 1;
    if (this.#quietRounds === 2) this.#cutWal();
  }

  #cutWal(): void {
    try {
      this.#session.sql("pragma wal_checkpoint(truncate)").get();
    } catch {
      // Somebody is reading or writing: SQLite's own checkpoint at 1,000 pages stays in force.
    }
  }

  #close(calls: readonly Call[]): void {
    this.#serve(calls);
    clearInterval(this.#idleTimer);
    clearInterval(this.#watchTimer);
    for (const timer of this.#leases.values()) clearInterval(timer);
    // Done by hand: @photostructure/sqlite leaves a closed connection to the garbage collector while it has statements.
    this.#cutWal();
    this.#database.close();
    this.#post({ kind: "closed" });
    this.#port.close();
  }

  #post(message: FromThread): void {
    this.#port.postMessage(message);
  }
}

const noHint: WakeHint = { work: false, ended: false };

function clockOf(sharedNow: SharedArrayBuffer | null): () => number {
  if (sharedNow === null) return () => systemClock.now();
  const present = new BigInt64Array(sharedNow);
  return () => Number(Atomics.load(present, 0));
}

const port = parentPort!;
const start = workerData as ThreadStart;
try {
  const database = await openDatabase({ path: start.path });
  new StoreThread(port, database, start);
  port.postMessage({ kind: "ready" } satisfies FromThread);
} catch (error) {
  port.postMessage({ kind: "failed", error: packError(error) } satisfies FromThread);
}
