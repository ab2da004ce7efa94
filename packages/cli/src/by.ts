/**
 * The options of every command that changes something: who gives it, and why.
 */
import { userInfo } from "node:os";
import type { Command } from "commander";
import type { By } from "sluice";
import { notEmpty } from "./address.js";

export interface ByOptions {
  readonly reason?: string;
  readonly actor?: string;
}

export function withByOptions(command: Command): Command {
  return command
    .option("--reason <text>", "why; kept in the audit", notEmpty)
    .option("--actor <name>", "who; kept in the audit (default: the name of the user)", notEmpty);
}

export function byOf({ reason, actor = userInfo().username }: ByOptions): By {
  return { actor, ...(reason !== undefined && { reason }) };
}
