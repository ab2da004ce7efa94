/** Enqueue one, read one, search; and a payload unmasked. */
import { covers, type Enqueued, type Job } from "sluice";
import { jobs } from "../contract/index.js";
import type { Deps } from "../deps.js";
import { enqueueFor } from "../enqueue.js";
import { idempotencyKeyOf } from "../idempotency.js";
import { appliedOf, preferencesOf } from "../prefer.js";
import { byOf, isAdmin, type Principal } from "../principal.js";
import { Problem } from "../problem.js";
import type { Answer, Mount } from "../route.js";
import { besides, formerPayload, jobBody } from "../views.js";
import { isTerminal, waitForEnd } from "../waits.js";

/** When to ask again about a job that has not ended, in seconds: not before it is due, and in five minutes at the latest. */
function askAgain({ runAt }: Pick<Job, "runAt">, now: number): string {
  return String(Math.min(300, Math.max(1, Math.ceil((runAt.getTime() - now) / 1_000))));
}

export function jobRoutes(mount: Mount, deps: Deps): void {
  const { queue } = deps;

  mount(jobs.enqueueJob, async ({ body, principal, request }) => {
    const enqueued = await enqueueFor(deps, body, {
      principal,
      idempotencyKey: idempotencyKeyOf(request.headers["idempotency-key"]),
      traceparent: request.headers.traceparent as string | undefined,
    });
    const preferences = preferencesOf(request.headers.prefer);
    if (preferences.waitS === null) {
      const applied = appliedOf(preferences, true);
      return enqueuedAnswer(enqueued, enqueued.job, { principal, deps, applied });
    }
    const ended = await waitForEnd(deps, enqueued.job, preferences.waitS * 1_000);
    const applied = appliedOf(preferences, ended === null);
    return enqueuedAnswer(enqueued, ended ?? enqueued.job, { principal, deps, applied });
  });

  mount(jobs.readJob, async ({ params, principal }) => {
    const job = await jobFor(deps, params.id, principal);
    const edits = { target: { kind: "job", id: job.id }, actions: ["edit"], limit: 20 } as const;
    const [waiting, history, { records }] = await Promise.all([
      queue.waiting(job.id),
      queue.history(job.id),
      queue.audit(edits),
    ]);
    const told = besides(job, principal, deps, records.map(formerPayload));
    const detail = {
      ...jobBody(job, principal, deps),
      correlation: told.correlation(),
      waiting: told.waiting(waiting),
      attempts: history.attempts.slice(-100).map(told.attempt),
      log: history.lines.slice(-200).map(told.line),
    };
    return {
      status: 200,
      body: detail,
      ...(!isTerminal(job) && { headers: { "retry-after": askAgain(job, deps.now()) } }),
    };
  });

  mount(jobs.searchJobs, async ({ query: { q, cursor, limit }, principal, request }) => {
    const page = await queue.search(q, {
      limit,
      ...(cursor !== undefined && { cursor }),
      ...(principal.types !== null && { within: principal.types }),
    });
    const waiting = await queue.waiting(page.jobs.map(({ id }) => id));
    const listed = page.jobs.map((job, index) => ({
      ...jobBody(job, principal, deps),
      waiting: besides(job, principal, deps).waiting(waiting[index] ?? null),
    }));
    const { from, to, rows, isComplete } = page.searched;
    const searched = { from: from?.toISOString() ?? null, to: to?.toISOString() ?? null, rows, isComplete };
    return {
      status: 200,
      body: { jobs: listed, next: page.next, searched },
      ...(page.next !== null && { headers: { link: nextLink(request.url, page.next) } }),
    };
  });

  mount(jobs.revealPayload, async ({ params, query, principal, request }) => {
    const job = await jobFor(deps, params.id, principal);
    if (!principal.canReadPayloads && !isAdmin(principal)) {
      throw new Problem("forbidden", "This key may not read payloads. GET /v1/jobs/{id} shows it masked.");
    }
    // Kept before it is shown: what cannot be kept is not shown.
    const deed = { action: "reveal", target: { kind: "job", id: job.id }, type: job.type } as const;
    await queue.record([deed], byOf(principal, request, query));
    return { status: 200, body: { id: job.id, version: job.version, payload: job.payload } };
  });
}

/** @throws {Problem} job_not_found, also where the key is not for its type: that it exists is not for everybody to know. */
export async function jobFor({ queue }: Pick<Deps, "queue">, id: string, principal: Principal): Promise<Job> {
  const job = await queue.get(id.toLowerCase());
  if (job !== null && covers(principal, job.type)) return job;
  throw new Problem(
    "job_not_found",
    "There is no such job. It may have been deleted: completed and cancelled jobs are kept for a while.",
  );
}

export function enqueuedAnswer(
  { outcome, isRepeated }: Pick<Enqueued, "outcome" | "isRepeated">,
  job: Job,
  { principal, deps, applied }: { readonly principal: Principal; readonly deps: Deps; readonly applied: string | null },
): Answer {
  const body = jobBody(job, principal, deps);
  const isDone = applied?.includes("wait") === true && isTerminal(job);
  return {
    status: isDone ? 200 : 202,
    body: { ...body, outcome },
    headers: {
      location: body.links.self,
      ...(!isDone && { "retry-after": askAgain(job, deps.now()) }),
      ...(applied !== null && { "preference-applied": applied }),
      ...(isRepeated && { "idempotency-replayed": "true" }),
    },
  };
}

/** The same question about the page that follows (RFC 8288), relative to this one's address. */
export function nextLink(url: string, cursor: string): string {
  const [path = "", query = ""] = url.split("?", 2);
  const parameters = new URLSearchParams(query);
  parameters.set("cursor", cursor);
  return `<${path}?${parameters.toString()}>; rel="next"`;
}
