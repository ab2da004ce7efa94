/** What every verb has in common: exit codes, one sentence for what is wrong, no stack and no password. */
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aFolder, sluice, type Folder } from "./cli.test.process.js";

const secret = "s3cr3t";
let folder: Folder;

beforeEach(() => {
  folder = aFolder();
});

afterEach(() => folder.remove());

test("help and version are answers", async () => {
  const help = await sluice(["--help"]);
  const version = await sluice(["--version"]);

  expect(help).toMatchObject({ code: 0, stderr: "" });
  expect(help.stdout).toContain("migrate");
  expect(help.stdout).toContain("copy");
  expect(help.stdout).toContain("why");
  expect(version).toMatchObject({ code: 0, stdout: "0.1.0\n" });
});

test.each([
  { title: "no verb", args: [] },
  { title: "a verb that is not there", args: ["mend"] },
  { title: "an option that is not there", args: ["migrate", "--stor=x"] },
  { title: "no store", args: ["migrate"] },
  { title: "no job", args: ["why", "--store", "sqlite:a.db"] },
  { title: "an empty store", args: ["migrate", "--store", ""] },
  { title: "no target", args: ["copy", "--from", "sqlite:a.db"] },
  { title: "an argument too many", args: ["migrate", "--store", "sqlite:a.db", "b.db"] },
  { title: "an option with a secret", args: ["copy", `--form=postgres://u:${secret}@h/d`] },
])("used wrongly: $title", async ({ args }) => {
  const { code, stdout, stderr } = await sluice(args);

  expect(code).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toMatch(args.length === 0 ? /^Usage: sluice/ : /^sluice: .+\nAdd --help to see what there is\.\n$/);
  expect(stderr).not.toContain(secret);
});

test.each([
  { store: "jobs.db", says: "--store does not say which kind of store it is" },
  { store: `mysql://root:${secret}@host/db`, says: "--store begins with mysql:, and there is no such kind of store" },
  { store: "memory:", says: "a store that ends with its process" },
  { store: "sqlite:", says: "--store names no file" },
  { store: `postgres://root:${secret}/x@host:1/db`, says: "url is not the address of a PostgreSQL database" },
  { store: `postgres://root:${secret}@127.0.0.1:1/db`, says: "Nobody answers at root@127.0.0.1:1/db" },
  { store: `postgres://root:${secret}@no.such.host.invalid/db`, says: "The host of root@no.such.host.invalid" },
  { store: "sqlite:FOLDER/text.db", says: "text.db is not a SQLite database" },
  { store: "sqlite:/proc/nowhere/jobs.db", says: "Cannot write to /proc/nowhere/jobs.db" },
])("no good store: $store", async ({ store, says }) => {
  writeFileSync(folder.path("text.db"), "no database, but long enough to be asked whether it is one");

  const { code, stdout, stderr } = await sluice(["migrate", "--store", store.replace("FOLDER", folder.path(""))]);

  expect(code).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^sluice: [^\n]+\n$/);
  expect(stderr).toContain(says);
  expect(stderr).not.toContain(secret);
  expect(stderr).not.toMatch(/\bat .+\.js:\d+/);
});

test.each([
  { from: "sqlite:FOLDER/no.db", to: "postgres://h/d", says: "There is no file" },
  { from: "postgres://h/d", to: "postgres://h/d", says: "A copy goes from a SQLite file" },
  { from: "sqlite:FOLDER/no.db", to: "sqlite:FOLDER/b.db", says: "A copy goes to PostgreSQL" },
])("nothing to copy: $from to $to", async ({ from, to, says }) => {
  const here = (text: string) => text.replace("FOLDER", folder.path(""));

  const { code, stderr } = await sluice(["copy", "--from", here(from), "--to", here(to)]);

  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: [^\n]+\n$/);
  expect(stderr).toContain(says);
});
