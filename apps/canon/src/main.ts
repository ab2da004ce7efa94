/**
 * `npm start`: the service and its worker in one process. On an empty library it imports the bundled sample world the way any
 * client would, over HTTP, and shows how far it is. `--role service` and `--role worker` run one half each. Stays up until told
 * to stop.
 */
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { pino } from "pino";
import { startCanon, type Canon } from "./app.js";
import { readConfig } from "./config.js";
import { describeLocation } from "./database/location.js";
import type { ImportView } from "./imports.js";
import { sampleWorld } from "./sample.js";

const sampleGame = "srd";

async function main(): Promise<void> {
  const config = readConfig(process.env, process.argv.slice(2));
  const logger = pino({ level: config.LOG_LEVEL }, pino.destination(2));
  const canon = await startCanon(config, logger);
  const stopping = stopOnSignal(canon);

  const home = describeLocation(config.SLUICE_STORE, config.SLUICE_DATA);
  if (canon.notice !== null) console.log(canon.notice);
  if (canon.url === null) return console.log(`canon runs jobs (data in ${home})`);
  console.log(`canon is up at ${canon.url} (data in ${home})`);
  // The sample is imported the way any client would, and without a key of its own this one may not.
  if (!canon.isOpen) return console.log("It asks for an API key; there is one already.");
  if (config.CANON_ROLE === "both") await showSample(canon.url, home, stopping);
}

/** The first steps of a new user: a world to search, and what to try next. */
async function showSample(url: string, home: string, stopping: AbortSignal): Promise<void> {
  const { imports } = await getJson<{ imports: ImportView[] }>(`${url}/v1/games/${sampleGame}/imports`);
  const location = imports.at(-1)?.links.self ?? (await importSample(url, home));
  await showProgress(url + location, stopping);
  if (stopping.aborted) return;

  console.log(`
  The import   ${url}${location}
  Search it    ${url}/v1/games/${sampleGame}/search?q=bring+a+dead+person+back+to+life
  Import yours curl --data-binary @world.json ${url}/v1/games/mine/imports
  Stop         Ctrl+C; nothing is lost, start again to go on`);
}

async function importSample(url: string, home: string): Promise<string> {
  console.log(`${home} holds no world yet: importing the sample (SRD 5.1, CC-BY-4.0)`);
  const response = await fetch(`${url}/v1/games/${sampleGame}/imports`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ objects: [...sampleWorld()] }),
  });
  if (response.status !== 202)
    throw new Error(`The sample was not accepted: ${response.status} ${await response.text()}`);
  return response.headers.get("location")!;
}

/** One line that is redrawn on a terminal; a line each ten percent elsewhere. */
async function showProgress(url: string, stopping: AbortSignal): Promise<void> {
  const isTerminal = process.stdout.isTTY === true;
  let shownTenth = -1;
  while (!stopping.aborted) {
    // A look that fails is repeated: showing progress must never take the service down.
    const view = await getJson<ImportView>(url).catch(() => null);
    if (view === null) {
      await setTimeout(1_000, undefined, { signal: stopping }).catch(() => undefined);
      continue;
    }
    const { done, total, failed, isTotalFinal } = view.progress;
    const share = isTotalFinal && total > 0 ? done / total : 0;
    const bar = "█".repeat(Math.floor(share * 30)).padEnd(30, "░");
    const text = isTotalFinal
      ? `${bar} ${Math.floor(share * 100)} %  ${done} of ${total} objects`
      : `reading: ${total} objects so far`;
    const line = `  ${text}${failed > 0 ? `, ${failed} need attention` : ""}`;
    if (isTerminal) process.stdout.write(`\r\x1b[K${line}`);
    else if (Math.floor(share * 10) > shownTenth) {
      shownTenth = Math.floor(share * 10);
      console.log(line);
    }
    if (view.status !== "processing") {
      if (isTerminal) process.stdout.write("\n");
      console.log(
        `  ${view.status}${view.outcome ? `, ${view.outcome}` : ""}${view.problem ? `: ${view.problem}` : ""}`,
      );
      return;
    }
    await setTimeout(500, undefined, { signal: stopping }).catch(() => undefined);
  }
}

async function getJson<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

/** The first signal stops in good order, the second at once. The answer fires when stopping begins. */
function stopOnSignal(canon: Canon): AbortSignal {
  const stopping = new AbortController();
  const stop = async () => {
    stopping.abort();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
    console.log("\nstopping: running jobs finish or are given back (again to force)");
    await canon.stop();
    process.exit(0);
  };
  void Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]).then(stop);
  return stopping.signal;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
