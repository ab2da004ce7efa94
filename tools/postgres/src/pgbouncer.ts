/**
 * A PgBouncer in front of a server, as many hosts of PostgreSQL have one. In transaction mode whatever belongs to a session is not
 * there: LISTEN, prepared statements, advisory locks, SET. PgBouncer cannot be had from npm, so there may be none.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { promisify } from "node:util";
import { findProgram } from "./find-program.js";
import { freePort, withPort } from "./ports.js";
import { ServerHome } from "./server-home.js";
import type { Unavailable } from "./unavailable.js";

export interface PgBouncerOptions {
  /** Of the server behind it, with user and password. */
  readonly url: string;
  readonly poolMode: "session" | "transaction" | "statement";
  /** More of the section [pgbouncer], say `{ default_pool_size: "2" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface PgBouncer {
  /** The same user and database, through the pooler. */
  readonly url: string;
  stop(): Promise<void>;
}

/** @throws When there is a PgBouncer and it does not start. */
export async function startPgBouncer({
  url,
  poolMode,
  settings = {},
}: PgBouncerOptions): Promise<PgBouncer | Unavailable> {
  const program = await findProgram("pgbouncer", ["/usr/sbin"]);
  if (program === null) {
    return {
      unavailable: "There is no pgbouncer in PATH, nor in /usr/sbin; Debian has it: apt-get install pgbouncer.",
    };
  }
  const home = await ServerHome.open();
  try {
    const port = await freePort();
    const server = new URL(url);
    const users = await home.write("users.txt", `${quote(server.username)} ${quote(server.password)}\n`);
    const config = await home.write(
      "pgbouncer.ini",
      toIni({
        databases: { "*": `host=${server.hostname} port=${server.port || "5432"}` },
        pgbouncer: {
          max_client_conn: "300",
          ...(await withoutPreparedStatements(program)),
          ...settings,
          pool_mode: poolMode,
          listen_addr: "127.0.0.1",
          listen_port: String(port),
          unix_socket_dir: "",
          auth_type: "scram-sha-256",
          auth_file: users,
        },
      }),
    );
    const running = await home.startUntil(program, [config], () => isListening(port));
    return {
      url: withPort(url, port),
      stop: async () => {
        await running.end("SIGTERM");
        await home.close();
      },
    };
  } catch (error) {
    await home.close();
    throw error;
  }
}

/** From 1.21 on it can keep prepared statements alive, and the newest do so by default; many that are in use cannot. */
async function withoutPreparedStatements(program: string): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await promisify(execFile)(program, ["--version"]);
  const [, major, minor] = /(\d+)\.(\d+)/.exec(stdout) ?? [];
  return Number(major) * 1_000 + Number(minor) >= 1_021 ? { max_prepared_statements: "0" } : {};
}

/** User and password come from a URL. */
function quote(encoded: string): string {
  return `"${decodeURIComponent(encoded).replaceAll('"', '""')}"`;
}

function toIni(sections: Readonly<Record<string, Readonly<Record<string, string>>>>): string {
  const lines = Object.entries(sections).flatMap(([section, values]) => [
    `[${section}]`,
    ...Object.entries(values).map(([name, value]) => `${name} = ${value}`),
  ]);
  return `${lines.join("\n")}\n`;
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
