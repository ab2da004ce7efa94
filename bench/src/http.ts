/**
 * `npm run bench:http`: POST /v1/jobs beside a route of Fastify that does nothing with the same body, in the same run, alternating:
 * the share of its throughput that is left is what durability, validation and the rest cost. `--store sqlite|postgres`, `--url`,
 * `--connections N` (32), `--seconds N` (10), `--rounds N` (3), `--json FILE`.
 *
 * Service and load share the machine: the service is a process of its own (http-target.ts), the load is autocannon in this one.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import autocannon from "autocannon";

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "sqlite" },
    url: { type: "string" },
    connections: { type: "string", default: "32" },
    seconds: { type: "string", default: "10" },
    rounds: { type: "string", default: "3" },
    json: { type: "string" },
  },
});
const connections = Number(values.connections);
const duration = Number(values.seconds);

interface Figures {
  readonly what: string;
  readonly perSecond: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly errors: number;
}

async function load(what: string, url: string): Promise<Figures> {
  const result = await autocannon({
    url,
    method: "POST",
    connections,
    duration,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type: "demo.echo", payload: { text: "a text of usual length, for a job of usual size" } }),
  });
  const { latency } = result as unknown as { latency: Record<string, number> };
  const p95 = percentile(latency);
  return {
    what,
    perSecond: result.requests.average,
    p50: latency["p50"]!,
    p95,
    p99: latency["p99"]!,
    errors: result.errors + result.non2xx,
  };
}

/** autocannon has 90 and 97.5 and nothing between: the straight line is never below the truth of a tail that grows. */
function percentile(latency: Record<string, number>): number {
  const [p90, p975] = [latency["p90"]!, latency["p97_5"]!];
  return p90 + ((p975 - p90) * 5) / 7.5;
}

async function target(): Promise<{ child: ChildProcess; jobs: string; nothing: string }> {
  const program = new URL("./http-target.js", import.meta.url);
  const child = fork(program, [values.store, ...(values.url === undefined ? [] : [values.url])]);
  const [message] = (await once(child, "message")) as [{ jobs: string; nothing: string }];
  return { child, ...message };
}

console.log(
  `${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${values.store}, ${connections} connections\n`,
);
const { child, jobs, nothing } = await target();
await load("warm-up", jobs);
const rows: Figures[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [what, url] of [
    ["no-op", nothing],
    ["POST /v1/jobs", jobs],
  ] as const) {
    const row = await load(what, url);
    rows.push(row);
    console.log(
      `${what.padEnd(14)} ${Math.round(row.perSecond)}/s  p50 ${row.p50} p95 ${row.p95.toFixed(1)} p99 ${row.p99} ms  errors ${row.errors}`,
    );
  }
}
const mean = (what: string) => {
  const those = rows.filter((row) => row.what === what);
  return those.reduce((sum, { perSecond }) => sum + perSecond, 0) / those.length;
};
console.log(`share of the no-op: ${(mean("POST /v1/jobs") / mean("no-op")).toFixed(2)}`);
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(rows, null, 2));
child.send("stop");
await once(child, "exit");
