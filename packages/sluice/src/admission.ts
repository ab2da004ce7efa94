/**
 * Which jobs of a type may start now, where its concurrency per key or its rates must be asked: decided once for all stores, in
 * the transaction of the claim. Pure; a store brings the candidates in turn and writes down what becomes of them.
 */
import type { Controls, HeldBy } from "./job.js";
import { fitsAt, spend } from "./rate.js";
import type { Rate } from "./rate.js";
import { concurrencyOf, isGated, roomIn } from "./settings.js";
import type { TypeSettings } from "./settings.js";

/** What a definition says about when its jobs may start, besides the concurrency of the type. */
export interface TypeControls {
  readonly concurrencyPerKey: number | null;
  readonly rate: Rate | null;
  readonly ratePerKey: Rate | null;
}

export interface Candidate {
  readonly controls: Controls | null;
  readonly heldBy: HeldBy | null;
}

/** What is in force for the type, and where it stands; changed by `admit` as it lets jobs in. */
export interface Gate {
  readonly now: number;
  /** How many more may be processing; Infinity for any number. */
  room: number;
  /** Of each concurrency key; null: keys do not matter. */
  readonly concurrencyPerKey: number | null;
  /** By concurrency key: how many are processing. */
  readonly processing: Map<string, number>;
  readonly rate: Rate | null;
  readonly ratePerKey: Rate | null;
  /** By rate key, and under the type's own name: until when the rate is spent. */
  spent: Map<string, number>;
  /** When the rate of the whole type lets the next one start; null while it does. */
  nextAt: number | null;
}

/**
 * - `start`: it is processing from now on.
 * - `block`: its key is full; whoever leaves that key lets it go on.
 * - an instant: the rate of its key lets it start then, and that start is its own.
 * - `wait`: nothing of the type starts now; it stays where it is.
 */
export type Verdict = "start" | "block" | { readonly at: number } | "wait";

/** The next candidate in turn. Once one must wait, so must all after it: or light ones would pass a heavy one for ever. */
export function admit(gate: Gate, type: string, { controls, heldBy }: Candidate): Verdict {
  const { now, rate, ratePerKey, concurrencyPerKey } = gate;
  if (gate.room <= 0 || gate.nextAt !== null) return "wait";

  const key = concurrencyPerKey === null ? null : (controls?.concurrencyKey ?? null);
  const inKey = key === null ? 0 : (gate.processing.get(key) ?? 0);
  if (key !== null && inKey >= concurrencyPerKey!) return "block";

  const weight = controls?.weight ?? 1;
  const rateKey = ratePerKey === null || heldBy === "rate" ? null : (controls?.rateKey ?? null);
  if (rateKey !== null) {
    const at = Math.ceil(fitsAt(gate.spent.get(rateKey), ratePerKey!, weight, now));
    if (at > now) {
      gate.spent.set(rateKey, spend(gate.spent.get(rateKey), ratePerKey!, weight, at));
      return { at };
    }
  }
  if (rate !== null) {
    const at = fitsAt(gate.spent.get(type), rate, weight, now);
    if (at > now) {
      gate.nextAt = at;
      return "wait";
    }
    gate.spent.set(type, spend(gate.spent.get(type), rate, weight, now));
  }
  if (rateKey !== null) gate.spent.set(rateKey, spend(gate.spent.get(rateKey), ratePerKey!, weight, now));
  if (key !== null) gate.processing.set(key, inKey + 1);
  gate.room -= 1;
  return "start";
}

/**
 * Until when too few wait for company (`ClaimedType.company`); null: those that are there need not wait.
 * @param jobs How many would be handed over. @param firstDueAt Since when the first in turn may run.
 */
export function companyUntil(
  company: { readonly min: number; readonly waitMs: number } | null,
  { jobs, firstDueAt }: { readonly jobs: number; readonly firstDueAt: number },
  now: number,
): number | null {
  if (company === null || jobs >= company.min) return null;
  const until = firstDueAt + company.waitMs;
  return until > now ? until : null;
}

/** @param processing How many of the type are, asked only where it matters. */
export function gateOf(
  settings: TypeSettings,
  wanted: { readonly concurrency: number | null; readonly controls: TypeControls | null },
  { now, processing }: { readonly now: number; readonly processing: () => number },
): Gate {
  const { controls } = wanted;
  return {
    now,
    room: roomIn(settings, { standard: wanted.concurrency, now, processing }),
    concurrencyPerKey: settings.concurrencyPerKey ?? controls?.concurrencyPerKey ?? null,
    processing: new Map(),
    rate: settings.rate ?? controls?.rate ?? null,
    ratePerKey: settings.ratePerKey ?? controls?.ratePerKey ?? null,
    spent: new Map(),
    nextAt: null,
  };
}

/** Whether what is claimed of the type must start at once: it has taken a place, or a part of a rate, from other processes. */
export function isLimited(
  settings: TypeSettings,
  { concurrency, controls }: { readonly concurrency: number | null; readonly controls: TypeControls | null },
): boolean {
  return controls !== null || isGated(settings) || concurrencyOf(settings, concurrency) !== null;
}

/** The keys that `admit` will ask for. */
export function keysOf(candidates: readonly Candidate[]): {
  readonly concurrency: readonly string[];
  readonly rate: readonly string[];
} {
  const of = (name: "concurrencyKey" | "rateKey") => [
    ...new Set(candidates.flatMap(({ controls }) => controls?.[name] ?? [])),
  ];
  return { concurrency: of("concurrencyKey"), rate: of("rateKey") };
}
