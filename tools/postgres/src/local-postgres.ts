/** The PostgreSQL that is installed on this machine, if there is one: what benchmarks compare with, in its version and build. */
import { execFile } from "node:child_process";
import { readdir, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { findProgram } from "./find-program.js";
import type { Unavailable } from "./unavailable.js";

export interface LocalPostgres {
  /** For `startPostgres`. */
  readonly binDir: string;
  /** As it calls itself, say "15.14 (Debian 15.14-0+deb12u1)". */
  readonly version: string;
}

/** Debian keeps every version in a folder of its own and none in PATH. */
const debianFolder = "/usr/lib/postgresql";

/** PATH comes first, then the newest. */
export async function findLocalPostgres(): Promise<LocalPostgres | Unavailable> {
  const initdb = await findProgram("initdb", await debianBinDirs());
  if (initdb === null) return { unavailable: `There is no initdb in PATH, nor in ${debianFolder}.` };
  // A link in PATH says nothing of where the other programs are.
  const binDir = dirname(await realpath(initdb));
  const { stdout } = await promisify(execFile)(join(binDir, "postgres"), ["--version"]);
  return { binDir, version: stdout.trim().replace(/^.*\(PostgreSQL\) /, "") };
}

async function debianBinDirs(): Promise<readonly string[]> {
  const versions = await readdir(debianFolder).catch(() => []);
  return versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debianFolder, version, "bin"));
}
