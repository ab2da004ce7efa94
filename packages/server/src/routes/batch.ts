/** Many jobs in one request: each answered by a line once it is durable, whatever becomes of the others. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { decode, emptyBody, linesOf, readJson, type Line } from "../body.js";
import { jobs } from "../contract/index.js";
import { EnqueueBody, type BatchResult } from "../contract/jobs.js";
import type { Deps } from "../deps.js";
import { enqueueFor } from "../enqueue.js";
import { idempotencyKeyOf } from "../idempotency.js";
import { parseJson } from "../json.js";
import type { Principal } from "../principal.js";
import { invalidRequest, Problem, toProblem } from "../problem.js";
import type { Mount } from "../route.js";

/** So many are enqueued together: enough for a group commit, and little to hold. */
const groupSize = 500;
const mostInArray = 1_000;

/** One job of a batch, not yet read. */
interface Item {
  readonly number: number;
  /** @throws {Problem} what is wrong with it */
  readonly read: () => unknown;
}

export function batchRoutes(mount: Mount, deps: Deps): void {
  /** Keys of batches that are being answered by this process. */
  const underWay = new Set<string>();

  mount(jobs.enqueueBatch, async ({ principal, request, reply }) => {
    const key = idempotencyKeyOf(request.headers["idempotency-key"]);
    const name = `${principal.id}\n${key}`;
    if (key !== null && underWay.has(name)) {
      throw new Problem(
        "request_in_progress",
        "A batch with this Idempotency-Key is being answered. Wait for it, or send it again later.",
      );
    }
    if (key !== null) underWay.add(name);
    try {
      const isLines = request.headers["content-type"]?.toLowerCase().includes("ndjson") === true;
      const caller = { principal, idempotencyKey: key };
      if (isLines) return await answerLines(deps, caller, request, reply);
      const results = await enqueueItems(
        deps,
        caller,
        itemsOf(await readJson(request, { maxBytes: deps.limits.batchBytes, withinMs: deps.limits.bodyMs })),
      );
      throwWhereNothingWasTaken(results);
      return { status: 202, body: { results: results.map(({ result }) => result) } };
    } finally {
      underWay.delete(name);
    }
  });
}

interface Caller {
  readonly principal: Principal;
  readonly idempotencyKey: string | null;
}

interface Done {
  readonly result: BatchResult;
  /** Why the store did not take it. */
  readonly unavailable: Problem | null;
}

/** Read, enqueue, answer, and read on: a client that does not read its answers is not read from either. */
async function answerLines(deps: Deps, caller: Caller, request: FastifyRequest, reply: FastifyReply): Promise<null> {
  const { raw } = reply;
  const begin = () => {
    if (raw.headersSent) return;
    reply.hijack();
    const headers = reply.getHeaders() as Record<string, string>;
    raw.writeHead(202, { ...headers, "content-type": "application/x-ndjson", "cache-control": "no-store" });
  };
  let isFirst = true;
  try {
    for await (const lines of linesOf(request, { maxLineBytes: deps.limits.bodyBytes, most: groupSize })) {
      const results = await enqueueItems(deps, caller, lines.map(toItem));
      if (isFirst) throwWhereNothingWasTaken(results);
      isFirst = false;
      begin();
      if (raw.destroyed) return null;
      const isKept = raw.write(results.map(({ result }) => `${JSON.stringify(result)}\n`).join(""));
      if (!isKept) await drained(raw);
    }
  } catch (error) {
    if (isFirst) throw error;
    // Too late for a status: a stream that breaks off says that there are lines without an answer.
    request.log.warn({ err: error }, "a batch broke off");
    raw.destroy();
    return null;
  }
  if (isFirst) throw emptyBody("Send one job on each line.");
  raw.end();
  return null;
}

function drained(raw: FastifyReply["raw"]): Promise<void> {
  return new Promise((resolve) => {
    raw.once("drain", resolve);
    raw.once("close", resolve);
  });
}

function toItem({ number, bytes }: Line): Item {
  return {
    number,
    read: () => {
      if (bytes === null) throw new Problem("body_too_large", "The line is longer than a job may be.");
      return parseJson(decode(bytes));
    },
  };
}

function itemsOf(body: unknown): readonly Item[] {
  if (!Array.isArray(body) || body.length === 0 || body.length > mostInArray) {
    throw new Problem(
      "invalid_request",
      `The body is no array of 1 to ${mostInArray.toLocaleString("en")} jobs. Send one, or any number of jobs in lines (application/x-ndjson).`,
      { errors: [{ pointer: "", detail: `takes an array of 1 to ${mostInArray} jobs` }] },
    );
  }
  return body.map((value: unknown, index) => ({ number: index + 1, read: () => value }));
}

function enqueueItems(deps: Deps, caller: Caller, items: readonly Item[]): Promise<readonly Done[]> {
  return Promise.all(items.map((item) => enqueueItem(deps, caller, item)));
}

async function enqueueItem(
  deps: Deps,
  { principal, idempotencyKey }: Caller,
  { number: line, read }: Item,
): Promise<Done> {
  try {
    const parsed = EnqueueBody.safeParse(read());
    if (!parsed.success) throw invalidRequest(parsed.error, "body");
    const key = idempotencyKey === null ? null : `${idempotencyKey}\n${line}`;
    const { outcome, job } = await enqueueFor(deps, parsed.data, { principal, idempotencyKey: key });
    return { result: { line, outcome, id: job.id }, unavailable: null };
  } catch (error) {
    const problem = toProblem(error);
    const { code, message, errors } = problem;
    if (problem.status >= 500) {
      const detail = "The store did not take it, or it is not known whether it did. Send it again.";
      return { result: { line, outcome: "unavailable", problem: { code, detail } }, unavailable: problem };
    }
    const told = { code, detail: message, ...(errors !== undefined && { errors: [...errors] }) };
    const isRefused = code === "refused" || code === "switched_off";
    const wait = problem.headers["retry-after"];
    return {
      result: {
        line,
        outcome: isRefused ? "refused" : "invalid",
        ...(isRefused && wait !== undefined && { retryAfterMs: Number(wait) * 1_000 }),
        problem: told,
      },
      unavailable: null,
    };
  }
}

/** As long as nothing was answered, a store that is down is the answer to the whole. */
function throwWhereNothingWasTaken(results: readonly Done[]): void {
  const [first] = results;
  if (first?.unavailable != null && results.every(({ unavailable }) => unavailable !== null)) throw first.unavailable;
}
