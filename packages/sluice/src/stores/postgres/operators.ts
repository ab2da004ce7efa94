/**
 * An operator's commands, each with its line in the audit.
 */
import { amendOne } from "../../moves.js";
import type { AmendAnswer, OperatorCommand } from "../../store.js";
import { Desk } from "./desk.js";
import type { Effects } from "./effects.js";
import { pageOfIds } from "./reading.js";
import type { Sql } from "./sql.js";

export async function amend(sql: Sql, command: OperatorCommand, effects: Effects): Promise<AmendAnswer> {
  const { target } = command;
  const { ids, next } = "ids" in target ? { ids: target.ids, next: null } : await pageOfIds(sql, target);
  const desk = await Desk.open(sql, { ids, withPayload: command.action === "edit" });
  const results = ids.map((id) => amendOne(desk, id, command));
  await desk.close(effects);
  return { results, next };
}
