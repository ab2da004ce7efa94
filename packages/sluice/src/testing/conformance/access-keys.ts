/**
 * Access keys as a store keeps them: whole, bounded, gone with their sessions, each told once to the audit. What a key may do is
 * access.ts, and tested there. Serves O4.
 */
import assert from "node:assert/strict";
import { maxSessions } from "../../access.js";
import type { AccessKey, NewAccessKey } from "../../access.js";
import { anAccessKey } from "../builders.js";
import { hour, only, second } from "./scene.js";
import type { Scene, TestCase } from "./scene.js";

const origin = { actor: "ada", reason: "ticket 12", requestId: "r-1" };
const day = 24 * hour;

async function add({ store }: Scene, overrides: Partial<NewAccessKey> = {}): Promise<AccessKey> {
  const { outcome, key } = await store.addAccessKey(anAccessKey(overrides), origin);
  assert.equal(outcome, "added");
  return key;
}

async function ids({ store }: Scene): Promise<readonly string[]> {
  return (await store.accessKeys()).map(({ id }) => id);
}

export function accessKeyCases(test: TestCase): void {
  test("a key is kept as it was made, with the store's time", async (scene) => {
    assert.deepEqual(await scene.store.accessKeys(), []);
    const plain = anAccessKey();
    const other = anAccessKey({
      name: "größer 🐉 ' \"",
      roles: ["submit", "observe"],
      types: ["mail.*", "import"],
      canReadPayloads: true,
      expiresAt: scene.clock.now() + hour,
    });

    const answer = await scene.store.addAccessKey(plain, origin);
    scene.clock.advance(second);
    await scene.store.addAccessKey(other, origin);

    const now = scene.clock.now();
    const first = { ...plain, createdAt: now - second, revokedAt: null };
    assert.deepEqual(answer, { outcome: "added", key: first });
    assert.deepEqual(await scene.store.accessKeys(), [first, { ...other, createdAt: now, revokedAt: null }]);
  });

  test("a key that is sent twice is there once, as it was at first", async (scene) => {
    const sent = anAccessKey();
    const first = await scene.store.addAccessKey(sent, origin);
    scene.clock.advance(second);

    assert.deepEqual(await scene.store.addAccessKey(sent, origin), first);
    assert.deepEqual(await ids(scene), [sent.id]);
    assert.equal((await scene.store.audit({ limit: 10 })).records.length, 1);
  });

  test("a revoked key and its sessions are revoked from that moment on, others are not", async (scene) => {
    const [key, other] = [await add(scene), await add(scene)];
    const session = await add(scene, { parent: key.id });
    const foreign = await add(scene, { parent: other.id });
    scene.clock.advance(second);
    const now = scene.clock.now();

    assert.equal(await scene.store.revokeAccessKey(key.id, origin), true);
    scene.clock.advance(second);
    assert.equal(await scene.store.revokeAccessKey(key.id, origin), true);
    assert.equal(await scene.store.revokeAccessKey("no such key", origin), false);

    const revoked = new Map((await scene.store.accessKeys()).map(({ id, revokedAt }) => [id, revokedAt]));
    assert.deepEqual(
      [key, session, other, foreign].map(({ id }) => revoked.get(id)),
      [now, now, null, null],
    );
  });

  test("the audit tells that a key was made and revoked, once, and nothing that proves it; and nothing of sessions", async (scene) => {
    const key = await add(scene, { name: "ci", roles: ["submit"], types: ["mail.*"] });
    const session = await add(scene, { parent: key.id });
    await scene.store.revokeAccessKey(session.id, origin);
    await scene.store.revokeAccessKey(key.id, origin);
    await scene.store.revokeAccessKey(key.id, origin);

    const { records } = await scene.store.audit({ target: { kind: "key", id: key.id }, limit: 10 });
    const told = { name: "ci", hint: key.hint, roles: ["submit"], types: ["mail.*"], canReadPayloads: false, expiresAt: null }; // prettier-ignore
    assert.deepEqual(
      records.map(({ seq: _seq, ...record }) => record),
      [
        { action: "revoke_key", before: JSON.stringify(told), after: null },
        { action: "create_key", before: null, after: JSON.stringify(told) },
      ].map((each) => ({
        ...origin,
        ...each,
        at: scene.clock.now(),
        target: { kind: "key", id: key.id },
        type: null,
      })),
    );
    assert.equal((await scene.store.audit({ limit: 10 })).records.length, 2);
  });

  test("a session is for a key that is good, and for no session", async (scene) => {
    const gone = { outcome: "parent_gone", key: null };
    const sessionOf = (parent: string) => scene.store.addAccessKey(anAccessKey({ parent }), origin);
    const expired = await add(scene, { expiresAt: scene.clock.now() + second });
    const revoked = await add(scene);
    await scene.store.revokeAccessKey(revoked.id, origin);
    const session = await add(scene, { parent: (await add(scene)).id });
    scene.clock.advance(second);

    for (const parent of [expired.id, revoked.id, session.id, "no such key"]) {
      assert.deepEqual(await sessionOf(parent), gone);
    }
  });

  test("of a key, the newest sessions stay, whoever adds them at one moment, and those of others", async (scene) => {
    const [key, other] = [await add(scene), await add(scene)];
    const foreign = await add(scene, { parent: other.id });
    const first = await add(scene, { parent: key.id });
    scene.clock.advance(1);
    const addSome = (n: number) => Promise.all(Array.from({ length: n }, () => add(scene, { parent: key.id })));
    const sessions = [...(await addSome(maxSessions - 3)), ...(await addSome(5))].map(({ id }) => id);

    const left = await ids(scene);
    assert.deepEqual(left.slice(0, 3), [key.id, other.id, foreign.id]);
    assert.equal(left.length, 3 + maxSessions);
    assert.equal(left.includes(first.id), false);
    assert.equal(
      left.slice(3).every((id) => sessions.includes(id)),
      true,
    );
  });

  test("prune lets go of sessions a day after their end, of keys thirty days after", async (scene) => {
    const prune = () => scene.store.prune({ retentionMs: 0, limit: 10 });
    const parent = await add(scene);
    const expired = await add(scene, { expiresAt: scene.clock.now() + second });
    const revoked = await add(scene);
    await scene.store.revokeAccessKey(revoked.id, origin);
    const session = await add(scene, { parent: parent.id, expiresAt: scene.clock.now() + second });
    scene.clock.advance(day);
    await prune();
    assert.equal((await ids(scene)).includes(session.id), true);

    scene.clock.advance(second);
    assert.equal((await ids(scene)).includes(session.id), false);
    await prune();
    // What is not there is not known: it may be added again.
    assert.equal(
      (await scene.store.addAccessKey({ ...anAccessKey(), id: session.id }, origin)).key?.createdAt,
      scene.clock.now(),
    );
    await scene.store.revokeAccessKey(session.id, origin);
    assert.deepEqual([...(await ids(scene))].sort(), [parent.id, expired.id, revoked.id, session.id].sort());

    scene.clock.advance(31 * day);
    await prune();
    assert.equal(only(await scene.store.accessKeys()).id, parent.id);
  });
}
