/** Access keys at the command line: what is printed, kept, and refused. */
import { keyOfToken, Queue } from "sluice";
import { sqlite, type SqliteStore } from "sluice/sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aFolder, sluice, type Folder } from "../cli.test.process.js";

let folder: Folder;
let store: SqliteStore;
let queue: Queue<unknown>;

beforeEach(async () => {
  folder = aFolder();
  store = await sqlite({ path: folder.path("jobs.db") });
  queue = new Queue<unknown>({ store });
});

afterEach(async () => {
  await store.close();
  folder.remove();
});

const keys = (...args: readonly string[]) =>
  sluice(["keys", ...args], { SLUICE_STORE: `sqlite:${folder.path("jobs.db")}` });

test("a key is made, its token printed once, and listed without it", async () => {
  expect((await keys("list")).stdout).toBe("There are no keys. Make one with sluice keys create.\n");

  const made = await keys("create", "--name", "ci", "--role", "submit", "observe", "--type", "mail.*", "import", "--read-payloads", "--expires", "30d", "--actor", "ada", "--reason", "ticket 12"); // prettier-ignore

  expect(made.code).toBe(0);
  const token = made.stdout.trim();
  const [key] = await queue.accessKeys();
  expect(keyOfToken([key!], token)).toBe(key);
  expect(key).toMatchObject({
    name: "ci",
    roles: ["submit", "observe"],
    types: ["mail.*", "import"],
    canReadPayloads: true,
  });
  expect(Math.round((key!.expiresAt! - key!.createdAt) / 86_400_000)).toBe(30);
  expect(made.stderr).toMatch(
    /^The key \S+ \(ci\) may submit, observe mail\.\*, import and read payloads\.\nIts token/,
  );
  expect(made.stderr).toContain("shown this once");
  const list = await keys("list");
  expect(list.stdout).toMatch(
    /ci +slu_\S{6}… +submit, observe mail\.\*, import and read payloads +20.* UTC +20.* UTC\n$/,
  );
  expect(list.stdout).not.toContain(token.slice(10));
  expect((await queue.audit()).records).toMatchObject([
    { action: "create_key", actor: "ada", reason: "ticket 12", target: { kind: "key", id: key!.id } },
  ]);
});

test("a key is revoked, with its sessions", async () => {
  const made = JSON.parse((await keys("create", "--name", "ada", "--role", "admin", "--json")).stdout) as {
    key: { id: string };
    token: string;
  };
  const key = keyOfToken(await queue.accessKeys(), made.token)!;
  await queue.createSession(key, { expiresAt: new Date(Date.now() + 60_000) });

  const revoked = await keys("revoke", made.key.id, "--actor", "gm");

  expect(revoked).toMatchObject({ code: 0, stdout: `Revoked ${made.key.id}.\n`, stderr: "" });
  expect((await queue.accessKeys()).map(({ revokedAt }) => revokedAt === null)).toEqual([false, false]);
  expect((await keys("list")).stdout).toMatch(/revoked 20.* UTC\n$/);
  const listed = JSON.parse((await keys("list", "--json")).stdout) as Record<string, unknown>[];
  expect(listed.map(({ name, hash }) => [name, hash])).toEqual([["ada", undefined]]);
  expect((await queue.audit({ actions: ["revoke_key"] })).records[0]?.actor).toBe("gm");
});

test.each([
  { args: ["create", "--role", "admin"], code: 2, says: /--name/ },
  { args: ["create", "--name", "ci"], code: 2, says: /--role/ },
  { args: ["create", "--name", "ci", "--role", "root"], code: 1, says: /"root" is no role\. Give some of submit/ },
  { args: ["create", "--name", "ci", "--role", "admin", "--type", "a b"], code: 1, says: /no name of a type/ },
  { args: ["create", "--name", "ci", "--role", "admin", "--expires", "soon"], code: 2, says: /30min/ },
  {
    args: ["create", "--name", "ci", "--role", "admin", "--expires", "2020-01-01"],
    code: 1,
    says: /not in the future/,
  },
  { args: ["revoke", "no-such-key"], code: 1, says: /There is no key no-such-key in .*See sluice keys list/ },
])("$args is refused in one sentence", async ({ args, code, says }) => {
  const answer = await keys(...args);
  expect([answer.code, answer.stdout]).toEqual([code, ""]);
  expect(answer.stderr).toMatch(says);
  expect(await queue.accessKeys()).toEqual([]);
});
