/**
 * Who asks: an API key (`Authorization: Bearer`), a browser session made with one (a cookie), or, as long as there is no key at all,
 * anybody on this machine. What they may is in principal.ts; what a key is, in the library.
 */
import type { FastifyRequest } from "fastify";
import { hashOfToken, isGood, type AccessKey, type Queue } from "sluice";
import type { Access } from "./contract/endpoint.js";
import { localPrincipal, type Principal } from "./principal.js";
import { Problem } from "./problem.js";

/** @throws {Problem} unauthenticated */
export type Authenticate = (request: FastifyRequest, access: Access) => Promise<Principal> | Principal;

/** What an application has instead: null where it does not know who asks. */
export type OwnAuthenticate = (request: FastifyRequest) => Promise<Principal | null> | Principal | null;

export const sessionCookie = "sluice_session";

const nobody: Principal = {
  id: "nobody",
  name: "nobody",
  roles: [],
  types: [],
  canReadPayloads: false,
  expiresAt: null,
};

export function asAuthenticate(own: OwnAuthenticate): Authenticate {
  return async (request, access) => {
    const principal = await own(request);
    if (principal !== null) return principal;
    if (access === "open") return nobody;
    throw unauthenticated("The application does not know who asks.");
  };
}

/** Keys change seldom: what was read is good for so long, and a key that was revoked is good for no longer. */
const freshMs = 1_000;
/** One that is not among them may have been made just now. */
const freshForStrangersMs = 100;

/** Reads the keys of the store; one look serves all requests of a second. */
export class KeyRing {
  readonly #queue: Queue<unknown>;
  readonly #now: () => number;
  #keys: ReadonlyMap<string, AccessKey> = new Map();
  #readAt = -Infinity;
  #reading: Promise<void> | null = null;
  /** Counts what this process has changed. */
  #changes = 0;

  constructor(queue: Queue<unknown>, now: () => number) {
    this.#queue = queue;
    this.#now = now;
  }

  /** The next look is a new one: this process has changed something. */
  forget(): void {
    this.#readAt = -Infinity;
    this.#reading = null;
    this.#changes++;
  }

  /**
   * Whether there never was a key, as far as the store remembers. One that has expired or was revoked counts: who had closed the door
   * would not want it open again because a key ran out.
   */
  async isEmpty(): Promise<boolean> {
    await this.#refresh();
    return this.#keys.size === 0;
  }

  /** The key with this token, or null when there is none that is good now. */
  async find(token: string): Promise<AccessKey | null> {
    const hash = hashOfToken(token);
    if (hash === null) return null;
    await this.#refresh();
    if (!this.#keys.has(hash)) await this.#refresh(freshForStrangersMs);
    const key = this.#keys.get(hash);
    return key !== undefined && isGood(key, this.#now(), this.#byId()) ? key : null;
  }

  #byId(): (id: string) => AccessKey | undefined {
    return (id) => [...this.#keys.values()].find((key) => key.id === id);
  }

  async #refresh(within = freshMs): Promise<void> {
    if (this.#now() - this.#readAt < within) return;
    if (this.#reading === null) {
      const reading = this.#read().finally(() => {
        if (this.#reading === reading) this.#reading = null;
      });
      this.#reading = reading;
    }
    await this.#reading;
  }

  async #read(): Promise<void> {
    const [at, changes] = [this.#now(), this.#changes];
    const keys = await this.#queue.accessKeys();
    // Begun before a change of our own: what it saw may be what was before.
    if (changes !== this.#changes) return this.#refresh();
    this.#keys = new Map(keys.map((key) => [key.hash, key]));
    this.#readAt = at;
  }
}

export function keysAuthenticate(ring: KeyRing): Authenticate {
  return async (request, access) => {
    if (access === "open") return nobody;
    const token = tokenOf(request);
    if (token !== null) {
      const key = await ring.find(token);
      if (key !== null) return principalOf(key);
      throw unauthenticated("The key is not known, or not good any more.");
    }
    if (isLocal(request) && (await ring.isEmpty())) return localPrincipal;
    throw unauthenticated("Send a key: Authorization: Bearer slu_… . `sluice keys create` makes one.");
  };
}

/** Whether whoever asked is still who they were: asked again for each message of a stream. */
export function isStill(authenticate: Authenticate) {
  return async (request: FastifyRequest, { id }: Principal): Promise<boolean> => {
    try {
      return (await authenticate(request, "any")).id === id;
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return false;
      throw error;
    }
  };
}

export function principalOf({ id, parent, name, roles, types, canReadPayloads, expiresAt }: AccessKey): Principal {
  return {
    // What a session does counts for the key that it was made with.
    id: parent ?? id,
    name,
    roles,
    types,
    canReadPayloads: canReadPayloads || roles.includes("admin"),
    expiresAt: expiresAt === null ? null : new Date(expiresAt),
  };
}

export function tokenOf(request: FastifyRequest): string | null {
  const { authorization } = request.headers;
  if (authorization !== undefined) {
    const [, token] = /^bearer +(\S{1,200})$/i.exec(authorization) ?? [];
    if (token !== undefined) return token;
    throw unauthenticated("The header Authorization is not understood. Send Authorization: Bearer slu_… .");
  }
  return cookieOf(request);
}

function cookieOf({ headers: { cookie = "" } }: FastifyRequest): string | null {
  for (const pair of cookie.split(";", 100)) {
    const [name = "", value = ""] = pair.trim().split("=", 2);
    if (name === sessionCookie && value !== "") return value;
  }
  return null;
}

const forwarded = ["forwarded", "via", "x-real-ip"];

/**
 * From this machine, and not through a proxy that stands here for others. The Host must be this machine, too: a page of another
 * site whose name was made to point here (DNS rebinding) sends its own.
 */
function isLocal({ socket, headers }: FastifyRequest): boolean {
  if (!isFromHere(socket)) return false;
  const { host = "" } = headers;
  return (
    isLoopback(host.replace(/:\d+$/, "")) &&
    forwarded.every((name) => headers[name] === undefined) &&
    !Object.keys(headers).some((name) => name.startsWith("x-forwarded"))
  );
}

/** Asked once for each connection. */
const fromHere = new WeakMap<object, boolean>();

function isFromHere(socket: FastifyRequest["socket"]): boolean {
  let answer = fromHere.get(socket);
  if (answer === undefined) fromHere.set(socket, (answer = isLoopback(socket.remoteAddress ?? "")));
  return answer;
}

export function isLoopback(host: string): boolean {
  const name = host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/^::ffff:/, "");
  return name === "localhost" || name === "::1" || /^127(\.\d{1,3}){3}$/.test(name);
}

export function unauthenticated(detail: string): Problem {
  return new Problem("unauthenticated", detail, { headers: { "www-authenticate": 'Bearer realm="sluice"' } });
}

/**
 * A page of somebody else's may reach this service through its reader's browser; it may not change anything here. Browsers say
 * where a request comes from; other clients say nothing.
 * @throws {Problem} cross_site
 */
export function refuseOtherSites({ method, headers }: FastifyRequest): void {
  if (method === "GET" || method === "HEAD" || method === "OPTIONS") return;
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none") throw crossSite();
  const { origin, host } = headers;
  if (origin === undefined) return;
  if (!URL.canParse(origin) || new URL(origin).host !== host) throw crossSite();
}

function crossSite(): Problem {
  return new Problem("cross_site", "Requests from pages of other sites are not taken.");
}
