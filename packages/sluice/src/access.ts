/**
 * Who may use an edge: access keys and what each may do, the tokens that prove one, and how many there may be. Pure but for hashes;
 * stores keep the keys (never a token), edges ask. A session is a key that a browser got for another key, and is gone with it.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";
import type { AuditEntry, Origin } from "./audit.js";
import { JobsError } from "./errors.js";

/**
 * - `submit`: add jobs, and see what becomes of them.
 * - `observe`: see everything but payloads.
 * - `operate`: observe; give commands on jobs, pause types.
 * - `admin`: everything.
 */
export const roles = ["submit", "observe", "operate", "admin"] as const;
export type Role = (typeof roles)[number];

export interface AccessKey {
  readonly id: string;
  readonly name: string;
  /** SHA-256 of the token, hex. */
  readonly hash: string;
  /** The first characters of the token, to recognise it by. */
  readonly hint: string;
  readonly roles: readonly Role[];
  /** Of jobs that it may touch; an entry may end in `*`. Null: all. */
  readonly types: readonly string[] | null;
  readonly canReadPayloads: boolean;
  /** Of a session: the key that it was made for. Null: no session. */
  readonly parent: string | null;
  /** ms since 1970 on the store's clock, as all instants; null: never. */
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

export type NewAccessKey = Omit<AccessKey, "createdAt" | "revokedAt">;

/** Living ones that are no sessions. */
export const maxAccessKeys = 1_000;
/** Of one key; the next one takes the place of the oldest. */
export const maxSessions = 100;

const dayMs = 24 * 60 * 60 * 1_000;

// ── what a key may do ───────────────────────────────────────────────────────

const implied: Readonly<Record<Role, readonly Role[]>> = {
  submit: ["submit"],
  observe: ["observe"],
  operate: ["operate", "observe"],
  admin: roles,
};

/** Whether the key has the role, or one that implies it. */
export function hasRole({ roles }: Pick<AccessKey, "roles">, role: Role): boolean {
  return roles.some((own) => implied[own].includes(role));
}

/** Whether the key may touch jobs of the type. */
export function covers({ types }: Pick<AccessKey, "types">, type: string): boolean {
  if (types === null) return true;
  return types.some((entry) => (entry.endsWith("*") ? type.startsWith(entry.slice(0, -1)) : type === entry));
}

/** Not revoked and not expired; of a session, neither the key that it was made for. @param find Among all keys of the store. */
export function isGood(key: AccessKey, now: number, find: (id: string) => AccessKey | undefined): boolean {
  if (!isLiving(key, now)) return false;
  if (key.parent === null) return true;
  const parent = find(key.parent);
  return parent?.parent === null && isLiving(parent, now);
}

function isLiving(key: AccessKey, now: number): boolean {
  return endOf(key) > now;
}

function endOf({ expiresAt, revokedAt }: AccessKey): number {
  return Math.min(expiresAt ?? Infinity, revokedAt ?? Infinity);
}

/** Whether a store keeps it: a session for a day after its end, others for 30, so that operators see what there was. */
export function isKept(key: AccessKey, now: number): boolean {
  return now - endOf(key) < (key.parent === null ? 30 : 1) * dayMs;
}

// ── tokens ──────────────────────────────────────────────────────────────────

// A prefix and a checksum, so that scanners of repositories find one that was lost, and nobody asks a store about a typo.
const prefix = "slu_";
const shape = /^slu_([A-Za-z0-9_-]{43})([0-9A-Za-z]{6})$/;
const hintLength = prefix.length + 6;

/** What proves a key, and what a store may know of it. */
export interface Token {
  readonly token: string;
  readonly hash: string;
  readonly hint: string;
}

/** @param random 32 bytes from a source that nobody can guess. */
export function newToken(random: Uint8Array): Token {
  if (random.length !== 32) throw new TypeError(`A token is made of 32 random bytes, not ${random.length}.`);
  const secret = Buffer.from(random).toString("base64url");
  const token = `${prefix}${secret}${checksumOf(secret)}`;
  return { token, hash: sha256(token), hint: token.slice(0, hintLength) };
}

/** Null for what is no token, whatever any store says. */
export function hashOfToken(token: string): string | null {
  const [, secret, checksum] = shape.exec(token) ?? [];
  return secret === undefined || checksumOf(secret) !== checksum ? null : sha256(token);
}

/** The key that the token proves, good or not. In constant time for each key. */
export function keyOfToken(keys: Iterable<AccessKey>, token: string): AccessKey | null {
  const hash = hashOfToken(token);
  if (hash === null) return null;
  const bytes = Buffer.from(hash, "hex");
  let found: AccessKey | null = null;
  for (const key of keys) {
    const own = Buffer.from(key.hash, "hex");
    if (own.length === bytes.length && timingSafeEqual(own, bytes)) found = key;
  }
  return found;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** CRC-32 in six digits. */
function checksumOf(secret: string): string {
  let rest = crc32(secret);
  let digits = "";
  for (let n = 0; n < 6; n++) {
    digits = base62[rest % 62]! + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

// ── what becomes of the keys that are there, decided for all stores ─────────

export interface KeyContext {
  /** All keys of the store. */
  readonly keys: readonly AccessKey[];
  readonly now: number;
  readonly origin: Origin;
}

/**
 * `added`: it is there, now or since the same call was sent before. `full`: there are as many living keys as there may be.
 * `parent_gone`: the key that the session is for is not good.
 */
export type AddKeyAnswer =
  | { readonly outcome: "added"; readonly key: AccessKey }
  | { readonly outcome: "full" | "parent_gone"; readonly key: null };

/** What a store does for a new key: deletes those that make room, adds it unless it is known, and writes the entry to the audit. */
export interface KeyAddition {
  readonly answer: AddKeyAnswer;
  readonly isNew: boolean;
  readonly gone: readonly string[];
  /** Null for sessions. */
  readonly entry: AuditEntry | null;
}

export function addKey(added: NewAccessKey, { keys, now, origin }: KeyContext): KeyAddition {
  const nothing = { isNew: false, gone: [], entry: null };
  const known = keys.find(({ id }) => id === added.id);
  if (known !== undefined) return { ...nothing, answer: { outcome: "added", key: known } };

  const key: AccessKey = { ...added, createdAt: now, revokedAt: null };
  const answer = { outcome: "added", key } as const;
  if (key.parent === null) {
    const others = keys.filter(({ parent }) => parent === null);
    const living = others.filter((other) => isLiving(other, now));
    if (living.length >= maxAccessKeys) return { ...nothing, answer: { outcome: "full", key: null } };
    // Made and revoked again and again, they must not pile up either.
    const over = others.filter((other) => !isLiving(other, now)).sort((a, b) => endOf(b) - endOf(a));
    const gone = over.slice(maxAccessKeys).map(({ id }) => id);
    return { answer, isNew: true, gone, entry: { ...entryOf(key, origin), action: "create_key", after: inAudit(key) } };
  }
  if (!isGood(key, now, (id) => keys.find((other) => other.id === id))) {
    return { ...nothing, answer: { outcome: "parent_gone", key: null } };
  }
  const sessions = keys.filter(({ parent }) => parent === key.parent).sort((a, b) => b.createdAt - a.createdAt);
  return { answer, isNew: true, gone: sessions.slice(maxSessions - 1).map(({ id }) => id), entry: null };
}

/** What a store does for a key that is revoked. */
export interface KeyRevocation {
  readonly isThere: boolean;
  /** Their `revokedAt` becomes the present: the key and its sessions, as far as they are not revoked yet. */
  readonly revoked: readonly string[];
  /** Null for sessions, and where nothing was left to do. */
  readonly entry: AuditEntry | null;
}

export function revokeKey(id: string, { keys, origin }: Pick<KeyContext, "keys" | "origin">): KeyRevocation {
  const key = keys.find((each) => each.id === id);
  if (key === undefined) return { isThere: false, revoked: [], entry: null };
  const revoked = keys.filter((each) => (each.id === id || each.parent === id) && each.revokedAt === null);
  const isTold = key.parent === null && key.revokedAt === null;
  return {
    isThere: true,
    revoked: revoked.map((each) => each.id),
    entry: isTold ? { ...entryOf(key, origin), action: "revoke_key", before: inAudit(key) } : null,
  };
}

function entryOf({ id }: AccessKey, { actor, reason, requestId }: Origin) {
  return { actor, reason, requestId, target: { kind: "key", id }, type: null, before: null, after: null } as const;
}

function inAudit({ name, hint, roles, types, canReadPayloads, expiresAt }: AccessKey): string {
  return JSON.stringify({ name, hint, roles, types, canReadPayloads, expiresAt });
}

// ── what may be asked for ───────────────────────────────────────────────────

export interface AccessKeyOptions {
  /** 1 to 100 characters, on one line: who or what uses it. */
  readonly name: string;
  readonly roles: readonly Role[];
  /** Of jobs that it may touch; an entry may end in `*`, as in `mail.*`. Default: all. */
  readonly types?: readonly string[];
  /** Default false. */
  readonly canReadPayloads?: boolean;
  /** Default: never. */
  readonly expiresAt?: Date;
}

/** @throws {JobsError} INVALID_OPTIONS */
export function checkKey(
  { name, roles: given, types, canReadPayloads = false, expiresAt }: AccessKeyOptions,
  now: number,
): Pick<AccessKey, "name" | "roles" | "types" | "canReadPayloads" | "expiresAt"> {
  if (typeof name !== "string" || name.trim() === "" || name.length > 100 || /\p{Cc}/u.test(name)) {
    refuse("name", "name is no name of a key. Give 1 to 100 characters on one line that say who uses it.");
  }
  // Callers without types may give anything.
  const wanted: unknown = given;
  if (!Array.isArray(wanted) || wanted.length === 0) {
    refuse("roles", `A key without a role may do nothing. Give some of ${roles.join(", ")}.`);
  }
  const unknown = given.find((role) => !roles.includes(role));
  if (unknown !== undefined) {
    refuse("roles", `${JSON.stringify(unknown)} is no role. Give some of ${roles.join(", ")}.`);
  }
  if (types !== undefined) checkTypes(types);
  return {
    name,
    roles: roles.filter((role) => given.includes(role)),
    types: types === undefined ? null : [...new Set(types)],
    canReadPayloads,
    expiresAt: expiresAt === undefined ? null : checkExpiry(expiresAt, now),
  };
}

function checkTypes(types: readonly string[]): void {
  if (types.length === 0) {
    refuse("types", "A key for no types may touch no job. Name the types, or leave them out for all.");
  }
  if (types.length > 100) refuse("types", "A key takes at most 100 entries of types. Use an entry that ends in *.");
  const odd = types.find((type) => !/^([A-Za-z0-9._:-]{1,100}|[A-Za-z0-9._:-]{0,100}\*)$/.test(type));
  if (odd === undefined) return;
  refuse("types", `${JSON.stringify(odd)} is no name of a type. Give names, or their beginnings with * at the end.`);
}

/** @throws {JobsError} INVALID_OPTIONS */
export function checkExpiry(expiresAt: Date, now: number): number {
  const at = Math.ceil(expiresAt.getTime());
  if (!(at > now)) refuse("expiresAt", "expiresAt is not in the future. Give a later Date, or leave it out for never.");
  return at;
}

function refuse(option: string, message: string): never {
  throw new JobsError("INVALID_OPTIONS", message, { option });
}
