/**
 * The errors of PostgreSQL and its driver under our names, each with what to do. No message carries a password.
 */
import { JobsError } from "../../errors.js";

/** The address without its secrets. */
export function describeUrl(url: string): string {
  try {
    const { username, hostname, port, pathname, searchParams } = parseUrl(url);
    const host = searchParams.get("host") ?? hostname;
    return `${decodeURIComponent(username) || "(default user)"}@${host || "localhost"}:${searchParams.get("port") ?? (port || 5432)}${pathname}`;
  } catch {
    return "the database";
  }
}

/** Also of a Unix socket, `postgres://user@/database?host=/folder`: the driver takes what the standard calls no URL. */
export function parseUrl(url: string): URL {
  return new URL(url.replace("@/", "@localhost/"));
}

/** As the server, the system or the driver gives it: none of them has all of these. */
interface DriverError extends Error {
  readonly code?: string;
  readonly severity?: string;
}

/** What passes unnamed is an error of a statement: ours, or the application's in its own transaction. */
export function toStoreError(error: unknown, place: string): unknown {
  if (error instanceof JobsError || !(error instanceof Error)) return error;
  const { code, severity } = error as DriverError;
  // Several addresses, each refused: the message is empty.
  const message = (error.message || code) ?? "no reason given";
  const say = (kind: "STORE_UNAVAILABLE" | "STORE_REFUSED", text: string) =>
    new JobsError(kind, text, { place, ...(code === undefined ? {} : { reason: code }), cause: error });

  switch (code) {
    case "28P01":
      return say("STORE_REFUSED", `PostgreSQL refused to let ${place} in. Check user and password.`);
    case "28000":
      return say(
        "STORE_REFUSED",
        `PostgreSQL refused to let ${place} in (${message}). Check user and sslmode, and pg_hba.conf on the server.`,
      );
    case "3D000":
      return say("STORE_REFUSED", `There is no such database: ${place}. Create it, or correct the URL.`);
    case "42501":
      return say(
        "STORE_REFUSED",
        `${place} lacks a right (${message}). Grant it as docs/postgres.md says, or run \`sluice migrate\` as a role that may create tables.`,
      );
    case "25006":
      return say(
        "STORE_UNAVAILABLE",
        `${place} takes no writes: it is a standby or read-only. Point the URL at the primary, or wait for the failover to end.`,
      );
    case "53300":
      return say(
        "STORE_UNAVAILABLE",
        `${place} has no connection left. Raise max_connections, give this process fewer \`connections\`, or put a pooler in between.`,
      );
    case "53100":
    case "53200":
      return say("STORE_UNAVAILABLE", `The server of ${place} is out of space or memory: ${message}.`);
    case "40001":
    case "40P01":
    case "55P03":
    case "57014":
      return say("STORE_UNAVAILABLE", `${place} is too busy: ${message}. It is safe to try again.`);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return say("STORE_UNAVAILABLE", `The host of ${place} is not known. Check the URL and the network.`);
    case "ECONNREFUSED":
    case "ENOENT":
      return say("STORE_UNAVAILABLE", `Nobody answers at ${place}. Start PostgreSQL there, or correct the URL.`);
    default:
      break;
  }
  if (/^SASL: .*password must be/.test(message)) {
    return say("STORE_REFUSED", `PostgreSQL wants a password for ${place}, and the URL has none. Put it in.`);
  }
  if (isTls(error)) {
    return say(
      "STORE_REFUSED",
      `No TLS connection to ${place}: ${message}. Set sslmode in the URL as the server needs it, and sslrootcert for a private authority.`,
    );
  }
  if (message === "timeout exceeded when trying to connect") {
    return say(
      "STORE_UNAVAILABLE",
      `All connections of this process to ${place} were busy for too long. Raise \`connections\`, or find what holds them.`,
    );
  }
  if (isConnectionTrouble(error)) {
    return say("STORE_UNAVAILABLE", `The connection to ${place} failed: ${message}. It is safe to try again.`);
  }
  if (severity === "FATAL") return say("STORE_REFUSED", `PostgreSQL refused to let ${place} in: ${message}.`);
  return error;
}

function isTls({ code, message }: DriverError): boolean {
  return (
    /does not support SSL|SSL off|SSL connection is required/i.test(message) ||
    /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|EPROTO)/.test(code ?? "")
  );
}

/**
 * Classes of SQLSTATE: 08 connection, 57P operator intervention; a transaction that was open for too long; codes of the system's
 * sockets; and what pg says without one.
 */
function isConnectionTrouble({ code, message }: DriverError): boolean {
  if (code !== undefined) {
    return (
      /^(08|57P|25P03|25P04)/.test(code) ||
      /^(ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ECONNABORTED)$/.test(code)
    );
  }
  return /connection terminated|timeout|not queryable|establishing an SSL connection|unexpected \w+ message/i.test(
    message,
  );
}

/**
 * Whether a connection should be given up after this error. Also one to a server that takes no writes: it stays open after a
 * failover, while the address leads to another server already.
 */
export function isOfNoUse(error: DriverError): boolean {
  return isConnectionTrouble(error) || error.code === "25006";
}
