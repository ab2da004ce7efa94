/** Servers whose owner is killed. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { guardName } from "./guard.js";
import { ServerHome } from "./server-home.js";

const patience = { timeout: 15_000, interval: 20 };

test.each<NodeJS.Signals>(["SIGKILL", "SIGTERM"])("a server ends when %s ends its owner", async (signal) => {
  const { owner, home, postmaster } = await startOwner();
  owner.kill(signal);
  await expect.poll(() => existsSync(home), patience).toBe(false);
  await expect.poll(() => isRunning(postmaster), patience).toBe(false);
});

test("a server does not keep a process alive that forgets it", async () => {
  const { owner, home } = await startOwner();
  owner.disconnect();
  const [code] = await once(owner, "exit");
  expect(code).toBe(0);
  await expect.poll(() => existsSync(home), patience).toBe(false);
});

test.skipIf(process.platform !== "linux")("the next start sweeps a server whose guard was killed as well", async () => {
  const { owner, home, postmaster } = await startOwner();
  process.kill(await guardOf(home), "SIGKILL");
  owner.kill("SIGKILL");
  await once(owner, "exit");
  expect(await isRunning(postmaster)).toBe(true);

  const next = await ServerHome.open();

  expect(existsSync(home)).toBe(false);
  expect(await isRunning(postmaster)).toBe(false);
  await next.close();
});

async function startOwner(): Promise<{
  readonly owner: ChildProcess;
  readonly home: string;
  readonly postmaster: number;
}> {
  const owner = fork(new URL("./owner.test.worker.js", import.meta.url));
  const [{ dataDir }] = (await once(owner, "message")) as [{ dataDir: string }];
  const postmaster = Number.parseInt(await readFile(join(dataDir, "postmaster.pid"), "utf8"));
  return { owner, home: dirname(dataDir), postmaster };
}

async function guardOf(home: string): Promise<number> {
  for (const name of await readdir("/proc")) {
    const command = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    if (command.endsWith(`\0${guardName}\0${home}\0`)) return Number(name);
  }
  throw new Error(`${home} has no guard.`);
}

/** Not so for a zombie. */
async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, "utf8").catch(() => ""));
}
