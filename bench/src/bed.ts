/**
 * What a benchmark runs on: a fresh store for each scenario, the ceiling of its engine, and what only some engines can be asked.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Store } from "sluice";

export interface Bed {
  readonly title: string;
  /** `address`: for other processes, see `openAt`. */
  with<T>(run: (store: Store<unknown>, address: string) => Promise<T>): Promise<T>;
  ceiling(folder: string, ...mode: string[]): readonly string[];
  /** The end-to-end scenario without a job engine: its limit. */
  rawEndToEnd?(load: { perSecond: number; seconds: number }): Promise<object>;
  /** Puts so many completed jobs into history, without running them. */
  fillHistory?(store: Store<unknown>, jobs: number): Promise<void>;
  /** Lets the engine finish what filling a store has left it to do in the background. */
  calm?(store: Store<unknown>): Promise<void>;
  /** Keeps a transaction open elsewhere that has read our tables, until it is told to let go. */
  holdTransaction?(store: Store<unknown>): Promise<() => Promise<void>>;
  end(): Promise<void>;
}

/** Runs a program of the ceiling and answers its lines. */
export function runCeiling(folder: string, file: string, args: readonly string[]): readonly string[] {
  const program = join(folder, file);
  if (!existsSync(program))
    return [`not at ${program}: run from the project's root, or name its folder with --ceiling`];
  try {
    return execFileSync(process.execPath, [program, ...args], { encoding: "utf8", timeout: 180_000 })
      .trim()
      .split("\n");
  } catch (error) {
    return [`did not end well: ${(error as Error).message.split("\n")[0]}`];
  }
}
