/** Who asks, and what they may. */
import { includesRole, type Role } from "sluice";
import type { Access } from "./contract/endpoint.js";
import { Problem } from "./problem.js";

export interface Principal {
  /** For limits and for Idempotency-Keys: what one caller does never touches another's. At most 100 characters. */
  readonly id: string;
  /** In the audit. At most 100 characters. */
  readonly name: string;
  readonly roles: readonly Role[];
  /** Names of types; an entry may end in `*`. Null: all. */
  readonly types: readonly string[] | null;
  readonly canReadPayloads: boolean;
  readonly expiresAt: Date | null;
}

/** On this machine, as long as there is no key. */
export const localPrincipal: Principal = {
  id: "local",
  name: "local",
  roles: ["admin"],
  types: null,
  canReadPayloads: true,
  expiresAt: null,
};

export function mayUse(principal: Principal, access: Access): boolean {
  if (access === "open" || access === "any") return true;
  return access.some((role) => includesRole(principal.roles, role));
}

export function mayOperate(principal: Principal): boolean {
  return includesRole(principal.roles, "operate");
}

export function isAdmin(principal: Principal): boolean {
  return includesRole(principal.roles, "admin");
}

export function covers({ types }: Pick<Principal, "types">, type: string): boolean {
  if (types === null) return true;
  return types.some((entry) => (entry.endsWith("*") ? type.startsWith(entry.slice(0, -1)) : type === entry));
}

/** @throws {Problem} forbidden */
export function requireType(principal: Principal, type: string): void {
  if (covers(principal, type)) return;
  throw new Problem("forbidden", `This key is not for jobs of type ${type}.`);
}
