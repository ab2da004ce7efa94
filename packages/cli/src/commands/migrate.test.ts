import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { DatabaseSync } from "@photostructure/sqlite";
import { planMigrations, sqlite } from "sluice/sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aFolder, sluice, type Folder } from "../cli.test.process.js";

let folder: Folder;

beforeEach(() => {
  folder = aFolder();
});

afterEach(() => folder.remove());

test("a SQLite file is made and brought up to date; SLUICE_STORE will do for --store", async () => {
  const path = folder.path("jobs.db");
  const env = { SLUICE_STORE: `sqlite:${path}` };
  const steps = (await planMigrations({ path })).length;

  const first = await sluice(["migrate"], env);
  const second = await sluice(["migrate"], env);

  expect(first).toEqual({
    code: 0,
    stdout: `${steps} steps, now at version ${steps}: ${path} is up to date.\n`,
    stderr: "",
  });
  expect(second.stdout).toBe(`Nothing to do: ${path} is up to date.\n`);
  await (await sqlite({ path, migrate: false })).close();
});

test("a dry run changes nothing, and its SQL leaves what migrate leaves", async () => {
  const path = folder.path("jobs.db");
  const { code, stdout } = await sluice(["migrate", "--store", `sqlite:${path}`, "--dry-run"]);
  expect(code).toBe(0);
  expect(existsSync(path)).toBe(false);

  const database = new DatabaseSync(path);
  database.exec(stdout);
  database.close();

  await (await sqlite({ path, migrate: false })).close();
  const again = await sluice(["migrate", "--store", `sqlite:${path}`, "--dry-run"]);
  expect(again.stdout).toBe("-- nothing to do\n");
});

test("a dry run leaves a database of somebody else as it is", async () => {
  const path = folder.path("notes.db");
  const database = new DatabaseSync(path);
  database.exec("create table notes (text text)");
  database.close();
  copyFileSync(path, folder.path("before.db"));

  const { stdout } = await sluice(["migrate", "--store", `sqlite:${path}`, "--dry-run"]);

  expect(stdout).toContain("create table sluice_jobs");
  expect(readFileSync(path).equals(readFileSync(folder.path("before.db")))).toBe(true);
  expect(existsSync(`${path}-wal`)).toBe(false);
});
