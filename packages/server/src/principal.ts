/** Who asks, and what they may. */
import { covers, hasRole, type By, type Role } from "sluice";
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
  return access.some((role) => hasRole(principal, role));
}

export function mayOperate(principal: Principal): boolean {
  return hasRole(principal, "operate");
}

export function isAdmin(principal: Principal): boolean {
  return hasRole(principal, "admin");
}

/** @throws {Problem} forbidden */
export function requireType(principal: Principal, type: string): void {
  if (covers(principal, type)) return;
  throw new Problem("forbidden", "This key is not for jobs of this type.");
}

/** Who does it, for the audit. */
export function byOf(
  { name: actor }: Principal,
  { id: requestId }: { readonly id: string },
  { reason }: { readonly reason?: string | undefined },
): By {
  return { actor, requestId, ...(reason !== undefined && { reason }) };
}
