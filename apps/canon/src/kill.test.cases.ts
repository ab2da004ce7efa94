/**
 * kill -9 at any moment of an import, of the whole application or of a worker among several: it goes on, every object is there
 * exactly once, progress never goes backwards (I1, I8). CANON_KILLS makes it longer.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { startCanon } from "./app.js";
import type { AppPlace, AppTarget } from "./app.test.target.js";
import { readConfig } from "./config.js";
import type { ImportView } from "./imports.js";

const kills = Number(process.env["CANON_KILLS"] ?? 3);
const objects = 96;
/** Records that are refused: they make the reading long enough to be killed in, and cost no embedding. */
const rubbish = 9_000;

export function describeKills(target: AppTarget): void {
  const timeout = 180_000 + kills * 40_000;

  describe(`canon on ${target.name}`, () => {
    test(`an import survives ${kills} kills of its only process`, { timeout }, async () => {
      const place = await target.open();
      const environment = { ...process.env, ...place.environment, ...quick };
      let { child, url } = await start(environment);
      const location = await importWorld(url!);

      const watch = watcher();
      for (let kill = 0; kill < kills; kill++) {
        await atSomeMoment();
        await watch(url + location);
        await end(child);
        ({ child, url } = await start(environment));
        await watch(url + location);
      }
      await watch.untilEnded(() => url + location);
      await end(child);

      await expectWhole(place);
      await place.dispose();
    });

    test(`an import survives ${kills} kills of workers beside a service that runs none`, { timeout }, async () => {
      const place = await target.open();
      const environment = { ...process.env, ...place.environment, ...quick };
      const service = await startCanon(
        readConfig({ ...environment, CANON_ROLE: "service" }),
        pino({ level: "silent" }),
      );
      const url = service.url!;
      const location = await importWorld(url);
      const startWorker = async () => (await start({ ...environment, CANON_ROLE: "worker" })).child;
      // Bulk actions are the service's own; nothing of canon's is.
      const worked = (await service.queue.workers()).flatMap(({ types }) => types.map(({ type }) => type));
      expect(worked).toEqual(["sluice.bulk"]);

      const watch = watcher();
      const workers = [await startWorker(), await startWorker()];
      for (let kill = 0; kill < kills; kill++) {
        await atSomeMoment();
        await watch(url + location);
        await end(workers.shift()!);
        workers.push(await startWorker());
      }
      await watch.untilEnded(() => url + location);
      for (const worker of workers) await end(worker);
      await service.stop();

      await expectWhole(place);
      await place.dispose();
    });
  });
}

const quick = { SLUICE_PORT: "0", SLUICE_LEASE_MS: "1000", LOG_LEVEL: "silent", CANON_EMBED_THREADS: "1" };

async function importWorld(url: string): Promise<string> {
  const every = Math.floor(rubbish / objects);
  const world = Array.from({ length: objects + rubbish }, (_, n) =>
    n % every === 0 && n / every < objects
      ? JSON.stringify({ kind: "npc", name: `Person ${n}` })
      : JSON.stringify({ kind: "npc", number: n }),
  );
  const accepted = await fetch(`${url}/v1/games/kill/imports`, { method: "POST", body: world.join("\n") });
  return accepted.headers.get("location")!;
}

/** Looks at an import, and compares with the last look. */
function watcher() {
  let seen: ImportView["progress"] | null = null;
  const watch = async (url: string): Promise<ImportView> => {
    const view = (await (await fetch(url)).json()) as ImportView;
    for (const counter of ["total", "done", "succeeded", "failed", "skipped"] as const) {
      expect(view.progress[counter]).toBeGreaterThanOrEqual(seen?.[counter] ?? 0);
    }
    seen = view.progress;
    return view;
  };
  const untilEnded = async (url: () => string) => {
    let view = await watch(url());
    while (view.status === "processing") {
      await new Promise((resolve) => setTimeout(resolve, 50));
      view = await watch(url());
    }
    expect(view).toMatchObject({
      outcome: "partial",
      progress: { total: objects + rubbish, succeeded: objects, failed: rubbish, skipped: 0 },
    });
  };
  return Object.assign(watch, { untilEnded });
}

async function expectWhole(place: AppPlace): Promise<void> {
  expect(await place.count("objects")).toBe(objects);
  expect(await place.count("chunks")).toBe(objects);
  expect(await place.count("import_failures")).toBe(rubbish);
  const canon = await startCanon(readConfig({ ...place.environment, ...quick }), pino({ level: "silent" }));
  const ended = (await canon.queue.counts()).map(({ counts }) => counts.failed + counts.cancelled);
  await canon.stop();
  expect(ended).toEqual([0, 0]);
}

/** Not a wait for something to happen: the moment of the kill is the random input of this test. */
function atSomeMoment(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.random() * 700));
}

async function start(env: NodeJS.ProcessEnv): Promise<{ child: ChildProcess; url: string | null }> {
  const child = fork(new URL("./kill.test.program.js", import.meta.url), [], { env });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [url] = (await once(child, "message")) as [string | null];
  return { child, url };
}

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}
