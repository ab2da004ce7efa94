/**
 * The worker thread of embedder.ts: loads the model at its first task, then embeds what it is given.
 * Imports the model only inside the task. Piscina leaves a task waiting for ever when the thread file itself
 * fails to load, whereas a failed task is reported.
 */
import { getPriority, setPriority } from "node:os";
import { workerData } from "node:worker_threads";
import type { Model } from "./model.js";

/** What the embedder tells its threads. */
export interface ThreadSettings {
  /** How much lower than the process's own priority this thread runs, 0 to 19. */
  niceness: number;
}

/** Sent as a value: an error class would not survive the way between threads. */
export type ThreadAnswer = { kind: "embedded"; vectors: Float32Array[] } | { kind: "modelUnusable"; message: string };

let loading: Promise<Model> | undefined;

lowerPriority((workerData as ThreadSettings).niceness);

/** The task: one vector per text, same order. Piscina calls it by name. */
// ts-unused-exports:disable-next-line
export async function embed(texts: readonly string[]): Promise<ThreadAnswer> {
  let model: Model;
  try {
    const { loadModel } = await import("./model.js");
    loading ??= loadModel();
    model = await loading;
  } catch (error) {
    loading = undefined; // the next task tries again, so a repaired installation needs no restart
    return { kind: "modelUnusable", message: error instanceof Error ? error.message : String(error) };
  }

  try {
    return { kind: "embedded", vectors: model.embed(texts) };
  } catch (error) {
    return stopThread(error);
  }
}

function lowerPriority(niceness: number): void {
  // Linux keeps a priority per thread, and 0 means the calling one. Elsewhere the same call slows the whole process.
  if (niceness <= 0 || process.platform !== "linux") return;
  try {
    setPriority(0, Math.min(19, getPriority(0) + niceness));
  } catch {
    // Safe to go on: a sandbox that forbids it costs queries some milliseconds, not correctness.
  }
}

/** After a failed run the WebAssembly memory cannot be trusted: the thread dies with the error, a fresh one follows. */
function stopThread(error: unknown): Promise<never> {
  setImmediate(() => {
    throw error;
  });
  return new Promise<never>(() => {});
}
