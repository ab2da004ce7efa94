/**
 * The names of server folders, which say who the owner is; and removes what is left of those whose owner and whose guard were both
 * killed.
 */
import { mkdtemp, readdir, readFile, readlink, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const prefix = "sluice-server-";
const quitLimitMs = 5_000;

/** A new folder that belongs to this process. */
export async function makeHome(): Promise<string> {
  return mkdtemp(join(await homesFolder(), `${prefix}${process.pid}-`));
}

/** Folders that it may not delete, another user's, are left alone. */
export async function sweepAbandonedHomes(): Promise<void> {
  const homes = await homesFolder();
  for (const name of await readdir(homes)) {
    const owner = ownerOf(name);
    if (owner === null || (await isAlive(owner))) continue;
    const home = join(homes, name);
    await endProcessesIn(home);
    await rm(home, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** The system's temporary folder, as the system names it: macOS reaches it through a link. */
async function homesFolder(): Promise<string> {
  return realpath(tmpdir());
}

function ownerOf(name: string): number | null {
  const match = name.startsWith(prefix) ? /^(\d+)-/.exec(name.slice(prefix.length)) : null;
  return match === null ? null : Number(match[1]);
}

async function endProcessesIn(home: string): Promise<void> {
  let left = await processesIn(home);
  for (const pid of left) signal(pid, "SIGQUIT");
  const deadline = performance.now() + quitLimitMs;
  while (left.length > 0 && performance.now() < deadline) {
    await sleep(20);
    left = await processesIn(home);
  }
  for (const pid of left) signal(pid, "SIGKILL");
}

/**
 * Servers and their children never leave the folder in which they were started, which is a safer sign than a number in a file.
 * Only Linux tells; elsewhere a postmaster ends by itself within a minute after its folder was deleted.
 */
async function processesIn(home: string): Promise<readonly number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    const folder = await readlink(`/proc/${name}/cwd`).catch(() => "");
    if (folder === home || folder.startsWith(`${home}/`)) found.push(Number(name));
  }
  return found;
}

/** Zombies are not: in a container there may be nobody who buries the orphans. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return !/^State:\s+Z/m.test(status);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}
