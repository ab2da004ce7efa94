/**
 * The worker processes of an experiment: real ones, which share nothing but the store.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

export interface Crew {
  /** Lets every process finish what it has in hand. */
  stop(): Promise<void>;
}

/** @param file Beside this one; says "ready" when it works, and ends at the first message that it gets. */
export async function startCrew(processes: number, file: string, args: readonly string[]): Promise<Crew> {
  const children = await Promise.all(Array.from({ length: processes }, () => startOne(file, args)));
  return {
    async stop() {
      await Promise.all(children.map(stopOne));
    },
  };
}

async function startOne(file: string, args: readonly string[]): Promise<ChildProcess> {
  const child = fork(new URL(file, import.meta.url), [...args]);
  await once(child, "message");
  return child;
}

async function stopOne(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = once(child, "exit");
  child.send("stop");
  await gone;
}
