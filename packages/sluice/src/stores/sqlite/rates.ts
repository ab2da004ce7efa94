/**
 * Until when each rate is spent: of claims (by type and by rate key) and of enqueues (by type and by caller).
 */
import type { Session } from "./session.js";

export function spentOf(session: Session, names: Iterable<string>): Map<string, number> {
  const spent = new Map<string, number>();
  for (const name of names) {
    const row = session.sql(selectSpent).get(name) as { spent_until: number } | undefined;
    if (row !== undefined) spent.set(name, row.spent_until);
  }
  return spent;
}

/** Writes down what has changed since `before` was read. */
export function keepSpent(
  session: Session,
  spent: ReadonlyMap<string, number>,
  before: ReadonlyMap<string, number>,
): void {
  for (const [name, until] of spent) if (before.get(name) !== until) session.sql(upsertSpent).run(name, until);
}

/** The limits of a type have changed: what its claims had spent ahead counts no more. */
export function forgetSpent(session: Session, type: string): void {
  session.sql(cutSpent).run(session.now, type, `${type} `, `${type}!`);
}

/** A rate that nothing is owed to is as good as one that was never used. */
export function pruneSpent(session: Session): void {
  session.sql(deleteSpent).run(session.now);
}

// Primary key.
const selectSpent = "select spent_until from sluice_rates where name = ?";

// Primary key.
const upsertSpent = `
  insert into sluice_rates (name, spent_until)
  values (?, ?)
  on conflict (name) do update
  set spent_until = excluded.spent_until`;

// Primary key. "!" follows the space.
const cutSpent = `
  update sluice_rates
  set spent_until = min(spent_until, ?1)
  where name = ?2
    or (name >= ?3 and name < ?4)`;

// Full scan: a row for each rate key in use. A bounded number at a time.
const deleteSpent = `
  delete from sluice_rates
  where name in (select name from sluice_rates where spent_until < ? limit 1000)`;
