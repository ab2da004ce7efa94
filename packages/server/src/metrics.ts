/**
 * Numbers for Prometheus. Gauges of the store are read when asked for and are the same from every process; counters are of this
 * process. No job, caller or worker is a label.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import {
  isAlive,
  isPaused,
  type Events,
  type Queue,
  type TypeCounts,
  type TypeSettings,
  type WorkerRecord,
} from "sluice";
import type { Gate } from "./gate.js";
import type { Live } from "./live.js";

const runBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];
const requestBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export interface MetricsSources {
  readonly queue: Queue<unknown>;
  readonly gate: Gate;
  readonly live: Live;
  readonly types: Iterable<string>;
  readonly now: () => number;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Histogram<"method" | "route" | "status">;
  readonly #series = new Map<string, Histogram.Internal<"method" | "route" | "status">>();
  readonly #stop: (() => void)[];

  constructor(sources: MetricsSources) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    storeGauges(this.#registry, sources);
    const gauges: [string, string, () => number][] = [
      ["sluice_http_requests_in_flight", "Requests being answered.", () => sources.gate.requests],
      ["sluice_http_streams", "Open streams of server-sent events.", () => sources.live.streams],
      [
        "sluice_event_loop_delay_seconds",
        "How late the event loop was of late.",
        () => sources.gate.loopDelayMs / 1_000,
      ],
    ];
    for (const [name, help, read] of gauges) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    }
    this.#requests = new Histogram({
      name: "sluice_http_request_duration_seconds",
      help: "How long requests took to answer.",
      labelNames: ["method", "route", "status"],
      buckets: requestBuckets,
      registers,
    });
    this.#stop = countEvents(this.#registry, sources.queue.events, sources.types);
  }

  answered(
    { method, route, status }: { readonly method: string; readonly route: string; readonly status: number },
    seconds: number,
  ): void {
    // To find a series by its labels costs more than to count in it; there are as many as routes and statuses.
    const name = `${method} ${route} ${status}`;
    let series = this.#series.get(name);
    if (series === undefined) {
      series = this.#requests.labels({ method, route, status: String(status) });
      this.#series.set(name, series);
    }
    series.observe(seconds);
  }

  async text(): Promise<{ readonly type: string; readonly text: string }> {
    return { type: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  close(): void {
    for (const stop of this.#stop) stop();
    this.#registry.clear();
  }
}

interface StoreNumbers {
  readonly counts: readonly TypeCounts[];
  readonly living: readonly WorkerRecord[];
  readonly settings: readonly TypeSettings[];
}

/** One look at the store serves all gauges of a scrape (K3). */
function storeGauges(registry: Registry, { queue, now }: MetricsSources): void {
  let looking: Promise<StoreNumbers> | null = null;
  const look = async (): Promise<StoreNumbers> => {
    const [counts, workers, settings] = await Promise.all([queue.counts(), queue.workers(), queue.settings()]);
    return { counts, living: workers.filter((each) => isAlive(each, now())), settings };
  };
  const gauge = <Label extends string>(
    { name, help, labelNames }: { readonly name: string; readonly help: string; readonly labelNames: readonly Label[] },
    fill: (numbers: StoreNumbers, set: (labels: Record<Label, string>, value: number) => void) => void,
  ) =>
    new Gauge<Label>({
      name,
      help,
      labelNames,
      registers: [registry],
      async collect() {
        looking ??= look().finally(() => (looking = null));
        const numbers = await looking;
        this.reset();
        fill(numbers, (labels, value) => this.set(labels as Partial<Record<Label, string>>, value));
      },
    });

  gauge(
    { name: "sluice_jobs", help: "Jobs of a type in a state.", labelNames: ["type", "state"] },
    ({ counts }, set) => {
      for (const { type, counts: states } of counts) {
        for (const [state, n] of Object.entries(states)) set({ type, state }, n);
      }
    },
  );
  gauge({ name: "sluice_workers", help: "Living workers.", labelNames: [] }, ({ living }, set) =>
    set({}, living.length),
  );
  gauge({ name: "sluice_worker_slots", help: "Slots of living workers.", labelNames: ["kind"] }, ({ living }, set) => {
    set(
      { kind: "total" },
      living.reduce((sum, { concurrency }) => sum + concurrency, 0),
    );
    set(
      { kind: "busy" },
      living.reduce((sum, { processing }) => sum + processing, 0),
    );
  });
  gauge(
    { name: "sluice_type_paused", help: "1 while a type is paused.", labelNames: ["type"] },
    ({ settings }, set) => {
      for (const each of settings) set({ type: each.type }, isPaused(each, now()) ? 1 : 0);
    },
  );
}

/** K4 and K5, as this process sees them: what it enqueues, and what its worker does when both share their events. */
function countEvents(registry: Registry, events: Events, types: Iterable<string>): (() => void)[] {
  const registers = [registry];
  const enqueued = new Counter({
    name: "sluice_jobs_enqueued_total",
    help: "Jobs that this process enqueued.",
    labelNames: ["type", "outcome"],
    registers,
  });
  const attempts = new Counter({
    name: "sluice_job_attempts_total",
    help: "Attempts that this process ran, by how they ended.",
    labelNames: ["type", "result"],
    registers,
  });
  const run = new Histogram({
    name: "sluice_job_run_seconds",
    help: "How long attempts ran.",
    labelNames: ["type"],
    buckets: runBuckets,
    registers,
  });
  const wait = new Histogram({
    name: "sluice_job_wait_seconds",
    help: "How long jobs were due before they were started.",
    labelNames: ["type"],
    buckets: runBuckets,
    registers,
  });
  // A counter that is not there yet has no increase.
  for (const type of types) {
    enqueued.inc({ type, outcome: "created" }, 0);
    for (const result of ["completed", "retried", "failed"]) attempts.inc({ type, result }, 0);
  }
  const ended = (result: string) => (event: { job: { type: string }; runMs: number }) => {
    attempts.inc({ type: event.job.type, result });
    run.observe({ type: event.job.type }, event.runMs / 1_000);
  };
  return [
    events.on("job.enqueued", ({ job, outcome }) => enqueued.inc({ type: job.type, outcome })),
    events.on("job.started", ({ job, waitMs }) => wait.observe({ type: job.type }, waitMs / 1_000)),
    events.on("job.completed", ended("completed")),
    events.on("job.retried", ended("retried")),
    events.on("job.failed", ended("failed")),
  ];
}
