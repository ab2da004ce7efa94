/**
 * `sluice migrate`: brings the schema of a store up to date, or prints what that would run.
 */
import { Option, type Command } from "commander";
import { planMigrations as planPostgres, postgres } from "sluice/postgres";
import { planMigrations as planSqlite, sqlite } from "sluice/sqlite";
import { addressHelp, notEmpty, placeOf, toAddress, type Address } from "../address.js";
import type { Context } from "../program.js";
import { many } from "../words.js";

interface MigrateOptions {
  readonly store: string;
  readonly schema?: string;
  readonly dryRun?: true;
}

interface Step {
  readonly version: number;
  readonly sql: string;
}

export function addMigrate(program: Command, { output, finish }: Context): void {
  const store = new Option("--store <address>", addressHelp)
    .env("SLUICE_STORE")
    .argParser(notEmpty)
    .makeOptionMandatory();
  program
    .command("migrate")
    .description("bring the schema of a store up to date")
    .addOption(store)
    .option("--schema <name>", 'the PostgreSQL schema of the store (default: "sluice")', notEmpty)
    .option("--dry-run", "print the SQL that would run, and change nothing")
    .action(async (options: MigrateOptions) => {
      const address = toAddress(options.store, "--store", options.schema);
      const steps = await plan(address);
      if (options.dryRun === true) {
        output.line(steps.length === 0 ? "-- nothing to do" : toScript(address, steps));
      } else {
        await migrate(address);
        const last = steps.at(-1);
        const what =
          last === undefined ? "Nothing to do" : `${many(steps.length, "step")}, now at version ${last.version}`;
        output.line(`${what}: ${placeOf(address)} is up to date.`);
      }
      finish(0);
    });
}

function plan(address: Address): Promise<readonly Step[]> {
  return address.kind === "sqlite" ? planSqlite({ path: address.path }) : planPostgres(address);
}

/** Opening a store does it, and whatever else its schema needs. */
async function migrate(address: Address): Promise<void> {
  const store = address.kind === "sqlite" ? await sqlite({ path: address.path }) : await postgres(address);
  await store.close();
}

/** All or nothing, also by hand. */
function toScript(address: Address, steps: readonly Step[]): string {
  const texts = steps.map(({ version, sql }) => `-- step ${version}\n${sql.trimEnd()}\n`);
  return [`-- Sluice: ${placeOf(address).replaceAll(/\s+/g, " ")}`, "begin;", "", ...texts, "commit;"].join("\n");
}
