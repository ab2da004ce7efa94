/** Statistics, workers and the audit. */
import { covers, JobsError } from "sluice";
import { operations } from "../contract/index.js";
import type { Deps } from "../deps.js";
import { Problem } from "../problem.js";
import type { Mount } from "../route.js";
import { auditReason, auditState, text, workerFor } from "../views.js";
import { nextLink } from "./jobs.js";

export function operationRoutes(mount: Mount, deps: Deps): void {
  const { queue, definitions, now } = deps;

  mount(operations.readStats, async ({ query, principal }) => {
    const rangeMs = msOf(query.range);
    if (rangeMs > 400 * dayMs) {
      throw new Problem("invalid_request", "range: nothing is kept for longer than 400d.", {
        errors: [{ parameter: "range", detail: "takes at most 400d" }],
      });
    }
    const stepMs = stepFor(rangeMs);
    const to = now();
    const stats = await queue.stats({
      from: new Date(to - rangeMs),
      to: new Date(to),
      stepMs,
      ...(query.type !== undefined && { types: [query.type] }),
    });
    return {
      status: 200,
      body: {
        from: stats.from.toISOString(),
        to: stats.to.toISOString(),
        stepMs,
        total: principal.types === null ? stats.total : null,
        types: stats.types.filter(({ type }) => covers(principal, type)),
      },
    };
  });

  mount(operations.listWorkers, async ({ principal }) => {
    const workers = await queue.workers();
    const seen = workers.map((worker) => workerFor(worker, principal)).filter((worker) => worker !== null);
    return { status: 200, body: { workers: seen } };
  });

  mount(operations.readAudit, async ({ query, principal, request }) => {
    const { actor, action, job, type, cursor, limit } = query;
    const asked = queue.audit({
      limit,
      ...(actor !== undefined && { actor }),
      ...(action !== undefined && { actions: [action] }),
      ...(job !== undefined && { target: { kind: "job", id: job } }),
      ...(job === undefined && type !== undefined && { target: { kind: "type", id: type } }),
      ...(cursor !== undefined && { before: cursor }),
    });
    const { records, next } = await asked.catch((error: unknown) => {
      throw namedCursor(error);
    });
    const entries = records
      .filter((record) => principal.types === null || (record.type !== null && covers(principal, record.type)))
      .map(({ at, actor, action, target, type, before, after, reason, requestId }) => {
        const definition = (type === null ? undefined : definitions.get(type)) ?? null;
        return {
          at: text(at),
          actor,
          action,
          target,
          type,
          before: auditState(before, definition, principal),
          after: auditState(after, definition, principal),
          reason: auditReason(actor, reason, principal),
          requestId,
        };
      });
    return {
      status: 200,
      body: { entries, next },
      ...(next !== null && { headers: { link: nextLink(request.url, next) } }),
    };
  });
}

/** The library calls it by another name, and repeats it. */
function namedCursor(error: unknown): unknown {
  if (!(error instanceof JobsError) || error.code !== "INVALID_OPTIONS" || error.details["option"] !== "before")
    return error;
  return new Problem("invalid_request", "The cursor is none: give the `next` of the page before.", {
    cause: error,
    errors: [{ parameter: "cursor", detail: "takes the `next` of the page before" }],
  });
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

function msOf(range: string): number {
  const unit = { m: minuteMs, h: hourMs, d: dayMs }[range.at(-1) as "m" | "h" | "d"];
  return Number(range.slice(0, -1)) * unit;
}

/** Steps that give a chart some hundred points. Beyond 48 hours there are only hours. */
function stepFor(rangeMs: number): number {
  if (rangeMs <= 6 * hourMs) return minuteMs;
  if (rangeMs <= 2 * dayMs) return 10 * minuteMs;
  if (rangeMs <= 14 * dayMs) return hourMs;
  return dayMs;
}
