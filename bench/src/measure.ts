/**
 * How the benchmarks look: latencies of concurrent callers, event-loop delay, quantiles. The same shape as ../shared/ceiling.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";

export interface Latencies {
  readonly perSecond: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** Event-loop delay, ms. */
  readonly loopP95: number;
}

/** `callers` loops call `run` one after another for `seconds`. */
export async function measureCallers(
  run: () => Promise<unknown>,
  callers: number,
  seconds: number,
): Promise<Latencies> {
  const latencies: number[] = [];
  const loop = monitorEventLoopDelay({ resolution: 1 });
  const startedAt = performance.now();
  const end = startedAt + seconds * 1_000;
  loop.enable();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < end) {
        const at = performance.now();
        await run();
        latencies.push(performance.now() - at);
      }
    }),
  );
  loop.disable();
  const elapsed = (performance.now() - startedAt) / 1_000;
  return {
    perSecond: Math.round(latencies.length / elapsed),
    ...quantiles(latencies),
    loopP95: loop.percentile(95) / 1e6,
  };
}

/** Of two processes at a steady rate: until then their code is being compiled, and what comes in waits. */
export const warmUpSeconds = 2;

/** Calls `run` so many times at a steady rate, whether earlier calls have been answered or not; waits for all answers. */
export async function atRate(perSecond: number, total: number, run: () => Promise<unknown>): Promise<void> {
  const startedAt = performance.now();
  const sent: Promise<unknown>[] = [];
  while (sent.length < total) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1_000) * perSecond));
    while (sent.length < due) sent.push(run());
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(sent);
}

export function quantiles(values: readonly number[]): {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
} {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** Milliseconds since 1970 with their fractions: the same in every process of one machine. */
export function preciseNow(): number {
  return performance.timeOrigin + performance.now();
}

export async function measureLoop<T>(run: () => Promise<T>): Promise<{ value: T; seconds: number; loopP95: number }> {
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const startedAt = performance.now();
  const value = await run();
  const seconds = (performance.now() - startedAt) / 1_000;
  loop.disable();
  return { value, seconds, loopP95: loop.percentile(95) / 1e6 };
}
