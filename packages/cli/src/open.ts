/**
 * Opens the store that an address names, for one question or one command, and closes it whatever comes.
 */
import { Option, type Command } from "commander";
import { Queue } from "sluice";
import { postgres } from "sluice/postgres";
import { sqlite } from "sluice/sqlite";
import { addressHelp, notEmpty, toAddress, type Address } from "./address.js";

export interface StoreOptions {
  readonly store: string;
  readonly schema?: string;
}

/** The options that say which store it is. */
export function withStoreOptions(command: Command): Command {
  const store = new Option("--store <address>", addressHelp)
    .env("SLUICE_STORE")
    .argParser(notEmpty)
    .makeOptionMandatory();
  return command
    .addOption(store)
    .option("--schema <name>", 'the PostgreSQL schema of the store (default: "sluice")', notEmpty);
}

export async function withQueue<T>(
  { store: text, schema }: StoreOptions,
  run: (queue: Queue<unknown>, address: Address) => Promise<T>,
): Promise<T> {
  const address = toAddress(text, "--store", schema);
  // To look is not to migrate.
  const options = { migrate: false } as const;
  const store =
    address.kind === "sqlite"
      ? await sqlite({ ...options, path: address.path })
      : await postgres({ ...options, ...address, listenUrl: null });
  try {
    return await run(new Queue<unknown>({ store }), address);
  } finally {
    await store.close();
  }
}
