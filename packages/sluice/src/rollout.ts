/**
 * For whom a type of job is switched on (O2). The same job gets the same answer for as long as the rollout stays as it is, and who
 * is in at 10 % is in at 20 %: a percentage is a line drawn through the hash of a key, not a die. Pure.
 */
import { createHash } from "node:crypto";
import type { Correlation } from "./job.js";

export interface Rollout {
  /** From 0 to 100: that part of the keys is in. */
  readonly percentage: number;
  /** Keys that are in whatever the percentage says. */
  readonly allow?: readonly string[];
  /** What the key is: the job's group, or the value of this name in its correlation. Default: its group, else its whole correlation. */
  readonly by?: { readonly correlation: string } | "group";
}

interface Subject {
  readonly id: string;
  readonly type: string;
  readonly group: string | null;
  readonly correlation: Correlation | null;
}

export function isRolledOut(rollout: Rollout, subject: Subject): boolean {
  const key = keyOf(rollout, subject);
  if (rollout.allow?.includes(key) === true) return true;
  if (rollout.percentage >= 100) return true;
  if (rollout.percentage <= 0) return false;
  return bucketOf(subject.type, key) < rollout.percentage;
}

/** A job that has none of it is a key of its own. */
function keyOf({ by }: Rollout, { id, group, correlation }: Subject): string {
  if (typeof by === "object") return correlation?.[by.correlation] ?? id;
  if (by === "group" || group !== null) return group ?? id;
  if (correlation === null) return id;
  const names = Object.keys(correlation).sort();
  const [only] = names;
  // Of a correlation of one name, the value is what an operator would write down in a list.
  return names.length === 1 ? correlation[only!]! : JSON.stringify(names.map((name) => [name, correlation[name]]));
}

/** Where the key falls between 0 and 100; every type deals anew, or the same keys would always be first. */
function bucketOf(type: string, key: string): number {
  const hash = createHash("sha256").update(`${type}\n${key}`).digest();
  return (hash.readUInt32BE(0) / 2 ** 32) * 100;
}

/** Why this cannot be a rollout, in words that follow its name; null when it can. */
export function faultOfRollout(rollout: Rollout): string | null {
  const { percentage, allow, by } = rollout;
  if (!(Number.isFinite(percentage) && percentage >= 0 && percentage <= 100)) {
    return `has percentage ${percentage}; give a number from 0 to 100`;
  }
  if (
    allow !== undefined &&
    !(Array.isArray(allow) && allow.every((key) => typeof key === "string") && allow.length <= 10_000)
  ) {
    return "has an allow list that is not one of at most 10,000 strings";
  }
  const isKnown =
    by === undefined || by === "group" || (typeof by === "object" && by !== null && typeof by.correlation === "string");
  return isKnown ? null : 'has an unknown `by`; give "group" or { correlation: name }';
}
