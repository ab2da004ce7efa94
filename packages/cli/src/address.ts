/**
 * Where a store is: what people write after --store, --from and --to. Knows which kinds of stores there are, and opens none.
 */
import { InvalidArgumentError } from "commander";

export type Address =
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "postgres"; readonly url: string; readonly schema: string };

/** Something about the input that cannot work; said in a sentence, exit code 1. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** A signal came before the end, and there is more to say about it; the exit code is the signal's. */
export class Stopped extends Error {
  override readonly name = "Stopped";
}

export const addressHelp = "sqlite:PATH or postgres://user@host/database";

/**
 * @param option Under which the text was given, for messages. The text itself may have a password in it.
 * @throws {Refusal}
 */
export function toAddress(text: string, option: string, schema: string | undefined): Address {
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(text)?.[0].toLowerCase();
  switch (scheme) {
    case "sqlite:": {
      const path = text.slice(scheme.length);
      if (path === "") throw new Refusal(`${option} names no file. Write ${option} sqlite:PATH.`);
      if (schema !== undefined) throw new Refusal("--schema is for PostgreSQL; leave it out with a SQLite file.");
      return { kind: "sqlite", path };
    }
    case "postgres:":
    case "postgresql:":
      return { kind: "postgres", url: text, schema: schema ?? "sluice" };
    case "memory:":
      throw new Refusal(`${option} is memory:, a store that ends with its process. Give ${addressHelp}.`);
    case undefined:
      throw new Refusal(`${option} does not say which kind of store it is. Give ${addressHelp}.`);
    default:
      throw new Refusal(`${option} begins with ${scheme}, and there is no such kind of store. Give ${addressHelp}.`);
  }
}

/** For messages: without users and passwords. */
export function placeOf(address: Address): string {
  if (address.kind === "sqlite") return address.path;
  const { hostname, port, pathname, searchParams } = new URL(address.url);
  const host = searchParams.get("host") ?? hostname;
  return `schema ${address.schema} of ${host || "localhost"}:${port || 5432}${pathname}`;
}

/** For commander: an option that must not be empty, as an unset variable of a shell makes it. */
export function notEmpty(text: string): string {
  if (text.trim() === "") throw new InvalidArgumentError("It is empty.");
  return text;
}

/** For commander: each of several. */
export function notEmptyMany(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, notEmpty(text)];
}
