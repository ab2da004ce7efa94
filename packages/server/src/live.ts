/**
 * Server-sent events (WHATWG): streams that always say how things are now, never what happened meanwhile. One look at the store
 * serves all streams; each gets at most one message a second, the newest; one whose reader does not keep up is sent nothing more until
 * it does, and keeps nothing here.
 */
import { createHash } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Store } from "sluice";
import type { Limits } from "./limits.js";
import type { Principal } from "./principal.js";
import { Problem, retryAfter } from "./problem.js";

/** How something is now. */
export interface Snapshot {
  /** JSON, for this reader. */
  readonly dataFor: (principal: Principal) => unknown;
  /** Nothing will change any more: the stream ends with it. */
  readonly isFinal: boolean;
}

/** A kind of thing that can be followed. */
export interface Source {
  /** The name of its events. */
  readonly event: string;
  /** Those that are gone are left out. */
  readonly look: (keys: readonly string[]) => Promise<ReadonlyMap<string, Snapshot>>;
}

/** Whether a reader may still read: its key may have been revoked since. Rejects where nobody can say at present. */
export type IsStillGood = (request: FastifyRequest, principal: Principal) => Promise<boolean>;

const messageMs = 1_000;
const heartbeatMs = 15_000;
/** What comes in a burst is looked at together. */
const hintPauseMs = 50;
/** A reader that has taken nothing for so long is gone. */
const stalledMs = 60_000;
/** How soon an EventSource comes back. */
const retryMs = 1_000;

export class Live {
  readonly #limits: Limits;
  readonly #store: Store<unknown>;
  readonly #isStillGood: IsStillGood;
  readonly #followers = new Set<Follower>();
  #unsubscribe: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #nextAt = Infinity;
  #isLooking = false;
  #isClosed = false;

  constructor(store: Store<unknown>, limits: Limits, isStillGood: IsStillGood = async () => true) {
    this.#store = store;
    this.#isStillGood = isStillGood;
    this.#limits = limits;
  }

  get streams(): number {
    return this.#followers.size;
  }

  /**
   * Answers with a stream. A reader that comes back knowing the last state of something that has ended is told that there is no more (204).
   * @throws {Problem} too_many_streams
   */
  async follow(
    { source, key }: { readonly source: Source; readonly key: string },
    {
      request,
      reply,
      principal,
    }: { readonly request: FastifyRequest; readonly reply: FastifyReply; readonly principal: Principal },
  ): Promise<void> {
    this.#requireRoom(principal);
    const snapshot = (await source.look([key])).get(key);
    if (snapshot === undefined) throw new Problem("not_found", "There is nothing to follow at this address.");
    const message = messageOf(source, snapshot, principal);
    if (snapshot.isFinal && request.headers["last-event-id"] === message.id) {
      void reply.code(204).send();
      return;
    }
    if (request.method === "HEAD") {
      // Would be there; a stream that carries nothing would only be held open.
      void reply.type("text/event-stream; charset=utf-8").send();
      return;
    }
    // Others may have come while this one was looking.
    this.#requireRoom(principal);
    const follower = new Follower(source, key, { request, reply, principal });
    if (follower.isGone) return;
    this.#followers.add(follower);
    reply.raw.once("close", () => this.#remove(follower));
    follower.offer(message, snapshot.isFinal);
    this.#unsubscribe ??= this.#store.subscribe(() => this.#lookWithin(hintPauseMs));
    this.#lookWithin(messageMs);
  }

  /** Ends all streams; their readers come back, here or elsewhere. */
  close(): void {
    this.#isClosed = true;
    for (const follower of this.#followers) follower.end();
  }

  #requireRoom({ id }: Principal): void {
    const own = [...this.#followers].filter(({ principal }) => principal.id === id).length;
    if (!this.#isClosed && this.#followers.size < this.#limits.streams && own < this.#limits.streamsPerCaller) return;
    throw new Problem("too_many_streams", "As many streams are open as may be. Close one, or ask again later.", {
      headers: retryAfter(5_000),
    });
  }

  #remove(follower: Follower): void {
    this.#followers.delete(follower);
    if (this.#followers.size > 0) return;
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#nextAt = Infinity;
  }

  /** The earlier of two looks is the one that counts. */
  #lookWithin(ms: number): void {
    const at = performance.now() + ms;
    if (this.#followers.size === 0 || at >= this.#nextAt) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#nextAt = at;
    this.#timer = setTimeout(() => void this.#look(), ms);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    this.#timer = null;
    this.#nextAt = Infinity;
    if (this.#isLooking) return this.#lookWithin(hintPauseMs);
    this.#isLooking = true;
    try {
      await Promise.all([...bySource(this.#followers)].map(([source, followers]) => this.#lookAt(source, followers)));
    } finally {
      this.#isLooking = false;
      this.#lookWithin(messageMs);
    }
  }

  async #lookAt(source: Source, followers: readonly Follower[]): Promise<void> {
    const now = performance.now();
    for (const follower of followers) follower.beat(now);
    const due = followers.filter((follower) => follower.isDue(now));
    if (due.length === 0) return;
    let snapshots;
    try {
      snapshots = await source.look([...new Set(due.map(({ key }) => key))]);
    } catch {
      // The store is away for a moment: heartbeats go on, and the next look says how things are.
      return;
    }
    await Promise.all(due.map((follower) => this.#tell(follower, snapshots.get(follower.key), now)));
  }

  async #tell(follower: Follower, snapshot: Snapshot | undefined, now: number): Promise<void> {
    if (snapshot === undefined) return follower.end();
    const { source, request, principal } = follower;
    const message = messageOf(source, snapshot, principal);
    if (!follower.isNews(message, snapshot.isFinal) && !follower.isCheckDue(now)) return;
    try {
      if (!(await this.#isStillGood(request, principal))) return follower.end();
    } catch {
      // Nobody can say: it is told at the next look.
      return;
    }
    follower.checkedAt = now;
    follower.offer(message, snapshot.isFinal);
  }
}

interface Message {
  readonly id: string;
  readonly text: string;
}

/** The id names the state: whoever has it has seen this. */
function messageOf({ event }: Source, { dataFor }: Snapshot, principal: Principal): Message {
  const data = JSON.stringify(dataFor(principal));
  const id = createHash("sha256").update(data).digest("base64url").slice(0, 22);
  return { id, text: `id: ${id}\nevent: ${event}\ndata: ${data}\n\n` };
}

function bySource(followers: Iterable<Follower>): ReadonlyMap<Source, readonly Follower[]> {
  const groups = new Map<Source, Follower[]>();
  for (const follower of followers) {
    const group = groups.get(follower.source);
    if (group === undefined) groups.set(follower.source, [follower]);
    else group.push(follower);
  }
  return groups;
}

/** One reader. */
class Follower {
  readonly source: Source;
  readonly key: string;
  readonly request: FastifyRequest;
  readonly principal: Principal;
  /** When its key was last known to be good. */
  checkedAt = performance.now();
  readonly #raw: FastifyReply["raw"];
  #sentId: string | null = null;
  #sentAt = -Infinity;
  #wroteAt = performance.now();
  #blockedSince: number | null = null;

  constructor(
    source: Source,
    key: string,
    {
      request,
      reply,
      principal,
    }: { readonly request: FastifyRequest; readonly reply: FastifyReply; readonly principal: Principal },
  ) {
    this.source = source;
    this.key = key;
    this.request = request;
    this.principal = principal;
    this.#raw = reply.raw;
    reply.hijack();
    this.#raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store, no-transform",
      // Proxies of the nginx family would keep it to themselves.
      "x-accel-buffering": "no",
    });
    this.#raw.on("drain", () => (this.#blockedSince = null));
    this.#write(`retry: ${retryMs}\n\n`);
  }

  get isGone(): boolean {
    return this.#raw.destroyed || this.#raw.writableEnded;
  }

  isDue(now: number): boolean {
    return !this.isGone && this.#blockedSince === null && now - this.#sentAt >= messageMs - hintPauseMs;
  }

  isNews({ id }: Message, isFinal: boolean): boolean {
    return isFinal || id !== this.#sentId;
  }

  isCheckDue(now: number): boolean {
    return now - this.checkedAt >= heartbeatMs;
  }

  /** Sends it, unless it was the last that was sent. */
  offer({ id, text }: Message, isFinal: boolean): void {
    if (this.isGone) return;
    if (id !== this.#sentId) {
      this.#sentId = id;
      this.#sentAt = performance.now();
      this.#write(text);
    }
    if (isFinal) this.end();
  }

  /** Keeps the connection known to be alive, and gives up a reader that takes nothing. */
  beat(now: number): void {
    if (this.#blockedSince !== null) {
      if (now - this.#blockedSince > stalledMs) this.#raw.destroy();
    } else if (now - this.#wroteAt >= heartbeatMs) this.#write(": still here\n\n");
  }

  end(): void {
    this.#raw.end();
  }

  #write(text: string): void {
    if (this.isGone) return;
    this.#wroteAt = performance.now();
    if (!this.#raw.write(text)) this.#blockedSince ??= this.#wroteAt;
  }
}
