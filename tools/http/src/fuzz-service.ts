/** The service of a fuzz run, as a process of its own. Says where it is, then answers questions about its health, until its parent is gone. */
import { Queue } from "sluice";
import { postgres } from "sluice/postgres";
import { sqlite } from "sluice/sqlite";
import { definitions } from "./demo-jobs.js";
import { startDemo } from "./demo.js";
import type { Started, Vitals } from "./fuzz.js";

const unhandled: string[] = [];
const note = (error: unknown) =>
  unhandled.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
process.on("unhandledRejection", note);
process.on("uncaughtException", note);

const [address = ""] = process.argv.slice(2);
const store = await open(address);
const queue = new Queue<unknown>({ store });
const { token } = await queue.createAccessKey({ name: "fuzz", roles: ["admin"] });
const demo = await startDemo(store);
const doomed = definitions.find(({ type }) => type === "demo.doomed")!;
const orphan = definitions.find(({ type }) => type === "demo.orphan")!;

process.on("message", (question) => {
  (question === "top up" ? topUp() : vitals()).then((answer) => process.send!(answer), note);
});
process.once("disconnect", () => {
  stop().catch((error: unknown) => {
    note(error);
    process.exitCode = 1;
  });
});
process.send!({ url: demo.service.url, key: token } satisfies Started);

async function open(text: string) {
  if (text.startsWith("sqlite:")) return sqlite({ path: text.slice("sqlite:".length) });
  const [url = "", schema = "fuzz"] = text.slice("postgres:".length).split(" ");
  return postgres({ url, schema });
}

/** Jobs in the states that commands are for: whatever was done to the others. */
async function topUp(): Promise<Vitals> {
  const failing = Array.from({ length: 20 }, () => demo.queue.enqueue(doomed as never, { isGood: false } as never));
  const waiting = Array.from({ length: 20 }, (_, n) => demo.queue.enqueue(orphan as never, { n } as never));
  const jobs = (await Promise.all(failing)).map(({ job }) => job.id);
  await Promise.all(waiting);
  await Promise.all(jobs.map((id) => demo.queue.waitFor(id, { timeoutMs: 20_000 }).catch(() => undefined)));
  return vitals();
}

async function vitals(): Promise<Vitals> {
  // Twice: what a finalizer lets go of is collected by the second.
  globalThis.gc!();
  await new Promise((resolve) => setImmediate(resolve));
  globalThis.gc!();
  const handles: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo())
    if (/Wrap$|Socket/.test(kind)) handles[kind] = (handles[kind] ?? 0) + 1;
  return { heapMb: process.memoryUsage().heapUsed / 1_048_576, handles, unhandled };
}

async function stop(): Promise<void> {
  await demo.stop();
  await queue.close();
  await store.close();
  process.exitCode = unhandled.length === 0 ? 0 : 1;
}
