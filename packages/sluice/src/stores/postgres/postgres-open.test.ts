/**
 * Opening the store where something is wrong: each time one sentence that says what it is and what to do, and never the password,
 * wherever somebody looks for it. Then what must not go wrong when several open at once.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, copyFileSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect, promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { conditionOf } from "../../audit.js";
import { defineJob } from "../../definition.js";
import { Events } from "../../events.js";
import { JobsError } from "../../errors.js";
import { handle } from "../../processor.js";
import { defaultSettings, toSettingsRecord } from "../../settings.js";
import { aNewJob } from "../../testing/index.js";
import { Bed, changed, countsOf, until } from "./faults.test.bed.js";
import { planMigrations, postgres } from "./index.js";
import type { PostgresOptions } from "./index.js";

/** In every URL of this file. */
const password = `canary-${randomBytes(6).toString("hex")}`;

let bed: Bed;
/** Of a superuser with that password. */
let admin: string;
beforeAll(async () => {
  bed = await Bed.start();
  await bed.ask(`create role boss superuser login password '${password}'`);
  admin = changed(bed.server.url, (url) => Object.assign(url, { username: "boss", password }));
});
afterEach(() => bed.clear());
afterAll(() => bed.server.stop());

/** What the store is refused with. */
async function refusal(options: Partial<PostgresOptions>): Promise<JobsError> {
  const opened = await postgres({ url: admin, timeoutMs: 5_000, ...options }).catch((error: unknown) => error);
  expect(opened).toBeInstanceOf(JobsError);
  expect(placesOf(password, opened)).toEqual([]);
  expect(JSON.stringify(opened)).not.toContain(password);
  expect(inspect(opened, { depth: Infinity, showHidden: true })).not.toContain(password);
  return opened as JobsError;
}

/** Every way from a value to a text: its own properties, seen by loops or not, and theirs. */
function placesOf(text: string, value: unknown, path = "error", seen = new Set<unknown>()): readonly string[] {
  if (typeof value === "string") return value.includes(text) ? [path] : [];
  if (value === null || (typeof value !== "object" && typeof value !== "function") || seen.has(value)) return [];
  seen.add(value);
  return Reflect.ownKeys(value).flatMap((key) => {
    const { value: inner } = Object.getOwnPropertyDescriptor(value, key) as PropertyDescriptor;
    return placesOf(text, inner, `${path}.${String(key)}`, seen);
  });
}

function hostOf(url: string): string {
  const { username, host, pathname } = new URL(url);
  return `${username}@${host}${pathname}`;
}

const notAnAddress =
  "url is not the address of a PostgreSQL database. Give one like postgres://user:password@host:5432/database, " +
  "with special characters in the password percent-encoded.";

describe("a URL", () => {
  test.each([
    ["nothing", ""],
    ["a host", "localhost:5432/app"],
    ["what libpq takes", `host=localhost user=app password=${password}`],
    ["another database's", `mysql://app:${password}@localhost/app`],
    ["one without a host's place", `postgres:app:${password}`],
    ["a password with a slash", `postgres://app:12/${password}@localhost/app`],
    ["a password with a question mark", `postgres://app:12?${password}@localhost/app`],
    ["a password with a hash", `postgres://app:12#${password}@localhost/app`],
    ["a port that is none", `postgres://app:${password}@localhost/app?port=70000`],
  ])("that is %s is refused", async (_what, url) => {
    const error = await refusal({ url });

    expect(error).toMatchObject({ code: "INVALID_OPTIONS", message: notAnAddress, details: { option: "url" } });
    expect(error.cause).toBeUndefined();
  });

  test("to listen at is checked as well", async () => {
    const error = await refusal({ listenUrl: `localhost:5432/${password}` });

    expect(error).toMatchObject({ code: "INVALID_OPTIONS", details: { option: "listenUrl" } });
  });

  test("that names a file which is not there is refused", async () => {
    const error = await refusal({ url: `${admin}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem` });

    expect(error.code).toBe("INVALID_OPTIONS");
    expect(error.message).toBe(
      "The URL cannot be used: ENOENT: no such file or directory, open '/nowhere/ca.pem'. Correct its parameters.",
    );
  });
});

describe("an option", () => {
  test.each([
    [{ schema: "" }, 'schema is "". Give 1 to 40 letters, digits, "_" or "-", a letter or "_" first, and not "pg_".'],
    [
      { schema: 'a"b' },
      'schema is "a\\"b". Give 1 to 40 letters, digits, "_" or "-", a letter or "_" first, and not "pg_".',
    ],
    [
      { schema: "pg_jobs" },
      'schema is "pg_jobs". Give 1 to 40 letters, digits, "_" or "-", a letter or "_" first, and not "pg_".',
    ],
    [
      { schema: "a$$b" },
      'schema is "a$$b". Give 1 to 40 letters, digits, "_" or "-", a letter or "_" first, and not "pg_".',
    ],
    [{ timeoutMs: Number.NaN }, "timeoutMs is NaN. Give milliseconds from 1 to 2147483647."],
    [{ timeoutMs: 2 ** 31 }, "timeoutMs is 2147483648. Give milliseconds from 1 to 2147483647."],
    [{ connections: { reserved: 0 } }, "connections.reserved is 0. Give a whole number from 1."],
  ])("that cannot work is refused: %j", async (options, message) => {
    expect(await refusal(options)).toMatchObject({ code: "INVALID_OPTIONS", message });
  });
});

describe("a server", () => {
  test("that is not there", async () => {
    const url = changed(admin, (to) => (to.port = "1"));

    const error = await refusal({ url });

    expect(error.code).toBe("STORE_UNAVAILABLE");
    expect(error.message).toBe(`Nobody answers at ${hostOf(url)}. Start PostgreSQL there, or correct the URL.`);
  });

  test("whose socket is not there", async () => {
    const error = await refusal({ url: `postgres://app:${password}@/app?host=/nowhere` });

    expect(error.code).toBe("STORE_UNAVAILABLE");
    expect(error.message).toBe("Nobody answers at app@/nowhere:5432/app. Start PostgreSQL there, or correct the URL.");
  });

  test("whose host nobody knows", async () => {
    const url = changed(admin, (to) => (to.hostname = "no-such-host.invalid"));

    const error = await refusal({ url });

    expect(error.code).toBe("STORE_UNAVAILABLE");
    expect(error.message).toBe(`The host of ${hostOf(url)} is not known. Check the URL and the network.`);
  });

  test("that refuses the password", async () => {
    const url = changed(bed.server.url, (to) => (to.password = password));

    const error = await refusal({ url });

    expect(error.code).toBe("STORE_REFUSED");
    expect(error.message).toBe(`PostgreSQL refused to let ${hostOf(url)} in. Check user and password.`);
  });

  test("that wants a password where the URL has none", async () => {
    const url = changed(admin, (to) => (to.password = ""));

    const error = await refusal({ url });

    expect(error.code).toBe("STORE_REFUSED");
    expect(error.message).toBe(`PostgreSQL wants a password for ${hostOf(url)}, and the URL has none. Put it in.`);
  });

  test("that does not have the database", async () => {
    const url = changed(admin, (to) => (to.pathname = "nowhere"));

    const error = await refusal({ url });

    expect(error.code).toBe("STORE_REFUSED");
    expect(error.message).toBe(`There is no such database: ${hostOf(url)}. Create it, or correct the URL.`);
  });

  test("that does not know a parameter", async () => {
    const error = await refusal({ url: `${admin}?options=-c%20no_such=1` });

    expect(error.code).toBe("STORE_REFUSED");
    expect(error.message).toBe(
      `PostgreSQL refused to let ${hostOf(admin)} in: unrecognized configuration parameter "no_such".`,
    );
  });

  test("that is too old", async () => {
    const url = await bed.database();
    // A server of that age cannot be had here: this one lies about its version to one role, and the rest is as ever.
    await bed.ask("create schema past", url);
    await bed.ask(
      `create function past.current_setting(name text) returns text language sql as $$
         select case name when 'server_version_num' then '120022' when 'server_version' then '12.22'
           else pg_catalog.current_setting(name) end $$`,
      url,
    );
    await bed.ask(`alter role boss in database ${new URL(url).pathname.slice(1)} set search_path = past, pg_catalog`);
    const asBoss = changed(url, (to) => Object.assign(to, { username: "boss", password }));

    const error = await refusal({ url: asBoss });

    expect(error.code).toBe("POSTGRES_TOO_OLD");
    expect(error.message).toBe(
      `${hostOf(asBoss)} is PostgreSQL 12.22; Sluice needs version 13 or newer. Upgrade the server.`,
    );
    expect(await bed.ask("select 1 from pg_namespace where nspname = 'sluice'", url)).toEqual([]);
  });
});

describe("TLS", () => {
  const advice = "Set sslmode in the URL as the server needs it, and sslrootcert for a private authority.";

  test("that the server does not have", async () => {
    const error = await refusal({ url: `${admin}?sslmode=require` });

    expect(error.code).toBe("STORE_REFUSED");
    expect(error.message).toBe(
      `No TLS connection to ${hostOf(admin)}: The server does not support SSL connections. ${advice}`,
    );
  });

  test("with a certificate that nobody vouches for, that is another host's, and that is right", async () => {
    const certificate = await startTls();

    const unknown = await refusal({ url: `${admin}?sslmode=verify-full` });
    const vouchedFor = `${admin}?sslmode=verify-full&sslrootcert=${certificate}`;
    const another = await refusal({ url: changed(vouchedFor, (to) => (to.hostname = "localhost")) });
    const store = await bed.store({ url: vouchedFor });

    expect(unknown.code).toBe("STORE_REFUSED");
    expect(unknown.message).toBe(`No TLS connection to ${hostOf(admin)}: self-signed certificate. ${advice}`);
    expect(another.code).toBe("STORE_REFUSED");
    expect(another.message).toContain("Hostname/IP does not match certificate's altnames");
    const [row] = (await store.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()")).rows;
    expect(row).toEqual({ ssl: true });
  });

  test("that the server wants and the URL does not", async () => {
    await bed.ask(`create role careful login password '${password}'`);
    await startTls();
    const path = join(bed.server.dataDir, "pg_hba.conf");
    await writeFile(
      path,
      `hostssl all careful all scram-sha-256\nhost all careful all reject\n${await readFile(path, "utf8")}`,
    );
    await bed.ask("select pg_reload_conf()");
    const url = changed(admin, (to) => (to.username = "careful"));
    await until("the server to know it", async () => {
      const rows = await bed.ask("select 1 from pg_hba_file_rules where 'careful' = any (user_name)");
      return rows.length === 2;
    });

    const error = await refusal({ url });

    expect(error.code).toBe("STORE_REFUSED");
    expect(error.message).toContain("no encryption). Check user and sslmode, and pg_hba.conf on the server.");
  });

  /** A certificate of its own for 127.0.0.1, and who reads it may trust it. */
  async function startTls(): Promise<string> {
    const folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
    bed.atEnd(() => rmSync(folder, { recursive: true }));
    const [key, certificate] = [join(folder, "server.key"), join(folder, "server.crt")];
    await promisify(execFile)("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-subj", "/CN=sluice-test", "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-keyout", key, "-out", certificate],
    ]);
    const { uid, gid } = statSync(bed.server.dataDir);
    for (const name of ["server.key", "server.crt"]) {
      const path = join(bed.server.dataDir, name);
      copyFileSync(join(folder, name), path);
      chownSync(path, uid, gid);
    }
    await bed.ask("alter system set ssl = on");
    await bed.ask("select pg_reload_conf()");
    bed.atEnd(async () => {
      await bed.ask("alter system set ssl = off");
      await bed.ask("select pg_reload_conf()");
    });
    await until("the server to know it", async () => (await bed.ask<{ ssl: string }>("show ssl"))[0]?.ssl === "on");
    return certificate;
  }
});

describe("a role", () => {
  test("that may not make the schema is told which right it lacks", async () => {
    const url = await asStranger(await bed.database());

    const error = await refusal({ url });

    expect(error.code).toBe("STORE_REFUSED");
    const database = new URL(url).pathname.slice(1);
    expect(error.message).toBe(
      `${hostOf(url)} lacks a right (permission denied for database ${database}). Grant it as docs/postgres.md says, ` +
        "or run `sluice migrate` as a role that may create tables.",
    );
  });

  test("that may not use the schema is told so", async () => {
    const url = await bed.database();
    await bed.store({ url });
    const stranger = await asStranger(url);

    const error = await refusal({ url: stranger, migrate: false });

    expect(error.code).toBe("STORE_REFUSED");
    expect(error.message).toContain(
      "lacks a right (permission denied for schema sluice). Grant it as docs/postgres.md",
    );
  });

  async function asStranger(url: string): Promise<string> {
    const name = `stranger_${randomBytes(3).toString("hex")}`;
    await bed.ask(`create role ${name} login password '${password}'`);
    return changed(url, (to) => Object.assign(to, { username: name, password }));
  }
});

describe("a schema", () => {
  test("that is not there, or older, is refused where it may not be changed", async () => {
    const url = changed(await bed.database(), (to) => Object.assign(to, { username: "boss", password }));
    const steps = (await planMigrations({ url })).length;

    const missing = await refusal({ url, migrate: false });
    await bed.store({ url });
    await bed.ask("delete from sluice.migrations where version = (select max(version) from sluice.migrations)", url);
    const old = await refusal({ url, migrate: false });

    const advice = "behind this version of Sluice. Run `sluice migrate` as a role that may change it.";
    expect(missing.code).toBe("SCHEMA_OUTDATED");
    expect(missing.message).toBe(`The schema "sluice" of ${hostOf(url)} is ${steps} step(s) ${advice}`);
    expect(old.code).toBe("SCHEMA_OUTDATED");
    expect(old.message).toBe(`The schema "sluice" of ${hostOf(url)} is 1 step(s) ${advice}`);
  });

  test("of a newer version is refused", async () => {
    const url = changed(await bed.database(), (to) => Object.assign(to, { username: "boss", password }));
    const known = (await planMigrations({ url })).length;
    await bed.store({ url });
    await bed.ask("insert into sluice.migrations (version) values (999)", url);

    const error = await refusal({ url });

    expect(error.code).toBe("SCHEMA_TOO_NEW");
    expect(error.message).toBe(
      `The schema "sluice" has version 999, and this version of Sluice knows up to ${known}. Update Sluice here, too.`,
    );
  });

  test("of an older version keeps what was done to jobs and what was set, in the order of their times", async () => {
    const url = await bed.database();
    for (const { sql } of (await planMigrations({ url })).slice(0, 2)) await bed.ask(sql, url);
    const before = defaultSettings("mail");
    const pause = { actor: "ada", reason: "größer \u0000 '\ud800😀\udc00", since: 2, until: null };
    const change = { at: 2, actor: "ada", reason: pause.reason, before, after: { ...before, version: 1, pause } };
    const payload = JSON.stringify({ text: 'é\0 "\\/😀\ud800\n' });
    const { id } = aNewJob();
    const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;
    await bed.ask(
      `insert into sluice.audit (at, actor, action, job_id, job_type, state_before, state_after, payload_before, reason) values
        (1, 'gm', 'edit', '${id}', 'mail', 'failed', 'pending', ${quoted(payload)}, 'typo'),
        (3, 'gm', 'cancel', '${id}', 'mail', 'pending', 'cancelled', null, null);
      insert into sluice.settings_history (type, record) values ('mail', ${quoted(JSON.stringify(change))})`,
      url,
    );

    const store = await bed.store({ url });

    const { records } = await store.audit({ limit: 10 });
    const ofJob = { target: { kind: "job", id }, type: "mail", actor: "gm", requestId: null };
    expect(records).toMatchObject([
      { ...ofJob, at: 3, action: "cancel", before: conditionOf("pending"), after: conditionOf("cancelled") },
      { at: 2, actor: "ada", action: "set", target: { kind: "type", id: "mail" }, type: "mail" },
      { ...ofJob, at: 1, action: "edit", before: conditionOf("failed", payload), after: conditionOf("pending") },
    ]);
    expect(records.map(({ reason }) => reason)).toEqual([null, "größer \ufffd '\ufffd😀\ufffd", "typo"]);
    const set = toSettingsRecord(records[1]!);
    expect(set.before).toEqual(before);
    expect(set.after).toMatchObject({ version: 1, pause: { actor: "ada", since: 2 } });
    await expect(bed.ask("delete from sluice.audit", url)).rejects.toThrow(/append-only/);
    expect(await bed.ask("select 1 from pg_tables where tablename ~ 'settings_history|of_jobs'", url)).toEqual([]);
  });

  test("is made once, by whoever comes first of six", async () => {
    const url = await bed.database();

    const stores = await Promise.all(Array.from({ length: 6 }, () => bed.store({ url })));
    await Promise.all(stores.map((store) => store.enqueue([aNewJob()])));

    expect(await countsOf(stores[0]!)).toEqual({ pending: 6 });
    const [made] = await bed.ask("select count(*)::int as steps from sluice.migrations", url);
    expect(made).toEqual({ steps: (await planMigrations({ url: await bed.database() })).length });
    // All of today's and tomorrow's parts, though all six wanted to make them.
    const [parts] = await bed.ask(
      "select count(*)::int as days from pg_inherits where inhparent = 'sluice.history'::regclass and inhrelid::regclass::text ~ '_\\d{8}$'",
      url,
    );
    expect(parts).toEqual({ days: 2 });
  });

  test("can be opened while another process is in the middle of a transaction, though a day is missing", async () => {
    const url = await bed.database();
    const store = await bed.store({ url });
    const [{ part } = { part: "" }] = await bed.ask<{ part: string }>(
      "select max(inhrelid::regclass::text) as part from pg_inherits where inhparent = 'sluice.history'::regclass and inhrelid::regclass::text ~ '_\\d{8}$'",
      url,
    );
    await bed.ask(`drop table ${part}`, url);

    await store.write(async (tx) => {
      await tx.query("select count(*) from sluice.history");
      const second = await bed.store({ url });
      await second.enqueue([aNewJob()]);
    });

    expect(await countsOf(store)).toEqual({ pending: 1 });
    await store.tidy();
    expect(await bed.ask(`select to_regclass('${part}') is not null as made`, url)).toEqual([{ made: true }]);
  });
});

test("a worker whose server no longer lets it in says so without the password", async () => {
  const role = `leaver_${randomBytes(3).toString("hex")}`;
  const url = await bed.database();
  await bed.ask(`create role ${role} superuser login password '${password}'`);
  const store = await bed.store({ url: changed(url, (to) => Object.assign(to, { username: role, password })) });
  const events = new Events();
  const troubles: { readonly during: string; readonly error: unknown }[] = [];
  events.on("worker.troubled", (trouble) => troubles.push(trouble));
  await bed.worker({ store, events, processors: [handle(defineJob({ type: "x", payload: z.object({}) }), () => {})] });

  await bed.ask(`alter role ${role} password 'another'`);
  await bed.terminate();
  const wanted = ["claiming", "renewing the lease", "upkeep"];
  await until("all of it to be in trouble", () =>
    wanted.every((what) => troubles.some(({ during }) => during === what)),
  );
  await bed.ask(`alter role ${role} password '${password}'`);

  expect(placesOf(password, troubles)).toEqual([]);
  expect(inspect(troubles, { depth: Infinity, showHidden: true })).not.toContain(password);
  expect(troubles.map(({ error }) => (error as Error).message)).toContain(
    `PostgreSQL refused to let ${role}@127.0.0.1:${bed.server.port}${new URL(url).pathname} in. Check user and password.`,
  );
});
