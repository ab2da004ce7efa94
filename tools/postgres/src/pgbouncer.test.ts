import pg from "pg";
import { expect, test } from "vitest";
import { findProgram } from "./find-program.js";
import { startPgBouncer } from "./pgbouncer.js";
import { testPostgresUrl } from "./test-server.js";

test("a pooler hands the server's session to another client after each transaction", async ({ skip }) => {
  const bouncer = await startPgBouncer({
    url: testPostgresUrl(),
    poolMode: "transaction",
    settings: { default_pool_size: "1" },
  });
  if ("unavailable" in bouncer) {
    process.stderr.write(`Skipped: ${bouncer.unavailable}\n`);
    return skip(bouncer.unavailable);
  }
  const clients = [new pg.Client(bouncer.url), new pg.Client(bouncer.url)] as const;
  try {
    for (const client of clients) await client.connect();
    const [one, other] = clients;
    const session = await sessionOf(one);
    expect(await sessionOf(other)).toBe(session);

    await one.query("begin");
    expect(await sessionOf(one)).toBe(session);
    const waiting = sessionOf(other);
    await one.query("commit");
    expect(await waiting).toBe(session);
    for (const client of clients) await client.end();
  } finally {
    await bouncer.stop();
  }
});

test("a pooler wants the server's password", async ({ skip }) => {
  const bouncer = await startPgBouncer({ url: testPostgresUrl(), poolMode: "session" });
  if ("unavailable" in bouncer) return skip(bouncer.unavailable);
  const url = new URL(bouncer.url);
  url.password = "wrong";
  try {
    await expect(new pg.Client(url.href).connect()).rejects.toThrow(/password|SASL/);
  } finally {
    await bouncer.stop();
  }
});

test("a pooler that does not start says why", async ({ skip }) => {
  const starting = startPgBouncer({
    url: testPostgresUrl(),
    poolMode: "transaction",
    settings: { default_pool_size: "many" },
  });
  const outcome = await starting.catch((error: Error) => error);
  if ("unavailable" in outcome) return skip(outcome.unavailable);
  expect((outcome as Error).message).toContain("default_pool_size");
});

test("a program that is nowhere is not found", async () => {
  expect(await findProgram("sluice-no-such-program", ["/usr/sbin"])).toBeNull();
});

async function sessionOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return rows[0]!.pid;
}
