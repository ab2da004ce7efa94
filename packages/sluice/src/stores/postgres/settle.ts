/**
 * Ends attempts. By far the most common ending, a job that completes and has no unique key, is one statement for any number of
 * them: out of the table of the living, into history. Everything else goes through the desk.
 */
import { settleOne } from "../../moves.js";
import type { Settlement, SettleResult } from "../../store.js";
import { Desk } from "./desk.js";
import type { Effects } from "./effects.js";
import { arrayOf } from "./sql.js";
import type { Sql } from "./sql.js";

type Completion = Settlement & { readonly kind: "complete" };

/** In a transaction that may hold more than this. */
export async function settle(
  sql: Sql,
  settlements: readonly Settlement[],
  { effects, isUnkeyed }: { readonly effects: Effects; readonly isUnkeyed: (id: string) => boolean },
): Promise<readonly SettleResult[]> {
  const results = new Array<SettleResult>(settlements.length).fill("lease_lost");
  const simple: Completion[] = [];
  const others: number[] = [];
  const places = new Map<string, number>();
  settlements.forEach((settlement, index) => {
    const { id } = settlement.hold;
    const isFirst = !places.has(id);
    if (isFirst) places.set(id, index);
    if (isFirst && isSimple(settlement, isUnkeyed)) simple.push(settlement);
    else others.push(index);
  });

  if (simple.length > 0) {
    const lost = await complete(sql, simple);
    for (const { hold } of simple) if (!lost.has(hold.id)) results[places.get(hold.id)!] = "applied";
    effects.hint.ended ||= lost.size < simple.length;
  }
  if (others.length > 0) {
    const chosen = others.map((index) => settlements[index]!);
    const children = chosen.flatMap((each) => (each.kind === "complete" ? each.children : []));
    const desk = await Desk.open(sql, {
      ids: [...chosen.map(({ hold }) => hold.id), ...children.map(({ id }) => id)],
      keys: children.flatMap(({ unique }) => unique?.key ?? []),
      arrivals: children,
      // A child may meet a job whose payload it is compared with.
      withPayload: children.length > 0,
    });
    for (const index of others) results[index] = settleOne(desk, settlements[index]!);
    await desk.close(effects);
  }
  return results;
}

/** Whether one statement does it all: then it needs no transaction around it. */
export function areSimple(settlements: readonly Settlement[], isUnkeyed: (id: string) => boolean): boolean {
  const ids = new Set(settlements.map(({ hold }) => hold.id));
  return ids.size === settlements.length && settlements.every((settlement) => isSimple(settlement, isUnkeyed));
}

function isSimple(settlement: Settlement, isUnkeyed: (id: string) => boolean): settlement is Completion {
  return settlement.kind === "complete" && settlement.children.length === 0 && isUnkeyed(settlement.hold.id);
}

/** Answers with those whose hold is no longer good. */
async function complete(sql: Sql, completions: readonly Completion[]): Promise<ReadonlySet<string>> {
  const ids = completions.map(({ hold }) => hold.id);
  const outputs = completions.map(({ output }) => output);
  const rows = await sql.rows<{ done: string | null }>(completeUnkeyed, [
    arrayOf(ids),
    arrayOf(completions.map(({ hold }) => hold.epoch)),
    outputs.some((output) => output !== null) ? outputs : null,
  ]);
  const done = rows[0]!.done;
  if (done === null) return new Set();
  const applied = new Set(JSON.parse(done) as string[]);
  return new Set(ids.filter((id) => !applied.has(id)));
}

const completeUnkeyed = "select out_done as done from sluice.complete_1($1, $2, $3, :own_now)";
