/**
 * Until when each rate is spent: of claims (by type and by rate key) and of enqueues (by type and by caller). Who reads one to
 * change it has locked its type.
 */
import type { Sql } from "./sql.js";

export async function spentOf(sql: Sql, names: readonly string[]): Promise<Map<string, number>> {
  if (names.length === 0) return new Map();
  const rows = await sql.rows<{ name: string; spent_until: number }>(selectSpent, [names]);
  return new Map(rows.map((row) => [row.name, row.spent_until]));
}

/** Writes down what has changed since `before` was read. */
export async function keepSpent(
  sql: Sql,
  spent: ReadonlyMap<string, number>,
  before: ReadonlyMap<string, number>,
): Promise<void> {
  const changed = [...spent].filter(([name, until]) => before.get(name) !== until);
  if (changed.length === 0) return;
  await sql.rows(upsertSpent, [changed.map(([name]) => name), changed.map(([, until]) => until)]);
}

/** The limits of a type have changed: what its claims had spent ahead counts no more. */
export async function forgetSpent(sql: Sql, type: string): Promise<void> {
  await sql.rows(cutSpent, [type]);
}

// Primary key.
const selectSpent = "select name, spent_until from sluice.rates where name = any ($1::text[])";

// Primary key.
const upsertSpent = `
  insert into sluice.rates (name, spent_until)
  select * from unnest($1::text[], $2::double precision[])
  on conflict (name) do update
  set spent_until = excluded.spent_until`;

// Full scan: a row for each rate key in use, when an operator changes a limit.
const cutSpent = `
  update sluice.rates
  set spent_until = least(spent_until, :now)
  where name = $1
    or starts_with(name, $1 || ' ')`;
