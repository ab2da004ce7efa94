/** The user that servers run as. Neither PostgreSQL nor PgBouncer runs as root, which is what many containers are. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Empty: the user of this process. */
export interface Account {
  readonly uid?: number;
  readonly gid?: number;
}

export async function serverAccount(): Promise<Account> {
  if (process.getuid?.() !== 0) return {};
  // Every system has nobody: no need to add users to a machine that only wants to run tests.
  const account = (await findAccount("postgres")) ?? (await findAccount("nobody"));
  if (account !== null) return account;
  throw new Error("PostgreSQL does not run as root, and this system has neither a user postgres nor a user nobody.");
}

async function findAccount(name: string): Promise<Account | null> {
  const [uid, gid] = await Promise.all([idOf("-u", name), idOf("-g", name)]);
  return uid === null || gid === null ? null : { uid, gid };
}

async function idOf(which: "-u" | "-g", name: string): Promise<number | null> {
  try {
    const { stdout } = await promisify(execFile)("id", [which, name]);
    return Number(stdout);
  } catch {
    return null;
  }
}
