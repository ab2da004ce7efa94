/**
 * Times as people write them.
 */
import { InvalidArgumentError } from "commander";

export const unitMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
};

/** For commander: an instant, or how long it is until then. */
export function untilTime(text: string): Date {
  const [, times, unit] = /^(\d+)(s|min|h|d|day)$/.exec(text) ?? [];
  const at = times === undefined ? Date.parse(text) : Date.now() + Number(times) * unitMs[unit!]!;
  // Further away than a Date can be is no time either.
  if (Number.isNaN(new Date(at).getTime()))
    throw new InvalidArgumentError("Write it as 2026-12-01T08:00:00Z, or 30min, 2h, 1day from now.");
  return new Date(at);
}
