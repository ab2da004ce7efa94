/**
 * kill -9 of the whole application at any moment of an import: it goes on when started again, every object is there exactly
 * once, progress never goes backwards (I1, I8). CANON_KILLS makes it longer.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import { startCanon } from "./app.js";
import { readConfig } from "./config.js";
import type { ImportView } from "./imports.js";

const kills = Number(process.env["CANON_KILLS"] ?? 6);
const objects = 160;
/** Records that are refused: they make the reading long enough to be killed in, and cost no embedding. */
const rubbish = 9_000;

test(
  `an import survives ${kills} kills: nothing lost, nothing twice, progress only forward`,
  { timeout: 60_000 + kills * 20_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "canon-kill-"));
    const environment = {
      ...process.env,
      SLUICE_DATA: folder,
      SLUICE_PORT: "0",
      SLUICE_LEASE_MS: "1000",
      LOG_LEVEL: "silent",
    };
    const world = Array.from({ length: objects + rubbish }, (_, n) =>
      n % Math.floor(rubbish / objects) === 0 && n / Math.floor(rubbish / objects) < objects
        ? JSON.stringify({ kind: "npc", name: `Person ${n}` })
        : JSON.stringify({ kind: "npc", number: n }),
    );
    let { child, url } = await start(environment);
    const accepted = await fetch(`${url}/v1/games/kill/imports`, { method: "POST", body: world.join("\n") });
    const location = accepted.headers.get("location")!;

    let seen: ImportView["progress"] | null = null;
    const watch = async () => {
      const view = (await (await fetch(url + location)).json()) as ImportView;
      for (const counter of ["total", "done", "succeeded", "failed", "skipped"] as const) {
        expect(view.progress[counter]).toBeGreaterThanOrEqual(seen?.[counter] ?? 0);
      }
      seen = view.progress;
      return view;
    };
    for (let kill = 0; kill < kills; kill++) {
      // Not a wait for something to happen: the moment of the kill is the random input of this test.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 700));
      await watch();
      child.kill("SIGKILL");
      await once(child, "exit");
      ({ child, url } = await start(environment));
      await watch();
    }
    let view = await watch();
    while (view.status === "processing") {
      await new Promise((resolve) => setTimeout(resolve, 50));
      view = await watch();
    }
    child.kill("SIGKILL");
    await once(child, "exit");

    const canon = await startCanon(readConfig(environment), pino({ level: "silent" }));
    const count = (sql: string) => (canon.store.connection.prepare(sql).get() as { n: number }).n;
    expect(view).toMatchObject({
      outcome: "partial",
      progress: { total: objects + rubbish, succeeded: objects, failed: rubbish, skipped: 0 },
    });
    expect(count("select count(*) as n from canon_objects")).toBe(objects);
    expect(count("select count(*) as n from canon_chunks")).toBe(objects);
    expect(count("select count(*) as n from canon_import_failures")).toBe(rubbish);
    expect((await canon.queue.counts()).map(({ counts }) => counts.failed + counts.cancelled)).toEqual([0, 0]);
    await canon.stop();
    rmSync(folder, { recursive: true });
  },
);

async function start(env: NodeJS.ProcessEnv): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(new URL("./kill.test.program.js", import.meta.url), [], { env });
  const [url] = (await once(child, "message")) as [string];
  return { child, url };
}
