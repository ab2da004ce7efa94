/**
 * What a service gets to see that is down for two minutes while thousands of jobs need it: counted at the service, second by second,
 * while it is down and after it has come back (F2).
 *
 * `node bench/dist/outage.js`; `--down 120` seconds, `--jobs 5000`, `--processes 4`, `--concurrency 5` of each, `--answerMs 200`,
 * `--store sqlite|postgres`, `--url`.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Queue } from "sluice";
import { startCrew } from "./crew.js";
import { asking } from "./experiment-jobs.js";
import { postgresBed } from "./postgres-bed.js";
import { sqliteBed } from "./sqlite-bed.js";

const { values } = parseArgs({
  options: {
    down: { type: "string", default: "120" },
    jobs: { type: "string", default: "5000" },
    processes: { type: "string", default: "4" },
    concurrency: { type: "string", default: "5" },
    answerMs: { type: "string", default: "200" },
    store: { type: "string", default: "sqlite" },
    url: { type: "string" },
  },
});
const downMs = Number(values.down) * 1_000;
const jobs = Number(values.jobs);

const bed = values.store === "postgres" ? await postgresBed(values.url) : sqliteBed();
await bed.with(async (store, address) => {
  const queue = new Queue({ store });
  const service = await startService();
  await queue.enqueueMany(
    asking,
    Array.from({ length: jobs }, (_, index) => ({ index })),
  );
  // The outage begins when the first job could ask.
  const crew = await startCrew(Number(values.processes), "./outage-worker.js", [
    address,
    service.url,
    values.concurrency,
  ]);
  await sleep(downMs);
  const backAt = service.comeBack();
  const deadline = backAt + 15 * 60_000;
  let counts = await countsOf(queue);
  while (counts.completed + counts.failed + counts.cancelled < jobs && performance.now() < deadline) {
    await sleep(1_000);
    counts = await countsOf(queue);
  }
  const isDone = counts.completed + counts.failed + counts.cancelled === jobs;
  await crew.stop();
  service.close();
  await tell(queue, { requests: service.requests, backAt, counts, isDone });
});
await bed.end();

interface Request {
  readonly at: number;
  readonly isGood: boolean;
}

async function startService() {
  const requests: Request[] = [];
  let isUp = false;
  const server = createServer((_, response) => {
    requests.push({ at: performance.now(), isGood: isUp });
    if (!isUp) return void response.writeHead(503).end();
    setTimeout(() => response.end("ok"), Number(values.answerMs));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    comeBack() {
      isUp = true;
      return performance.now();
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function countsOf(queue: Queue<unknown>) {
  const [counts] = await queue.counts({ types: [asking.type] });
  return counts!.counts;
}

interface Seen {
  readonly requests: readonly Request[];
  readonly backAt: number;
  readonly counts: Awaited<ReturnType<typeof countsOf>>;
  readonly isDone: boolean;
}

async function tell(queue: Queue<unknown>, { requests, backAt, counts, isDone }: Seen): Promise<void> {
  const whileDown = requests.filter(({ isGood }) => !isGood).map(({ at }) => at);
  const after = requests.filter(({ isGood }) => isGood).map(({ at }) => at);
  const firstGood = after[0]!;
  const storm = perSecond(after, firstGood).slice(0, 30);
  const steady = perSecond(after, firstGood).slice(30);
  const inBursts = bursts(whileDown);
  console.log(`${bed.title}: ${jobs} jobs, down for ${downMs / 1_000} s, ${values.processes} × ${values.concurrency}`);
  console.table({
    "requests while down": whileDown.length,
    "of them before the breaker opened": inBursts[0]!.count,
    "tries after that, at s": inBursts.slice(1).map(({ at, count }) => `${seconds(at - whileDown[0]!)} (${count})`).join(", "), // prettier-ignore
    "most in any second while down": Math.max(...perSecond(whileDown, whileDown[0]!)),
    "first request after recovery, s": seconds(firstGood - backAt),
    "most in a second, first 30 s after recovery": Math.max(0, ...perSecond(after, backAt).slice(0, 30)),
    "most in a second, first 30 s of work": Math.max(...storm),
    "most in a second after that": Math.max(0, ...steady),
    "all done, s after recovery": isDone ? seconds(after.at(-1)! - backAt) : "not",
    completed: counts.completed,
    "dead letters": counts.failed,
    "attempts used": await attemptsUsed(queue),
    "times opened or changed": (await queue.settingsHistory({ type: asking.type, limit: 1_000 })).length,
  });
  console.log(`per second, from the first request after recovery: ${perSecond(after, firstGood).join(" ")}`);
  for (const { at, before, after: now } of [
    ...(await queue.settingsHistory({ type: asking.type, limit: 1_000 })),
  ].reverse()) {
    const name = (breaker: typeof now.breaker) => (breaker === null ? "closed" : `level ${breaker.level}, ${breaker.openMs} ms`); // prettier-ignore
    console.log(`${new Date(at).toISOString()} ${name(before.breaker)} → ${name(now.breaker)}`);
  }
}

/** How many in each second from `start` on. */
function perSecond(instants: readonly number[], start: number): number[] {
  const inSecond: number[] = [];
  for (const at of instants) {
    const second = Math.floor((at - start) / 1_000);
    inSecond[second] = (inSecond[second] ?? 0) + 1;
  }
  return Array.from(inSecond, (count) => count ?? 0);
}

/** What came without a pause of a second. */
function bursts(instants: readonly number[]): { readonly at: number; readonly count: number }[] {
  const found: { at: number; last: number; count: number }[] = [];
  for (const at of instants) {
    const current = found.at(-1);
    if (current === undefined || at - current.last > 1_000) found.push({ at, last: at, count: 1 });
    else Object.assign(current, { last: at, count: current.count + 1 });
  }
  return found;
}

/** By number of attempts: how many jobs. */
async function attemptsUsed(queue: Queue<unknown>): Promise<string> {
  const jobsBy = new Map<number, number>();
  let cursor: string | null = null;
  do {
    const page = await queue.list({ types: [asking.type], cursor, limit: 1_000 });
    for (const { attempt } of page.jobs) jobsBy.set(attempt, (jobsBy.get(attempt) ?? 0) + 1);
    cursor = page.next;
  } while (cursor !== null);
  return [...jobsBy].sort(([a], [b]) => a - b).map(([attempt, count]) => `${attempt}: ${count}`).join(", "); // prettier-ignore
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
