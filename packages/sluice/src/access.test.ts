/**
 * What an access key may do, how a token proves it, and how many there may be. How keys are kept is in the conformance suite.
 */
import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { addKey, covers, hashOfToken, hasRole, isGood, keyOfToken, maxAccessKeys, newToken, roles } from "./access.js";
import type { AccessKey } from "./access.js";
import { Queue } from "./index.js";
import { memory } from "./stores/memory/index.js";
import { anAccessKey, ManualClock } from "./testing/index.js";

function aKey(overrides: Partial<AccessKey> = {}): AccessKey {
  return { ...anAccessKey(), createdAt: 0, revokedAt: null, ...overrides };
}

const origin = { actor: "ada", reason: null, requestId: null };

// ── what a key may do ───────────────────────────────────────────────────────

test("a role implies those below it, and submit stands alone", () => {
  const implied = roles.map((own) => roles.filter((role) => hasRole({ roles: [own] }, role)));

  expect(implied).toEqual([["submit"], ["observe"], ["observe", "operate"], roles]);
  expect(hasRole({ roles: ["submit", "operate"] }, "admin")).toBe(false);
  expect(hasRole({ roles: [] }, "submit")).toBe(false);
});

test.each([
  { types: null, type: "mail.send", isCovered: true },
  { types: ["mail.send"], type: "mail.send", isCovered: true },
  { types: ["mail.send"], type: "mail.send.all", isCovered: false },
  { types: ["import", "mail.*"], type: "mail.send", isCovered: true },
  { types: ["mail.*"], type: "mail", isCovered: false },
  { types: ["*"], type: "mail.send", isCovered: true },
  { types: [], type: "mail.send", isCovered: false },
])("a key for $types covers $type: $isCovered", ({ types, type, isCovered }) => {
  expect(covers({ types }, type)).toBe(isCovered);
});

test("a key is good until it expires or is revoked, a session as long as its parent is, too", () => {
  const find =
    (...keys: readonly AccessKey[]) =>
    (id: string) =>
      keys.find((key) => key.id === id);
  const key = aKey({ expiresAt: 100 });
  const session = aKey({ parent: key.id, expiresAt: 200 });

  expect([99, 100].map((now) => isGood(key, now, find()))).toEqual([true, false]);
  expect([99, 100].map((now) => isGood(session, now, find(key)))).toEqual([true, false]);
  expect(isGood(aKey({ revokedAt: 50 }), 60, find())).toBe(false);
  expect(isGood(session, 60, find({ ...key, revokedAt: 50 }))).toBe(false);
  expect(isGood({ ...session, revokedAt: 50 }, 60, find(key))).toBe(false);
  expect(isGood(session, 60, find())).toBe(false);
  expect(isGood(aKey({ parent: session.id }), 60, find(key, session))).toBe(false);
});

// ── tokens ──────────────────────────────────────────────────────────────────

test("a token is 256 bits with a prefix and a checksum, and its hash tells nothing of it", () => {
  const { token, hash, hint } = newToken(new Uint8Array(32).fill(0xff));

  expect(token).toMatch(/^slu_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}$/);
  expect(hint).toBe("slu_______");
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect(hashOfToken(token)).toBe(hash);
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const checksum = [...token.slice(-6)].reduce((sum, digit) => sum * 62 + digits.indexOf(digit), 0);
  expect(checksum).toBe(crc32(token.slice(4, -6)));
  expect(() => newToken(new Uint8Array(31))).toThrow(/32 random bytes/);
});

test("a typo is no token, wherever it is", () => {
  const { token } = newToken(new Uint8Array(32).map((_, n) => n));

  for (let at = 0; at < token.length; at++) {
    const typo = `${token.slice(0, at)}${token[at] === "a" ? "b" : "a"}${token.slice(at + 1)}`;
    expect(hashOfToken(typo)).toBeNull();
  }
  for (const odd of ["", "slu_", ` ${token}`, `${token}\n`, token.slice(0, -1), token.toUpperCase()]) {
    expect(hashOfToken(odd)).toBeNull();
  }
});

test("a token proves the key with its hash, and no other", () => {
  const [mine, theirs] = [newToken(new Uint8Array(32)), newToken(new Uint8Array(32).fill(1))];
  const keys = [aKey({ hash: "" }), aKey(), aKey({ hash: mine.hash }), aKey()];

  expect(keyOfToken(keys, mine.token)).toBe(keys[2]);
  expect(keyOfToken(keys, theirs.token)).toBeNull();
  expect(keyOfToken(keys, mine.hash)).toBeNull();
});

// ── how many there may be ───────────────────────────────────────────────────

test("there are so many living keys and no more; those that are over do not count, and do not pile up", () => {
  const living = Array.from({ length: maxAccessKeys }, () => aKey());
  const over = Array.from({ length: maxAccessKeys + 2 }, (_, n) => aKey({ revokedAt: n }));
  const add = (keys: readonly AccessKey[]) => addKey(anAccessKey(), { keys, now: 10_000, origin });

  expect(add(living)).toMatchObject({ answer: { outcome: "full", key: null }, isNew: false, entry: null, gone: [] });
  const addition = add([...living.slice(1), ...over]);
  expect(addition.answer.outcome).toBe("added");
  expect([...addition.gone].sort()).toEqual([over[0]!.id, over[1]!.id].sort());
  expect(add([...living.slice(1), aKey({ parent: living[1]!.id })]).answer.outcome).toBe("added");
});

// ── the door ────────────────────────────────────────────────────────────────

test("a key is made with a token that is in no store", async () => {
  const store = await memory();
  const queue = new Queue({ store });

  const { key, token } = await queue.createAccessKey(
    { name: "ci", roles: ["observe", "submit", "submit"], types: ["mail.*"], canReadPayloads: true },
    { actor: "ada", requestId: "r-1" },
  );

  expect(key).toMatchObject({ name: "ci", roles: ["submit", "observe"], types: ["mail.*"], canReadPayloads: true });
  expect([key.parent, key.expiresAt, key.hint]).toEqual([null, null, token.slice(0, 10)]);
  const keys = await queue.accessKeys();
  expect(keyOfToken(keys, token)).toEqual(key);
  const { records } = await queue.audit();
  expect(records).toMatchObject([{ action: "create_key", actor: "ada", requestId: "r-1" }]);
  expect(JSON.stringify([keys, records])).not.toContain(token.slice(10));
});

test("a session may do what its key may, ends with it, and is no parent", async () => {
  const clock = new ManualClock();
  const queue = new Queue({ store: await memory({ clock }), clock });
  const { key } = await queue.createAccessKey({
    name: "ada",
    roles: ["operate"],
    types: ["mail.*"],
    expiresAt: new Date(clock.now() + 1_000),
  });

  const made = await queue.createSession(key, { expiresAt: new Date(clock.now() + 5_000) });
  const session = made!.key;

  const { roles, types, canReadPayloads, expiresAt } = key;
  expect(session).toMatchObject({ parent: key.id, roles, types, canReadPayloads, expiresAt });
  expect(keyOfToken(await queue.accessKeys(), made!.token)).toEqual(session);
  const another = { expiresAt: new Date(clock.now() + 500) };
  expect(await queue.createSession(session, another)).toBeNull();
  expect(await queue.revokeAccessKey(key.id)).toBe(true);
  expect(await queue.createSession(key, another)).toBeNull();
  const keys = new Map((await queue.accessKeys()).map((each) => [each.id, each]));
  expect(isGood(keys.get(session.id)!, clock.now(), (id) => keys.get(id))).toBe(false);
  expect((await queue.audit()).records.map(({ action }) => action)).toEqual(["revoke_key", "create_key"]);
});

test.each([
  { name: "" },
  { name: " " },
  { name: "x".repeat(101) },
  { name: "two\nlines" },
  { roles: [] },
  { roles: undefined as never },
  { roles: ["root" as never] },
  { types: [] },
  { types: ["no such type!"] },
  { types: ["a*b"] },
  { types: [""] },
  { types: Array.from({ length: 101 }, (_, n) => `t${n}`) },
  { expiresAt: new Date(0) },
  { expiresAt: new Date(Number.NaN) },
])("a key with %j is refused, and says what to give", async (options) => {
  const queue = new Queue({ store: await memory() });

  const making = queue.createAccessKey({ name: "ci", roles: ["submit"], ...options });

  await expect(making).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  await expect(making).rejects.toThrow(/give|name the types|use an entry/i);
  expect(await queue.accessKeys()).toEqual([]);
});

test("one key too many is refused, and says what to do", async () => {
  const store = await memory();
  const queue = new Queue({ store });
  for (let n = 0; n < maxAccessKeys; n++) await store.addAccessKey(anAccessKey(), origin);

  const making = queue.createAccessKey({ name: "ci", roles: ["submit"] });

  await expect(making).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  await expect(making).rejects.toThrow(/There are 1000 access keys already.*Revoke/);
});
