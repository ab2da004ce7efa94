/** What an operator does to a job. Each command is in the audit, with who, why and the id of the request. */
import type { AmendOutcome } from "sluice";
import { jobs } from "../contract/index.js";
import type { Deps } from "../deps.js";
import { requireOwnEndpoint, unknownType, withoutSecrets } from "../enqueue.js";
import { byOf, type Principal } from "../principal.js";
import { Problem } from "../problem.js";
import type { Answer, Mount } from "../route.js";
import { jobBody } from "../views.js";
import { jobFor } from "./jobs.js";

export function operateRoutes(mount: Mount, deps: Deps): void {
  const { queue, definitions } = deps;

  mount(jobs.cancelJob, async ({ params, body, principal, request }) => {
    const { id } = await jobFor(deps, params.id, principal);
    return answerOf(deps, id, principal, "cancelled", await queue.cancel(id, byOf(principal, request, body)));
  });
  mount(jobs.retryJob, async ({ params, body, principal, request }) => {
    const { id } = await jobFor(deps, params.id, principal);
    return answerOf(deps, id, principal, "retried", await queue.retry(id, byOf(principal, request, body)));
  });
  mount(jobs.discardJob, async ({ params, body, principal, request }) => {
    const { id } = await jobFor(deps, params.id, principal);
    return answerOf(deps, id, principal, "discarded", await queue.discard(id, byOf(principal, request, body)));
  });
  mount(jobs.editPayload, async ({ params, body, principal, request }) => {
    const { id, type } = await jobFor(deps, params.id, principal);
    const definition = definitions.get(type);
    if (definition === undefined) throw unknownType();
    requireOwnEndpoint(type);
    const by = byOf(principal, request, body);
    let outcome: AmendOutcome;
    try {
      outcome = await queue.editAndRetry(definition, id, body.payload, by);
    } catch (error) {
      throw withoutSecrets(error, definition, body.payload);
    }
    return answerOf(deps, id, principal, "edited", outcome);
  });
}

async function answerOf(
  deps: Deps,
  id: string,
  principal: Principal,
  done: string,
  outcome: AmendOutcome,
): Promise<Answer> {
  if (outcome === "not_found") throw new Problem("job_not_found", "There is no such job any more.");
  const body = jobBody(await jobFor(deps, id, principal), principal, deps);
  switch (outcome) {
    case "applied":
      return { status: 200, body };
    case "requested":
      return { status: 202, body, headers: { location: body.links.self, "retry-after": "1" } };
    case "wrong_state":
      throw new Problem("wrong_state", `A job that is ${body.state} cannot be ${done}.`);
    case "key_taken":
      throw new Problem("key_taken", "Another job has its unique key by now: this one cannot wait or run beside it.");
  }
}
