/**
 * Where jobs stand, found by looking at all of them.
 */
import type { JobId } from "../../job.js";
import type { Standing, TypeStanding, WaitingJob } from "../../store.js";
import type { MemoryBook } from "./memory-book.js";
import { byTurn } from "./memory-rows.js";
import type { MemoryRow } from "./memory-rows.js";

const countedAhead = 1_001;
const keptRuns = 50;

export function standing(book: MemoryBook, ids: readonly JobId[]): Standing {
  const rows = ids.map((id) => book.rows.get(id));
  const types = new Set(rows.filter((row) => row !== undefined && isDue(book, row)).map((row) => row!.job.type));
  return {
    now: book.now,
    jobs: rows.map((row) => (row === undefined ? null : standingOf(book, row))),
    types: [...types].map((type) => typeStanding(book, type)),
  };
}

function standingOf(book: MemoryBook, row: MemoryRow): WaitingJob {
  const { id, type, version, state, runAt, attempt, error, controls, heldBy } = row.job;
  const holder = state === "blocked" && row.unique !== null ? book.keys.registered(row.unique.key) : undefined;
  return structuredClone({
    id,
    type,
    version,
    state,
    runAt,
    attempt,
    error,
    controls,
    heldBy,
    ahead: isDue(book, row) ? aheadOf(book, row) : null,
    holder: holder?.job.id ?? null,
  });
}

/** Pending, or about to be made so by the next claim of its type. */
function isDue({ now }: MemoryBook, { job }: MemoryRow): boolean {
  return job.state === "pending" || (isTimed(job.state) && job.runAt <= now);
}

function isTimed(state: MemoryRow["job"]["state"]): boolean {
  return state === "scheduled" || state === "retrying";
}

function aheadOf(book: MemoryBook, row: MemoryRow): number {
  // The place that its due time gives it.
  const mine = isTimed(row.job.state) ? { ...row, rank: row.job.runAt } : row;
  const before = book.select(
    (other) =>
      other !== row && other.job.state === "pending" && other.job.type === row.job.type && byTurn(other, mine) < 0,
  );
  return Math.min(before.length, countedAhead);
}

function typeStanding(book: MemoryBook, type: string): TypeStanding {
  const ofType = book.select(({ job }) => job.type === type).map(({ job }) => job);
  const runMs = ofType
    .filter(({ state }) => state === "completed")
    .sort((a, b) => b.finishedAt! - a.finishedAt!)
    .slice(0, keptRuns)
    .map(({ startedAt, finishedAt }) => finishedAt! - startedAt!);
  const spentUntil = book.spent.get(type) ?? null;
  return { type, processing: ofType.filter(({ state }) => state === "processing").length, spentUntil, runMs };
}
