/**
 * Tells imports about jobs that ended without doing their work: failed for good, or cancelled by an operator, perhaps while
 * nobody was there to see it. Idempotent, so it may run at start, on every such ending, and now and then.
 */
import type { Job, Queue } from "sluice";
import { embed, ingest } from "./jobs.js";
import type { Library } from "./library/library.js";

export interface ReconcileDeps {
  readonly library: Library;
  readonly queue: Queue<unknown>;
  readonly now: () => number;
}

/** Every job that ended so and is still kept. */
export async function reconcileAll(deps: ReconcileDeps): Promise<void> {
  let cursor: string | null = null;
  do {
    const page = await deps.queue.list({
      types: [ingest.type, embed.type],
      states: ["failed", "cancelled"],
      cursor,
      limit: 500,
    });
    for (const job of page.jobs) await reconcile(deps, job);
    cursor = page.next;
  } while (cursor !== null);
}

/** One job. A look first: nearly always there is nothing to write. */
export async function reconcile({ library, now }: ReconcileDeps, job: Job): Promise<void> {
  if (job.state !== "failed" && job.state !== "cancelled") return;
  const why = job.state === "failed" ? job.error.message : "somebody cancelled it";
  const { game, importId, objectId } = job.payload as { game: string; importId: string; objectId?: string };
  if (objectId !== undefined) {
    if ((await library.findObject(game, objectId))?.awaiting !== importId) return;
    const reason = `could not be made searchable: ${why}`;
    await library.write((tx) => library.giveUpEmbedding(tx, { game, id: objectId, importId, reason, now: now() }));
  } else {
    if ((await library.findImport(game, importId))?.phase !== "reading") return;
    const isFailed = job.state === "failed";
    const problem = isFailed
      ? `Reading the file was given up: ${why} What was read is kept; retry job ${job.id} to go on.`
      : "Reading the file was cancelled. What was read before is kept.";
    const phase = isFailed ? "failed" : "cancelled";
    await library.write((tx) => library.endImport(tx, importId, { phase, problem, now: now() }));
  }
}
