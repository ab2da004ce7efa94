/**
 * Where the jobs and the library are, as SLUICE_STORE says it. Pure. What is wrong with a value is said without the value: it may
 * hold a password.
 */
import { join, resolve } from "node:path";

export type Location =
  /** `path` null: in the data folder. */
  { readonly kind: "sqlite"; readonly path: string | null } | { readonly kind: "postgres"; readonly url: string };

export const howToSayIt =
  "must be sqlite: (a file in SLUICE_DATA), sqlite:PATH, or postgres://USER:PASSWORD@HOST:PORT/DATABASE " +
  "with special characters in the password percent-encoded";

/** Null for what is none of these. */
export function parseLocation(text: string): Location | null {
  const sqlite = /^sqlite:(.*)$/s.exec(text);
  if (sqlite) {
    const path = sqlite[1]!;
    // "sqlite://host/…" is a habit from elsewhere that would end in a folder called "/host".
    return path.startsWith("//") || path.includes("\0") ? null : { kind: "sqlite", path: path === "" ? null : path };
  }
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) return null;
  return { kind: "postgres", url: text };
}

/** The file of a SQLite location. */
export function sqlitePath({ path }: Location & { kind: "sqlite" }, dataFolder: string): string {
  return path ?? join(dataFolder, "canon.db");
}

/** For people: no password, and nothing that may hold one. */
export function describeLocation(location: Location, dataFolder: string): string {
  switch (location.kind) {
    case "sqlite":
      return resolve(sqlitePath(location, dataFolder));
    case "postgres": {
      const { host, pathname } = new URL(location.url);
      return `postgres://${host}${pathname}`;
    }
  }
}
