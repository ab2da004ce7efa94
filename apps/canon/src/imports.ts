/**
 * An import as a resource: begun together with its job, and shown as the game master reads it.
 */
import type { BlobRef, Queue } from "sluice";
import { v7 as uuidv7 } from "uuid";
import { ingest } from "./jobs.js";
import { andEnqueue } from "./library/eventual.js";
import type { ImportPhase, ImportRecord, Library } from "./library/library.js";

/** The import and the job that reads it exist together, durably, or not at all (AC1). */
export async function beginImport(
  { library, queue, now }: { library: Library; queue: Queue<unknown>; now: () => number },
  { game, blob }: { game: string; blob: BlobRef },
): Promise<string> {
  const id = uuidv7();
  await library.write((tx) =>
    andEnqueue(library.addImport(tx, { id, game, blob: blob.id, bytes: blob.bytes, now: now() }), () =>
      queue.enqueue(ingest, { game, importId: id, blob: blob.id, bytes: blob.bytes }, { tx }),
    ),
  );
  return id;
}

export interface ImportView {
  readonly id: string;
  readonly game: string;
  readonly status: "processing" | "completed" | "failed" | "cancelled";
  readonly state: ImportPhase;
  readonly outcome: "complete" | "partial" | null;
  readonly progress: {
    readonly total: number;
    /** Final once the body has been read. */
    readonly isTotalFinal: boolean;
    readonly done: number;
    readonly succeeded: number;
    readonly failed: number;
    readonly skipped: number;
    readonly bytes: { readonly total: number; readonly read: number };
  };
  readonly problem: string | null;
  readonly createdAt: string;
  readonly finishedAt: string | null;
  readonly links: { readonly self: string; readonly failures: string };
}

export function importView(row: ImportRecord): ImportView {
  const self = `/v1/games/${row.game}/imports/${row.id}`;
  const { total, succeeded, failed, skipped } = row;
  return {
    id: row.id,
    game: row.game,
    status: statuses[row.phase],
    state: row.phase,
    outcome: row.phase === "done" ? (failed === 0 ? "complete" : "partial") : null,
    progress: {
      total,
      isTotalFinal: row.phase !== "reading",
      done: succeeded + failed + skipped,
      succeeded,
      failed,
      skipped,
      bytes: { total: row.bytes, read: row.readBytes },
    },
    problem: row.problem,
    createdAt: new Date(row.createdAt).toISOString(),
    finishedAt: row.finishedAt === null ? null : new Date(row.finishedAt).toISOString(),
    links: { self, failures: `${self}/failures` },
  };
}

const statuses = {
  reading: "processing",
  indexing: "processing",
  done: "completed",
  failed: "failed",
  cancelled: "cancelled",
} as const satisfies Record<ImportPhase, ImportView["status"]>;
