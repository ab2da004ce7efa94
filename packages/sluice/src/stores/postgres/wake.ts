/**
 * Hints between processes: a notification after a commit, many commits in one; and a listener on a connection of its own that
 * tests itself. While it hears nothing, and between processes that cannot listen (a pooler in transaction mode), a hint at
 * regular times takes its place: polling stays the truth, this only makes it quick or slow.
 *
 * Whoever listens shares an advisory lock for as long. Where nobody else has it, nothing is notified: that costs a commit, as much as
 * a job (measured: 0.45 ms beside an enqueue of 0.7). This is looked up now and then, so a new listener counts as deaf until all others
 * have looked.
 */
import { randomInt } from "node:crypto";
import type pg from "pg";
import type { WakeHint } from "../../store.js";
import { clientConfig, leave, newClient } from "./database.js";
import type { Database } from "./database.js";

/** Between two notifications of one process; each costs the server a commit that it need not wait for. */
const workGapMs = 1;
/** Of what has ended, only those hear who wait for a job in another process. */
const endedGapMs = 10;
const testEveryMs = 15_000;
const testLimitMs = 5_000;
/** While nobody is heard. */
const deafPollMs = 250;
/** How long an answer to "who else listens" holds. */
const lookEveryMs = 500;
const maxReconnectMs = 5_000;

/** What its types do not say. */
type Listener = pg.Client & { readonly processID: number | null; unref(): void };

export interface WakeOptions {
  readonly database: Database;
  /** Null: no listener; hints come at regular times. */
  readonly listenUrl: string | null;
  readonly channel: string;
  /** Of this process: its own notifications are no news to it. */
  readonly self: string;
  readonly onHint: (hint: WakeHint) => void;
}

export class Wake {
  readonly #options: WakeOptions;
  #pending = { work: false, ended: false };
  #isNotifying = false;
  #notifiedAt = 0;
  #isAnybodyElse = true;
  #lookedAt = -Infinity;
  #notifyTimer: NodeJS.Timeout | undefined;
  #listener: pg.Client | null = null;
  #isHearing = false;
  #isWanted = false;
  #reconnectMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #deafTimer: NodeJS.Timeout | undefined;
  #onTestHeard: (() => void) | null = null;

  constructor(options: WakeOptions) {
    this.#options = options;
  }

  // ── telling others ────────────────────────────────────────────────────────

  /** Called after a commit. Answers at once; what is said meanwhile goes into the next notification. */
  notify({ work, ended }: WakeHint): void {
    if ((!work && !ended) || (!this.#isAnybodyElse && !this.#mustLook)) return;
    this.#pending = { work: this.#pending.work || work, ended: this.#pending.ended || ended };
    if (this.#isNotifying || (this.#notifyTimer !== undefined && !work)) return;
    clearTimeout(this.#notifyTimer);
    const waitMs = this.#notifiedAt + (this.#pending.work ? workGapMs : endedGapMs) - performance.now();
    if (waitMs <= 0) void this.#notifyNow();
    else this.#notifyTimer = setTimeout(() => void this.#notifyNow(), waitMs).unref();
  }

  async #notifyNow(): Promise<void> {
    this.#notifyTimer = undefined;
    this.#isNotifying = true;
    this.#notifiedAt = performance.now();
    const { work, ended } = this.#pending;
    this.#pending = { work: false, ended: false };
    const { database, channel, self } = this.#options;
    try {
      if (this.#mustLook) await this.#look();
      if (this.#isAnybodyElse)
        await database.rows(notifyOthers, [channel, `${self} ${work ? "w" : ""}${ended ? "e" : ""}`]);
    } catch {
      // A hint: whoever misses it polls.
    }
    this.#isNotifying = false;
    if (this.#pending.work || this.#pending.ended) {
      const more = this.#pending;
      this.#pending = { work: false, ended: false };
      this.notify(more);
    }
  }

  get #mustLook(): boolean {
    return performance.now() - this.#lookedAt >= lookEveryMs;
  }

  async #look(): Promise<void> {
    const { database, channel } = this.#options;
    this.#lookedAt = performance.now();
    const [row] = await database.rows<{ is: boolean }>(isAnybodyElse, [
      channel,
      (this.#listener as Listener | null)?.processID ?? 0,
    ]);
    this.#isAnybodyElse = row!.is;
  }

  // ── hearing others ────────────────────────────────────────────────────────

  listen(isWanted: boolean): void {
    this.#isWanted = isWanted;
    if (!isWanted) {
      this.#deaf();
      clearInterval(this.#deafTimer);
      clearTimeout(this.#timer);
      this.#deafTimer = undefined;
      return;
    }
    this.#deafTimer ??= setInterval(() => {
      if (!this.#isHearing) this.#options.onHint({ work: true, ended: true });
    }, deafPollMs).unref();
    if (this.#options.listenUrl !== null) void this.#connect(this.#options.listenUrl);
  }

  async close(): Promise<void> {
    clearTimeout(this.#notifyTimer);
    const listener = this.#listener;
    this.listen(false);
    if (listener !== null) await leave(listener);
  }

  async #connect(url: string): Promise<void> {
    let client: pg.Client | null = null;
    const lose = () => {
      if (this.#listener === client) this.#reconnectLater(url);
    };
    try {
      client = newClient({
        ...clientConfig(url, "listen"),
        connectionTimeoutMillis: testLimitMs,
        query_timeout: testLimitMs,
      });
      this.#listener = client;
      client.on("error", lose);
      client.on("end", lose);
      client.on("notification", ({ payload }) => this.#hear(payload ?? ""));
      await client.connect();
      await client.query(`listen ${client.escapeIdentifier(this.#options.channel)}`);
      await client.query(sayThatOneListens, [this.#options.channel]);
      await this.#test();
      if (this.#listener !== client) return void leave(client);
      // A process ends when it has nothing more to do, and not because somebody might tell it something.
      (client as Listener).unref();
      this.#reconnectMs = 0;
      this.#testLater(url, client);
      setTimeout(() => {
        if (this.#listener !== client) return;
        this.#isHearing = true;
        // What was said, or kept back, before.
        this.#options.onHint({ work: true, ended: true });
      }, lookEveryMs).unref();
    } catch {
      lose();
    }
  }

  /** A socket may be dead without a word, and a pooler may have given the connection to somebody else. */
  #testLater(url: string, client: pg.Client): void {
    this.#timer = setTimeout(() => {
      this.#test().then(
        () => this.#listener === client && this.#testLater(url, client),
        () => this.#listener === client && this.#reconnectLater(url),
      );
    }, testEveryMs).unref();
  }

  /** Sends a notification as anybody else would, and waits until the listener hears it. */
  async #test(): Promise<void> {
    const { database, channel, self } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error("The listener does not hear.")), testLimitMs);
      this.#onTestHeard = () => {
        clearTimeout(limit);
        resolve();
      };
      database.rows(notifyOthers, [channel, `${self} test`]).catch((error: Error) => {
        clearTimeout(limit);
        reject(error);
      });
    });
  }

  #hear(payload: string): void {
    const [from, what = ""] = payload.split(" ");
    if (from === this.#options.self) {
      if (what === "test") this.#onTestHeard?.();
      return;
    }
    if (what === "test") return;
    this.#options.onHint({ work: what.includes("w"), ended: what.includes("e") });
  }

  #deaf(): void {
    const listener = this.#listener;
    this.#listener = null;
    this.#isHearing = false;
    if (listener !== null) void leave(listener);
  }

  #reconnectLater(url: string): void {
    this.#deaf();
    clearTimeout(this.#timer);
    if (!this.#isWanted) return;
    this.#reconnectMs = Math.min(maxReconnectMs, Math.max(100, this.#reconnectMs * 2));
    this.#timer = setTimeout(
      () => void this.#connect(url),
      randomInt(this.#reconnectMs / 2, this.#reconnectMs * 1.5),
    ).unref();
  }
}

// Shared, by the session: the listener's connection is no pooler's.
const sayThatOneListens = "select pg_advisory_lock_shared(7562598, hashtext($1))";

const isAnybodyElse = `
  select exists (
    select 1
    from pg_locks
    where locktype = 'advisory'
      and database = (select oid from pg_database where datname = current_database())
      and classid = 7562598
      and objid = (hashtext($1)::bigint & 4294967295)::oid
      and pid <> $2::int
  ) as is`;

// Lost after a crash of the server, as is everything that listened: no need to wait for the disk.
const notifyOthers = `
  select pg_notify($1, $2)
  from (select set_config('synchronous_commit', 'off', true) offset 0) as setting`;
