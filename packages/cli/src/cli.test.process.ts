/**
 * The program as people run it: a process of its own, with what it printed and how it ended. And stores for it, all gone after the test.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testPostgresUrl } from "@sluice/test-postgres";
import pg from "pg";
import type { Store } from "sluice";
import { Output } from "./output.js";
import { run } from "./program.js";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const main = new URL("./main.js", import.meta.url).pathname;

export function startSluice(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, [main, ...args], {
    env: { ...process.env, SLUICE_STORE: undefined, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

export async function sluice(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const child = startSluice(args, env);
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** The same in this process, for what needs none of its own: starting one takes half a second. */
export async function sluiceHere(args: readonly string[]): Promise<Ended> {
  let stdout = "";
  let stderr = "";
  const output = new Output({ write: (text) => (stdout += text) }, { write: (text) => (stderr += text) });
  const code = await run(args, { output, signal: new AbortController().signal });
  return { code, stdout, stderr };
}

export interface Folder {
  readonly path: (name: string) => string;
  readonly remove: () => void;
}

export function aFolder(): Folder {
  const folder = mkdtempSync(join(tmpdir(), "sluice-cli-"));
  return { path: (name) => join(folder, name), remove: () => rmSync(folder, { recursive: true }) };
}

export interface Schema {
  readonly url: string;
  readonly schema: string;
  /** Runs one text, be it many statements. */
  readonly query: (sql: string) => Promise<void>;
  readonly drop: () => Promise<void>;
}

/** The name of a schema that is not there yet. */
export async function aSchema(): Promise<Schema> {
  const url = testPostgresUrl();
  const schema = `cli_${randomUUID().slice(0, 8)}`;
  const client = new pg.Client(url);
  await client.connect();
  return {
    url,
    schema,
    async query(sql) {
      await client.query(sql);
    },
    async drop() {
      await client.query(`drop schema if exists "${schema}" cascade`);
      await client.end();
    },
  };
}

/** All that can be seen of a store through the port, but for workers. */
export async function everythingIn(store: Store<unknown>) {
  const jobs = [];
  for (let before: string | null = null, isFirst = true; isFirst || before !== null; isFirst = false) {
    const page = await store.list({ filter: {}, page: { before, limit: 1_000 } });
    jobs.push(...page.jobs);
    before = page.next;
  }
  const belongings = [];
  // Those that nobody ever claimed have none.
  const touched = jobs.filter(({ epoch }) => epoch > 0);
  for (let at = 0; at < touched.length; at += 100) {
    const some = touched.slice(at, at + 100).map(async ({ id }) => ({
      id,
      ...(await store.history(id)),
      steps: await store.recall(id),
    }));
    belongings.push(...(await Promise.all(some)));
  }
  const counts = (await store.counts()).filter(({ counts }) => Object.values(counts).some((n) => n > 0));
  counts.sort((a, b) => (a.type < b.type ? -1 : 1));
  const { records } = await store.audit({ limit: 100_000 });
  // Places are each store's own.
  return { jobs, belongings, counts, audit: records.map((record) => ({ ...record, seq: null })) };
}
