import { postgres } from "sluice/postgres";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aSchema, sluice, type Schema } from "../cli.test.process.js";

let target: Schema;

beforeEach(async () => {
  target = await aSchema();
});

afterEach(() => target.drop());

const migrate = (...more: readonly string[]) =>
  sluice(["migrate", "--store", target.url, "--schema", target.schema, ...more]);

test("a schema is made and brought up to date", async () => {
  const first = await migrate();
  const second = await migrate();

  expect(first).toMatchObject({ code: 0, stderr: "" });
  expect(first.stdout).toMatch(
    new RegExp(`^(\\d+) steps, now at version \\1: schema ${target.schema} of .+ is up to date\\.\\n$`),
  );
  expect(second.stdout).toMatch(/^Nothing to do: /);
  await (await postgres({ ...target, migrate: false })).close();
});

test("the SQL of a dry run, run by hand, leaves what migrate leaves", async () => {
  const { code, stdout } = await migrate("--dry-run");
  expect(code).toBe(0);
  await expect(postgres({ ...target, migrate: false })).rejects.toMatchObject({ code: "SCHEMA_OUTDATED" });

  await target.query(stdout);

  const store = await postgres({ ...target, migrate: false });
  expect(await store.counts()).toEqual([]);
  await store.close();
  expect((await migrate("--dry-run")).stdout).toBe("-- nothing to do\n");
});

test("the SQL of a dry run is one transaction", async () => {
  const { stdout } = await migrate("--dry-run");

  await expect(target.query(stdout.replace("commit;", "select 1/0;\ncommit;"))).rejects.toThrow("division by zero");
  await target.query("rollback");

  await expect(postgres({ ...target, migrate: false })).rejects.toMatchObject({ code: "SCHEMA_OUTDATED" });
});

test("a wrong password is one sentence, without the password", async () => {
  const url = new URL(target.url);
  url.username = "nobody";
  url.password = "s3cr3t";

  const { code, stdout, stderr } = await sluice(["migrate", "--store", url.href]);

  expect(code).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^sluice: PostgreSQL refused to let nobody@[^\n]+\n$/);
  expect(stderr).not.toContain("s3cr3t");
});
