/**
 * A global concurrency under four worker processes, changed while they run. Judged by what the handlers did, each on its own: the
 * marks that they left in a file when they began and ended, and not by what our own tables say (OQ2).
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { Queue } from "../queue.js";
import type { Store } from "../store.js";
import { marked } from "./concurrency.test.definition.js";

const processes = 4;
const runMs = 20;
/** From the answer to a change until it holds everywhere. */
const graceMs = 1_000;
const phaseMs = 1_500;

interface Phase {
  readonly concurrency: number;
  /** The most that ran at once after the grace. */
  readonly most: number;
  readonly runs: number;
}

/** @param address What `concurrency.test.worker.js` opens. */
export async function expectNeverMore(store: Store<unknown>, address: string): Promise<void> {
  const queue = new Queue({ store });
  const folder = mkdtempSync(join(tmpdir(), "sluice-concurrency-"));
  const marks = join(folder, "marks");
  const workers = await Promise.all(Array.from({ length: processes }, () => start(address, marks)));
  try {
    const steps = [3, 5, 1];
    const changes: { readonly at: number; readonly concurrency: number }[] = [];
    await queue.enqueueMany(
      marked,
      Array.from({ length: 3_000 }, () => ({ runMs })),
    );
    for (const concurrency of steps) {
      await queue.setType(marked.type, { concurrency });
      changes.push({ at: Date.now(), concurrency });
      await sleep(graceMs + phaseMs);
    }
    const end = Date.now();
    const seen = readMarks(marks);
    const phases = changes.map(({ at, concurrency }, index) =>
      phaseOf(seen, { from: at + graceMs, to: changes[index + 1]?.at ?? end, concurrency }),
    );
    for (const { concurrency, most, runs } of phases) {
      // No fewer either: there is enough to do.
      expect(most, `at once, of ${concurrency}`).toBe(concurrency);
      expect(runs).toBeGreaterThan(3);
    }
  } finally {
    for (const worker of workers) worker.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  }
}

async function start(address: string, marks: string) {
  const child = fork(new URL("./concurrency.test.worker.js", import.meta.url), [address, marks]);
  await once(child, "message");
  return child;
}

interface Mark {
  readonly at: number;
  readonly by: 1 | -1;
}

/** In the order in which they were written: an append to a file is one step, whoever does it. */
function readMarks(file: string): readonly Mark[] {
  const lines = readFileSync(file, "utf8").split("\n").filter((line) => line !== ""); // prettier-ignore
  return lines.map((line) => ({ by: line.startsWith("+") ? 1 : -1, at: Number(line.slice(1)) }));
}

function phaseOf(
  marks: readonly Mark[],
  { from, to, concurrency }: { readonly from: number; readonly to: number; readonly concurrency: number },
): Phase {
  let running = 0;
  let most = 0;
  let runs = 0;
  for (const { at, by } of marks) {
    running += by;
    if (at < from || at >= to) continue;
    most = Math.max(most, running);
    if (by === 1) runs += 1;
  }
  return { concurrency, most, runs };
}
