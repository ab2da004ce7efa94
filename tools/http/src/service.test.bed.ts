/** Stores that several processes share, the service as processes on them, and clients that do not give up. */
import { fork, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { testPostgresUrl } from "@sluice/test-postgres";
import pg from "pg";
import type { Store } from "sluice";
import { postgres } from "sluice/postgres";
import { sqlite } from "sluice/sqlite";

/** Where a store is, for a process that is told. */
export type Place =
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "postgres"; readonly url: string; readonly schema: string };

export function openStore(place: Place): Promise<Store<unknown>> {
  return place.kind === "sqlite" ? sqlite({ path: place.path }) : postgres(place);
}

export interface Target {
  /** For the names of the tests. */
  readonly name: string;
  /** A place that is empty. */
  make(): Promise<Place>;
  /** Takes it away. No process may use it any more. */
  remove(place: Place): Promise<void>;
}

export const onSqlite: Target = {
  name: "SQLite",
  make: async () => ({ kind: "sqlite", path: join(mkdtempSync(join(tmpdir(), "sluice-http-")), "jobs.db") }),
  remove: async (place) => {
    if (place.kind === "sqlite") rmSync(join(place.path, ".."), { recursive: true });
  },
};

export const onPostgres: Target = {
  name: "PostgreSQL",
  make: async () => ({ kind: "postgres", url: testPostgresUrl(), schema: `http_${randomUUID().slice(0, 8)}` }),
  remove: async (place) => {
    if (place.kind !== "postgres") return;
    const client = new pg.Client(place.url);
    await client.connect();
    await client.query(`drop schema if exists "${place.schema}" cascade`);
    await client.end();
  },
};

const program = new URL("./service.test.program.js", import.meta.url);

/** The service as a process. */
export class ServiceProcess {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<[number | null, NodeJS.Signals | null]>;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
    this.#ended = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  }

  static async start(place: Place): Promise<ServiceProcess> {
    const child = fork(program, [JSON.stringify(place)]);
    const early = once(child, "exit").then(([code]) => {
      throw new Error(`The service ended at its start, with ${String(code)}.`);
    });
    const [url] = (await Promise.race([once(child, "message"), early])) as [string];
    early.catch(() => undefined);
    return new ServiceProcess(child, url);
  }

  /** @returns Its exit code, or the signal that ended it. */
  async end(signal: NodeJS.Signals): Promise<number | string | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal);
    const [code, by] = await this.#ended;
    return code ?? by;
  }
}

export interface Answered {
  readonly id: string;
  readonly outcome: string;
  /** How many requests got no answer, or one that says to ask elsewhere, before this. */
  readonly tries: number;
}

/** Sends a request again, each time to the next of the services, until one of them has answered it. */
export async function enqueueSurely(
  urls: () => readonly string[],
  { key, payload, first = 0 }: { readonly key: string; readonly payload: unknown; readonly first?: number },
): Promise<Answered> {
  const until = Date.now() + 60_000;
  for (let tries = 0; ; tries++) {
    const there = urls();
    const url = there[(first + tries) % there.length]!;
    try {
      const response = await fetch(`${url}/v1/jobs`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify(payload),
      });
      const { id, outcome, code } = (await response.json()) as Record<string, string>;
      if (response.status === 202) return { id: id!, outcome: outcome!, tries };
      if (response.status !== 503) throw new Refused(`${response.status} ${code}`);
    } catch (error) {
      // A connection that was cut is what this is for.
      if (error instanceof Refused || Date.now() > until) throw error;
    }
    await sleep(20);
  }
}

class Refused extends Error {
  override readonly name = "Refused";
}
