import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findLocalPostgres } from "./local-postgres.js";
import { startPostgres, type PostgresServer, type ShutdownMode } from "./postgres.js";
import { embeddedPrograms, reachablePrograms } from "./programs.js";
import { ServerHome } from "./server-home.js";

describe("a server from npm", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", max_connections: "37" } });
  });
  afterAll(() => server.stop());

  test("is PostgreSQL 18 with the settings that were given, and PostgreSQL's own else", async () => {
    expect(await ask(server.url, "show server_version")).toMatch(/^18\./);
    expect(await ask(server.url, "show fsync")).toBe("off");
    expect(await ask(server.url, "show max_connections")).toBe("37");
    expect(await ask(server.url, "show synchronous_commit")).toBe("on");
  });

  test("sorts text as people do, not by bytes", async () => {
    expect(await ask(server.url, "select 'a' < 'B'")).toBe(true);
  });

  test("wants its password", async () => {
    const url = new URL(server.url);
    url.password = "wrong";
    await expect(ask(url.href, "select 1")).rejects.toMatchObject({ code: "28P01" });
  });

  test("listens on 127.0.0.1 only", async () => {
    const others = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ family, internal }) => family === "IPv4" && !internal);
    for (const { address } of others) {
      const url = new URL(server.url);
      url.hostname = address;
      await expect(ask(url.href, "select 1")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    }
    expect(await ask(server.url, "show unix_socket_directories")).toBe("");
  });

  test.each<[ShutdownMode, string]>([
    ["fast", "database system was shut down at"],
    ["immediate", "database system was not properly shut down"],
  ])("restarts (%s) on the same port with what was committed", async (mode, said) => {
    await ask(server.url, `create table kept_${mode} as select 7 as n`);
    const session = new pg.Client(server.url);
    await session.connect();
    const lost = new Promise((resolve) => session.on("error", resolve));
    const before = await readFile(server.logPath, "utf8");

    await server.restart(mode);

    await lost;
    expect(await ask(server.url, `select n from kept_${mode}`)).toBe(7);
    expect((await readFile(server.logPath, "utf8")).slice(before.length)).toContain(said);
  });

  test("can be started again after it was killed", async () => {
    process.kill(await postmasterOf(server), "SIGKILL");
    await server.restart();
    expect(await ask(server.url, "select 1")).toBe(1);
  });
});

test("a stopped server leaves nothing behind", async () => {
  const server = await startPostgres({ settings: { fsync: "off" } });
  const pid = await postmasterOf(server);
  await Promise.all([server.stop(), server.stop()]);

  expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  expect(existsSync(dirname(server.dataDir))).toBe(false);
  await expect(server.restart()).rejects.toThrow("was stopped");
});

test("a setting that PostgreSQL refuses is told with the log, and nothing is left", async () => {
  const failure = await startPostgres({ settings: { shared_buffers: "no number" } }).catch((error: Error) => error);
  expect((failure as Error).message).toContain("ended while it started");
  expect((failure as Error).message).toContain('invalid value for parameter "shared_buffers": "no number"');
  const left = (await readdir(tmpdir())).filter((name) => name.startsWith(`sluice-server-${process.pid}-`));
  expect(left).toEqual([]);
});

test("the PostgreSQL of this machine runs with its defaults", async ({ skip }) => {
  const local = await findLocalPostgres();
  if ("unavailable" in local) {
    process.stderr.write(`Skipped: ${local.unavailable}\n`);
    return skip(local.unavailable);
  }
  const server = await startPostgres({ binDir: local.binDir });
  try {
    expect(await ask(server.url, "show server_version")).toBe(local.version);
    expect(await ask(server.url, "show fsync")).toBe("on");
    expect(await ask(server.url, "show synchronous_commit")).toBe("on");
    await server.restart("immediate");
    expect(await ask(server.url, "select 1")).toBe(1);
  } finally {
    await server.stop();
  }
});

test("a folder without the programs is named", async () => {
  await expect(startPostgres({ binDir: "/nowhere" })).rejects.toThrow("/nowhere/initdb");
});

test.skipIf(process.getuid?.() !== 0)("programs that the server's user cannot reach are copied", async () => {
  const home = await ServerHome.open();
  // mkdtemp makes a folder that only its owner, root, can enter.
  const closed = await mkdtemp(join(tmpdir(), "sluice-closed-"));
  try {
    const { initdb } = await embeddedPrograms(home);
    await mkdir(join(closed, "native"));
    await cp(dirname(dirname(initdb)), join(closed, "native"), { recursive: true, verbatimSymlinks: true });

    const programs = await reachablePrograms(join(closed, "native", "bin"), home);

    expect(dirname(dirname(dirname(programs.initdb)))).toBe(home.path);
    await home.run(programs.postgres, ["--version"]);
    expect(await readFile(home.logPath, "utf8")).toContain("postgres (PostgreSQL) 18");
  } finally {
    await rm(closed, { recursive: true });
    await home.close();
  }
  expect(existsSync(home.path)).toBe(false);
});

async function postmasterOf({ dataDir }: PostgresServer): Promise<number> {
  return Number.parseInt(await readFile(join(dataDir, "postmaster.pid"), "utf8"));
}

/** The only value of the only row. */
async function ask(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const { rows } = await client.query<unknown[]>({ text: sql, rowMode: "array" });
    return rows[0]?.[0];
  } finally {
    await client.end();
  }
}
