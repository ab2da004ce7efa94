/**
 * What takes one slot of a worker: a job, or a batch of jobs. Forms the batches out of what was claimed together, in that order.
 */
import { BatchProcessor } from "./batch.js";
import { readPayload, type AnyDefinition, type BatchRules } from "./definition.js";
import { JobsError } from "./errors.js";
import type { Processor } from "./processor.js";
import { isSuspect } from "./settlement.js";
import type { ClaimedJob } from "./store.js";

export interface Unit {
  readonly type: string;
  readonly jobs: readonly ClaimedJob[];
}

/** The rules of a processor that takes batches; null for one that takes jobs one by one. */
export function batchRulesOf(processor: Processor): BatchRules<unknown> | null {
  if (!(processor instanceof BatchProcessor)) return null;
  const { type, batch } = processor.definition as AnyDefinition;
  if (batch !== null) return batch;
  const message = `The processor of ${type} takes batches, and its definition does not say how large. Give it batch: { max }.`;
  throw new JobsError("INVALID_DEFINITION", message, { type });
}

/** @param onTrouble Called for a job that runs by itself because its key or weight is unknown. */
export function formUnits(
  jobs: readonly ClaimedJob[],
  processorOf: (type: string) => Processor,
  onTrouble: (during: string, error: unknown) => void,
): Unit[] {
  const open = new Map<string, OpenBatch>();
  const units: { readonly type: string; readonly jobs: ClaimedJob[] }[] = [];
  for (const job of jobs) {
    const { type } = job;
    const processor = processorOf(type);
    const rules = batchRulesOf(processor);
    const measure = rules === null ? null : measureOf(job, processor.definition, rules, onTrouble);
    if (rules === null || measure === null) {
      units.push({ type, jobs: [job] });
      continue;
    }
    const place = `${type} ${measure.key}`;
    const last = open.get(place);
    if (last !== undefined && fits(last, job, measure, rules)) {
      last.jobs.push(job);
      last.weight += measure.weight;
      last.most = Math.min(last.most, mostWith(job, rules));
      continue;
    }
    const unit = { type, jobs: [job] };
    units.push(unit);
    open.set(place, { jobs: unit.jobs, weight: measure.weight, most: mostWith(job, rules) });
  }
  return units;
}

interface OpenBatch {
  readonly jobs: ClaimedJob[];
  weight: number;
  /** As few as the most suspicious of its jobs allows. */
  most: number;
}

interface Measure {
  readonly key: string;
  readonly weight: number;
}

/** Never back into a batch that was too full for an earlier one: jobs of one key keep their order. */
function fits(open: OpenBatch, job: ClaimedJob, { weight }: Measure, rules: BatchRules<unknown>): boolean {
  const isLight = rules.weighing === null || open.weight + weight <= rules.weighing.maxWeight;
  return isLight && open.jobs.length < Math.min(open.most, mostWith(job, rules));
}

/**
 * How many jobs a batch with this one may have. After a crash nobody knows which of a batch it was: halves find it in a few rounds,
 * and leave most of the innocent in company.
 */
function mostWith(job: ClaimedJob, { max }: BatchRules<unknown>): number {
  if (isSuspect(job)) return 1;
  return job.crashes === 0 ? max : Math.ceil(max / 2);
}

/** Null when it cannot be told: an unreadable payload, to be reported by its attempt, or rules that threw. */
function measureOf(
  job: ClaimedJob,
  definition: AnyDefinition,
  { by, weighing }: BatchRules<unknown>,
  onTrouble: (during: string, error: unknown) => void,
): Measure | null {
  if (by === null && weighing === null) return { key: "", weight: 0 };
  try {
    const payload = readPayload(definition, job);
    if (payload instanceof Promise) {
      payload.catch(() => {});
      throw new TypeError("The schema answers with a promise; a key or weight is needed before there is time to wait.");
    }
    if (!payload.ok) return null;
    const weight = weighing?.weight(payload.value) ?? 0;
    if (!(weight >= 0)) throw new TypeError(`The weight is ${weight}; it must be a number from 0.`);
    return { key: by === null ? "" : String(by(payload.value)), weight };
  } catch (error) {
    onTrouble(`finding a batch for job ${job.id}`, error);
    return null;
  }
}
