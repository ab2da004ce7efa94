/**
 * `sluice keys`: who may use the HTTP service of a store. What a key may be is the library's to say (Queue.createAccessKey); here it is
 * read from words and shown in words. A token is printed once and kept nowhere.
 */
import type { Command } from "commander";
import type { AccessKey, AccessKeyOptions, Role } from "sluice";
import { notEmpty, notEmptyMany, placeOf, Refusal } from "../address.js";
import { byOf, withByOptions, type ByOptions } from "../by.js";
import { withQueue, withStoreOptions, type StoreOptions } from "../open.js";
import type { Context } from "../program.js";
import { untilTime } from "../times.js";
import { instant, many } from "../words.js";

interface KeysOptions extends StoreOptions, ByOptions {
  readonly json?: true;
}

interface CreateOptions extends KeysOptions {
  readonly name: string;
  readonly role: readonly string[];
  readonly type?: readonly string[];
  readonly readPayloads?: true;
  readonly expires?: Date;
}

export function addKeys(program: Command, context: Context): void {
  const keys = program.command("keys").description("make, see and revoke access keys for the HTTP service");
  addCreate(keys, context);
  addList(keys, context);
  addRevoke(keys, context);
}

function addCreate(keys: Command, { output, finish }: Context): void {
  withByOptions(withStoreOptions(keys.command("create")))
    .description("make a key and print its token, this once")
    .requiredOption("--name <name>", "who or what uses it", notEmpty)
    .requiredOption("--role <role...>", "what it may do: submit, observe, operate, admin", notEmptyMany)
    .option("--type <type...>", "types of jobs that it may touch, as mail.send or mail.* (default: all)", notEmptyMany)
    .option("--read-payloads", "let it see what is in jobs")
    .option("--expires <time>", "when it ends: 30d from now, or 2026-12-01T08:00:00Z (default: never)", untilTime)
    .option("--json", "print the key and its token as JSON")
    .action(async (options: CreateOptions) => {
      const { key, token } = await withQueue(options, (queue) =>
        queue.createAccessKey(wantedOf(options), byOf(options)),
      );
      if (options.json === true) output.json({ key: shown(key), token });
      else {
        output.line(token);
        output.printError(
          `The key ${key.id} (${key.name}) may ${inWords(key)}.\n` +
            "Its token is shown this once: put it where it belongs now. The store has only its hash.\n",
        );
      }
      finish(0);
    });
}

function addList(keys: Command, { output, finish }: Context): void {
  withStoreOptions(keys.command("list"))
    .description("list the keys there are, with those that ended in the last 30 days")
    .option("--json", "print the answer as JSON")
    .action(async (options: KeysOptions) => {
      const all = await withQueue(options, (queue) => queue.accessKeys());
      const listed = all.filter(({ parent }) => parent === null);
      if (options.json === true) output.json(listed.map(shown));
      else if (listed.length === 0) output.line("There are no keys. Make one with sluice keys create.");
      else
        output.table(
          ["id", "name", "token", "may", "made", "until"],
          listed.map((key) => [key.id, key.name, `${key.hint}…`, inWords(key), instant(key.createdAt), endOf(key)]),
        );
      finish(0);
    });
}

function addRevoke(keys: Command, { output, finish }: Context): void {
  withByOptions(withStoreOptions(keys.command("revoke")))
    .description("let nobody in with a key any more, nor with the sessions made for it")
    .argument("<id>", "the id of the key, as keys list shows it", notEmpty)
    .option("--json", "print the answer as JSON")
    .action(async (id: string, options: KeysOptions) => {
      await withQueue(options, async (queue, address) => {
        if (await queue.revokeAccessKey(id, byOf(options))) return;
        throw new Refusal(`There is no key ${id} in ${placeOf(address)}. See sluice keys list.`);
      });
      if (options.json === true) output.json({ id, revoked: true });
      else output.line(`Revoked ${id}.`);
      finish(0);
    });
}

function wantedOf({ name, role, type, readPayloads, expires }: CreateOptions): AccessKeyOptions {
  return {
    name,
    // The library says which there are.
    roles: role as readonly Role[],
    ...(type !== undefined && { types: type }),
    ...(readPayloads === true && { canReadPayloads: true }),
    ...(expires !== undefined && { expiresAt: expires }),
  };
}

/** A hash is nobody's to look at. */
function shown({ hash: _hash, ...key }: AccessKey): Omit<AccessKey, "hash"> {
  return key;
}

function inWords({ roles, types, canReadPayloads }: AccessKey): string {
  const what = types === null ? "all types" : types.length > 5 ? many(types.length, "type") : types.join(", ");
  return `${roles.join(", ")} ${what}${canReadPayloads ? " and read payloads" : ""}`;
}

function endOf({ expiresAt, revokedAt }: AccessKey): string {
  if (revokedAt !== null) return `revoked ${instant(revokedAt)}`;
  return expiresAt === null ? "" : instant(expiresAt);
}
