/** A command for all jobs that match: previewed, or begun as a job. */
import { bulkJob } from "../bulk.js";
import { jobs } from "../contract/index.js";
import type { BulkBody } from "../contract/jobs.js";
import type { Deps } from "../deps.js";
import { fingerprintOf, idempotencyKeyOf, scopedKey } from "../idempotency.js";
import { isAdmin, type Principal } from "../principal.js";
import { Problem } from "../problem.js";
import type { Mount } from "../route.js";
import { text } from "../views.js";
import { enqueuedAnswer } from "./jobs.js";

/** A preview looks at no more than so many jobs. */
const mostPreviewed = 10_000;

export function bulkRoutes(mount: Mount, deps: Deps): void {
  const { queue, now } = deps;

  mount(jobs.bulk, async ({ body, principal, request }) => {
    if (body.action === "discard" && !isAdmin(principal)) {
      throw new Problem("forbidden", "To discard jobs is for keys with the role admin.");
    }
    requireQuery(body.q);
    const key = idempotencyKeyOf(request.headers["idempotency-key"]);
    const asOf = body.asOf === undefined ? now() : Math.min(now(), Date.parse(body.asOf));
    if (body.dryRun) return { status: 200, body: await preview(deps, body, principal, asOf) };

    const { action, q, canary, ratePerSecond, reason } = body;
    const by = { actor: principal.name, requestId: request.id, reason };
    const order = { action, q, asOf, within: withinOf(principal), canary, ratePerSecond, ...by };
    const enqueued = await queue.enqueue(bulkJob, order, {
      caller: principal.id,
      ...(key !== null && {
        idempotency: { key: scopedKey(principal.id, key), fingerprint: fingerprintOf("bulk", body) },
      }),
    });
    if (enqueued.outcome === "created") {
      const target = { kind: "job", id: enqueued.job.id } as const;
      const after = { action, q, asOf: text(asOf), canary, ratePerSecond };
      await queue.record([{ action: "bulk", target, type: bulkJob.type, after }], by);
    }
    return enqueuedAnswer(enqueued, enqueued.job, { principal, deps, applied: null });
  });
}

/** A bulk action on everything is said as such: `state:failed`, say. */
function requireQuery(q: string): void {
  if (q.trim() !== "") return;
  throw new Problem(
    "invalid_query",
    "A bulk action needs a query that says which jobs, for example state:failed type:canon.embed .",
    {
      errors: [{ pointer: "/q", detail: "is empty" }],
    },
  );
}

function withinOf({ types }: Principal): string[] | null {
  return types === null ? null : [...types];
}

async function preview({ queue }: Deps, { q, ratePerSecond }: BulkBody, principal: Principal, asOf: number) {
  const byType: Record<string, number> = {};
  const byState: Record<string, number> = {};
  let matched = 0;
  let oldest: Date | null = null;
  let cursor: string | null = null;
  do {
    const within = withinOf(principal);
    const page = await queue.search(q, {
      limit: 200,
      asOf: new Date(asOf),
      ...(within !== null && { within }),
      ...(cursor !== null && { cursor }),
    });
    for (const { type, state, createdAt } of page.jobs) {
      byType[type] = (byType[type] ?? 0) + 1;
      byState[state] = (byState[state] ?? 0) + 1;
      oldest = createdAt;
    }
    matched += page.jobs.length;
    cursor = page.next;
  } while (cursor !== null && matched < mostPreviewed);
  return {
    asOf: text(asOf),
    matched,
    isCut: cursor !== null,
    byType,
    byState,
    oldest: oldest === null ? null : oldest.toISOString(),
    estimatedMs: Math.round((1_000 * matched) / ratePerSecond),
  };
}
