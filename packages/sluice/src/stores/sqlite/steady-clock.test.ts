/**
 * Leases while somebody sets the system's time.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { aBeat } from "../../testing/index.js";
import { openDatabase } from "./engine.js";
import type { Database } from "./engine.js";
import { migrate } from "./migrations.js";
import { Session } from "./session.js";
import { SteadyClock } from "./steady-clock.js";
import { findLost, heartbeat } from "./workers.js";

const leaseMs = 15_000;
const hour = 60 * 60 * 1_000;
let folder: string;
let database: Database;

afterEach(() => {
  database.close();
  rmSync(folder, { recursive: true });
});

/** A process that watches leases, as its store thread does; time passes for it, and is set. */
class Watcher {
  readonly #session: Session;
  readonly #steady: SteadyClock;
  #monotonic = 5_000;
  #offset = Date.UTC(2026, 0, 1);

  constructor(connection: Database) {
    const wall = () => this.#monotonic + this.#offset;
    this.#steady = new SteadyClock(wall, () => this.#monotonic);
    this.#session = new Session(connection, wall, this.#steady);
  }

  setClock(byMs: number): void {
    this.#offset += byMs;
  }

  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 1_000) {
      this.#monotonic += Math.min(1_000, left);
      this.#steady.look();
    }
  }

  beat(workerId: string): string {
    return this.#session.begin(() => heartbeat(this.#session, aBeat({ workerId, leaseMs }))).value.lease;
  }

  lost(): readonly string[] {
    return this.#session.begin(() => findLost(this.#session, { limit: 1 })).value.workers;
  }
}

async function setup(): Promise<Watcher> {
  folder = mkdtempSync(join(tmpdir(), "sluice-steady-"));
  database = await openDatabase({ path: join(folder, "jobs.db") });
  migrate(database, "jobs.db");
  return new Watcher(database);
}

test.each([hour, 2_000, 0])("a clock set forward by %d ms loses the dead, on time, and nobody else", async (step) => {
  const watcher = await setup();
  watcher.beat("alive");
  watcher.beat("dead");
  watcher.pass(3_000);

  watcher.setClock(step);
  const atOnce = watcher.lost();
  watcher.pass(2_000);
  const renewed = watcher.beat("alive");
  watcher.pass(leaseMs - 5_000 - 1);
  const tooEarly = watcher.lost();
  watcher.pass(1);

  expect([atOnce, renewed, tooEarly, watcher.lost()]).toEqual([[], "held", [], ["dead"]]);
});

test("a clock set back loses nobody", async () => {
  const watcher = await setup();
  watcher.beat("alive");

  watcher.setClock(-hour);
  const atOnce = watcher.lost();
  watcher.beat("alive");
  watcher.pass(leaseMs - 1);

  expect([atOnce, watcher.lost()]).toEqual([[], []]);
});

test("a worker that dies after the step is lost when its lease is over", async () => {
  const watcher = await setup();
  watcher.beat("worker");
  watcher.setClock(hour);
  watcher.pass(1_000);
  watcher.beat("worker");

  watcher.pass(leaseMs - 1);
  const before = watcher.lost();
  watcher.pass(1);

  expect([before, watcher.lost()]).toEqual([[], ["worker"]]);
});
