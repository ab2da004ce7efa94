/**
 * What a type of job is: its payload, how it is told apart, retried and timed. One definition, shared by whoever enqueues
 * and whoever works (S2); it carries no handler, so the enqueuing process never loads what the work needs.
 */
import { createHash } from "node:crypto";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { checkRetryPolicy, exponential, type RetryPolicy } from "./backoff.js";
import { JobsError, type Issue } from "./errors.js";
import type { Controls, Correlation, JobId, TraceCarrier } from "./job.js";
import { faultOfBreaker } from "./breaker.js";
import type { BreakerOptions, BreakerRule } from "./breaker.js";
import type { TypeControls } from "./admission.js";
import type { EnqueueLimit } from "./intake.js";
import { faultOfRate } from "./rate.js";
import type { Rate } from "./rate.js";
import { checkEnqueueLimit, isConcurrency, maxConcurrency } from "./settings.js";
import { defaultMaxCrashes } from "./settlement.js";
import type { NewJob, UniqueClaim } from "./store.js";

/**
 * When two jobs are the same work (AC3).
 * - `by`: what makes them the same: their correlation (default), their whole payload, or a string of your own.
 * - `while`: how long the first guards against the second: while it is `pending` (until claimed), while it is `active`
 *   (default: until it ends), or for a period from its creation, whatever becomes of it.
 * - `onConflict`: `keep` (default) answers with the first job; `replace` gives a first job that still waits the new payload;
 *   `rerun` lets one more run follow the one in flight, so that what changed meanwhile is not lost.
 */
export interface UniqueOptions<Payload> {
  readonly by?: "correlation" | "payload" | ((payload: Payload) => string);
  readonly while?: "pending" | "active" | { readonly periodMs: number };
  readonly onConflict?: "keep" | "replace" | "rerun";
}

/**
 * How jobs of this type are gathered for a batch processor (`handleBatch`); single handlers ignore it.
 * - `max`: jobs in a batch, 1 to 1,000.
 * - `min`, default 1: fewer are handed over only when the first of them has been due for `waitMs` (default 0). They wait in the
 *   store, in no slot. Jobs of the type count, whatever their key.
 * - `by`: only jobs of the same key share a batch.
 * - `weight` and `maxWeight`: the weights of a batch add up to no more than that; a heavier job runs by itself.
 *
 * `by` and `weight` get the payload as the handler does. Where they throw, or the schema answers with a promise, the job runs
 * by itself and the worker says so (`worker.troubled`).
 */
export interface BatchOptions<Payload> {
  readonly max: number;
  readonly min?: number;
  readonly waitMs?: number;
  readonly by?: (payload: Payload) => string;
  readonly weight?: (payload: Payload) => number;
  readonly maxWeight?: number;
}

/** Batch options with their defaults. */
export interface BatchRules<Payload> {
  readonly max: number;
  readonly min: number;
  readonly waitMs: number;
  readonly by: ((payload: Payload) => string) | null;
  readonly weighing: { readonly weight: (payload: Payload) => number; readonly maxWeight: number } | null;
}

export interface DefinitionOptions<
  PayloadSchema extends StandardSchemaV1,
  ResultSchema extends StandardSchemaV1 = StandardSchemaV1<unknown, unknown>,
> {
  /** The name of the type, and of its queue: letters, digits, `.`, `_`, `-`, `:`, at most 100 characters. */
  readonly type: string;
  /** Any Standard Schema. Checked at enqueue and again before each attempt. */
  readonly payload: PayloadSchema;
  /** Checked when the handler returns. Default: anything JSON can hold. */
  readonly result?: ResultSchema;
  /**
   * What of the payload nobody may see: JSON Pointers as "/token", with `*` for any element (docs/redaction.md). Besides what the schema marks.
   * Without either, and where the schema's library writes no JSON Schema, nothing of a payload is shown; with an empty list, everything.
   */
  readonly sensitive?: readonly string[];
  /** Grows when the payload's shape changes. Default 1. */
  readonly version?: number;
  /** For each older version that may still be stored: turns its payload into that of the next version. */
  readonly upcast?: Readonly<Record<number, (payload: never) => unknown>>;
  /** Keys that say what a job is about. A type with a correlation is unique by it, unless `unique` is false. */
  readonly correlation?: (payload: StandardSchemaV1.InferOutput<PayloadSchema>) => Correlation;
  readonly unique?: UniqueOptions<StandardSchemaV1.InferOutput<PayloadSchema>> | false;
  /** Default: `exponential()`. */
  readonly retry?: RetryPolicy;
  /** How long one attempt may run. Default 600,000 (10 minutes). */
  readonly timeoutMs?: number;
  /**
   * A job whose worker died under it this many times fails as `crashed`: 1 to 100, default 5. From its second crash on it runs
   * alone in its worker.
   */
  readonly maxCrashes?: number;
  /**
   * How many jobs of this type may be processing at once, in all processes together. Default: any number. An operator may say
   * otherwise while it runs, see `Queue.setType`.
   */
  readonly concurrency?: number;
  /** Jobs with the same key share a concurrency: the game, the account, the host that they work on. */
  readonly concurrencyKey?: (payload: StandardSchemaV1.InferOutput<PayloadSchema>) => string;
  /** How many jobs of each concurrency key may be processing at once. Default 1 where there is a key. */
  readonly concurrencyPerKey?: number;
  /** How many jobs of this type may start in a time, in all processes together. Default: any number. */
  readonly rate?: Rate;
  /** Jobs with the same key share `ratePerKey`. */
  readonly rateKey?: (payload: StandardSchemaV1.InferOutput<PayloadSchema>) => string;
  readonly ratePerKey?: Rate;
  /** How many units of the rates a job takes: its tokens, its bytes. Default 1. */
  readonly weight?: (payload: StandardSchemaV1.InferOutput<PayloadSchema>) => number;
  /** Groups take turns: a job waits for one job of each other group, not for all that came before it. */
  readonly group?: (payload: StandardSchemaV1.InferOutput<PayloadSchema>) => string;
  /** How much of its group's share a job takes. Default 1; 0.5 for a group that should get twice as much. */
  readonly groupCost?: (payload: StandardSchemaV1.InferOutput<PayloadSchema>) => number;
  /** What may come in. Default: everything. Beyond it, an enqueue is refused with the time after which to try again. */
  readonly enqueueLimit?: EnqueueLimit;
  /**
   * What becomes of a job for which a rollout or a feature flag has its type switched off: `hold` (default) takes it in and lets
   * it wait until it is switched on, `reject` refuses it.
   */
  readonly whenOff?: "hold" | "reject";
  /** Stops the type for a while when what it needs does not work. Default: none. */
  readonly breaker?: BreakerOptions;
  /** Higher runs first. Default 0; from -1,000 to 1,000. */
  readonly priority?: number;
  readonly batch?: BatchOptions<StandardSchemaV1.InferOutput<PayloadSchema>>;
}

/** Made by `defineJob`. `Input` is what enqueue takes, `Payload` what the handler gets, `Result` what it returns. */
export interface JobDefinition<Input = unknown, Payload = unknown, Result = unknown> {
  readonly type: string;
  readonly version: number;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
  readonly maxCrashes: number;
  readonly priority: number;
  readonly concurrency: number | null;
  readonly controls: TypeControls | null;
  /** What flow control must know of a job; null where nothing of it depends on the payload. */
  readonly controlsOf: ((payload: Payload) => Controls) | null;
  /** Its jobs take turns by group: what is claimed ahead has had its turn. */
  readonly isGrouped: boolean;
  readonly enqueueLimit: EnqueueLimit | null;
  readonly whenOff: "hold" | "reject";
  readonly breaker: BreakerRule | null;
  readonly batch: BatchRules<Payload> | null;
  readonly payload: StandardSchemaV1<Input, Payload>;
  readonly result: StandardSchemaV1<unknown, Result> | null;
  /** JSON Pointers to what nobody may see; null: not said. */
  readonly sensitive: readonly string[] | null;
  readonly upcast: Readonly<Record<number, (payload: never) => unknown>>;
  readonly correlation: ((payload: Payload) => Correlation) | null;
  readonly unique: Required<UniqueOptions<Payload>> | null;
}

/** A definition of any types, for places that hold many. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- functions of the payload make it invariant; `any` is its only common supertype
export type AnyDefinition = JobDefinition<any, any, any>;

export type InputOf<D> = D extends JobDefinition<infer Input, infer _P, infer _R> ? Input : never;
export type PayloadOf<D> = D extends JobDefinition<infer _I, infer Payload, infer _R> ? Payload : never;
export type ResultOf<D> = D extends JobDefinition<infer _I, infer _P, infer Result> ? Result : never;

/** @throws {JobsError} INVALID_DEFINITION, when the options contradict each other. */
export function defineJob<
  PayloadSchema extends StandardSchemaV1,
  ResultSchema extends StandardSchemaV1 = StandardSchemaV1<unknown, unknown>,
>(
  options: DefinitionOptions<PayloadSchema, ResultSchema>,
): JobDefinition<
  StandardSchemaV1.InferInput<PayloadSchema>,
  StandardSchemaV1.InferOutput<PayloadSchema>,
  StandardSchemaV1.InferOutput<ResultSchema>
> {
  const { type, version = 1, upcast = {}, timeoutMs = 600_000, priority = 0, correlation = null } = options;
  const refuse = (why: string): never => {
    throw new JobsError("INVALID_DEFINITION", `The definition of job type "${type}" cannot work: ${why}`, { type });
  };

  if (!isTypeName(type)) refuse("type takes 1 to 100 letters, digits, '.', '_', '-' or ':'.");
  if (!Number.isInteger(version) || version < 1) refuse(`version is ${version}; give a whole number from 1.`);
  for (let from = 1; from < version; from++) {
    const hasGap = Object.keys(upcast).some((key) => Number(key) < from) && upcast[from] === undefined;
    if (hasGap) refuse(`upcast has no step from version ${from} to ${from + 1}.`);
  }
  for (const key of Object.keys(upcast)) {
    if (!(Number(key) >= 1 && Number(key) < version))
      refuse(`upcast from ${key} leads nowhere: version is ${version}.`);
  }
  if (!Number.isFinite(timeoutMs) || timeoutMs <= 0) refuse(`timeoutMs is ${timeoutMs}; give milliseconds above 0.`);
  checkPriority(priority, refuse);
  const concurrency = options.concurrency ?? null;
  if (concurrency !== null && !isConcurrency(concurrency)) {
    refuse(`concurrency is ${concurrency}; give a whole number from 1 to ${maxConcurrency}, or leave it out.`);
  }
  const { maxCrashes = defaultMaxCrashes } = options;
  if (!isWhole(maxCrashes, 1, 100)) refuse(`maxCrashes is ${maxCrashes}; give a whole number from 1 to 100.`);
  const unique = uniqueOf(options, refuse);
  const batch = options.batch === undefined ? null : batchRulesOf(options.batch, refuse);

  return {
    type,
    version,
    upcast,
    timeoutMs,
    maxCrashes,
    priority,
    concurrency,
    controls: controlsOfType(options, refuse),
    controlsOf: controlsOfJob(options),
    isGrouped: options.group !== undefined,
    enqueueLimit: checkedLimit(options.enqueueLimit, refuse),
    whenOff: checkedWhenOff(options.whenOff ?? "hold", refuse),
    breaker: breakerRule(options, refuse),
    correlation,
    unique,
    batch,
    payload: options.payload,
    result: options.result ?? null,
    sensitive: options.sensitive === undefined ? null : checkedPointers(options.sensitive, refuse),
    retry: checkRetryPolicy(options.retry ?? exponential()),
  };
}

type FlowOptions = Pick<
  DefinitionOptions<StandardSchemaV1>,
  "type" | "concurrencyKey" | "concurrencyPerKey" | "rate" | "rateKey" | "ratePerKey" | "weight" | "group" | "groupCost"
>;

function controlsOfType(options: FlowOptions, refuse: (why: string) => never): TypeControls | null {
  const { concurrencyKey, rateKey, rate = null, ratePerKey = null } = options;
  const concurrencyPerKey = options.concurrencyPerKey ?? (concurrencyKey === undefined ? null : 1);
  if (concurrencyPerKey !== null && !isConcurrency(concurrencyPerKey)) {
    refuse(`concurrencyPerKey is ${concurrencyPerKey}; give a whole number from 1 to ${maxConcurrency}.`);
  }
  if (concurrencyPerKey !== null && concurrencyKey === undefined) refuse("concurrencyPerKey needs a concurrencyKey.");
  if (ratePerKey !== null && rateKey === undefined) refuse("ratePerKey needs a rateKey.");
  if (options.groupCost !== undefined && options.group === undefined) refuse("groupCost needs a group.");
  for (const [name, value] of Object.entries({ rate, ratePerKey })) {
    const fault = value === null ? null : faultOfRate(value);
    if (fault !== null) refuse(`${name} ${fault}.`);
  }
  if (concurrencyPerKey === null && rate === null && ratePerKey === null) return null;
  return { concurrencyPerKey, rate, ratePerKey };
}

function controlsOfJob(options: FlowOptions): ((payload: unknown) => Controls) | null {
  const { type, concurrencyKey, rateKey, weight, group, groupCost } = options;
  if ([concurrencyKey, rateKey, weight, group].every((each) => each === undefined)) return null;
  const amount = (name: string, value: number) => {
    if (Number.isFinite(value) && value > 0 && value <= 1e9) return value;
    return refuseOption(type)(`${name} is ${value}; it must be a number above 0, at most 1,000,000,000.`);
  };
  return (payload) => ({
    concurrencyKey: concurrencyKey === undefined ? null : keyText(type, String(concurrencyKey(payload))),
    rateKey: rateKey === undefined ? null : keyText(type, String(rateKey(payload))),
    weight: amount("weight", weight?.(payload) ?? 1),
    group: group === undefined ? null : shortText(String(group(payload))),
    cost: amount("groupCost", groupCost?.(payload) ?? 1),
  });
}

function breakerRule(
  { type, breaker }: { readonly type: string; readonly breaker?: BreakerOptions },
  refuse: (why: string) => never,
): BreakerRule | null {
  if (breaker === undefined) return null;
  const fault = faultOfBreaker(breaker);
  if (fault !== null) refuse(`breaker ${fault}.`);
  return { openMs: 10_000, dependency: type, ...breaker };
}

function checkedPointers(pointers: readonly string[], refuse: (why: string) => never): readonly string[] {
  const given: unknown = pointers;
  if (!Array.isArray(given)) return refuse('sensitive takes a list of JSON Pointers, as ["/token"].');
  for (const pointer of given as readonly unknown[]) {
    if (typeof pointer === "string" && /^(\/([^~]|~[01])*)?$/.test(pointer)) continue;
    refuse(`sensitive has ${JSON.stringify(pointer)}; give JSON Pointers, as "/token" or "/users/*/email".`);
  }
  return [...pointers];
}

function checkedWhenOff(whenOff: "hold" | "reject", refuse: (why: string) => never): "hold" | "reject" {
  if (whenOff !== "hold" && whenOff !== "reject") refuse(`whenOff is ${String(whenOff)}; give "hold" or "reject".`);
  return whenOff;
}

function checkedLimit(limit: EnqueueLimit | undefined, refuse: (why: string) => never): EnqueueLimit | null {
  if (limit === undefined) return null;
  try {
    checkEnqueueLimit(limit);
  } catch (error) {
    refuse((error as Error).message);
  }
  return limit;
}

function batchRulesOf<Payload>(options: BatchOptions<Payload>, refuse: (why: string) => never): BatchRules<Payload> {
  const { max, min = 1, waitMs = 0, weight, maxWeight } = options;
  const by = options.by ?? null;
  if (!isWhole(max, 1, 1_000)) refuse(`batch.max is ${max}; give a whole number from 1 to 1000.`);
  if (!isWhole(min, 1, max)) refuse(`batch.min is ${min}; give a whole number from 1 to batch.max (${max}).`);
  if (!Number.isFinite(waitMs) || waitMs < 0) refuse(`batch.waitMs is ${waitMs}; give milliseconds from 0.`);
  if (min > 1 && waitMs === 0) refuse("batch.min asks jobs to wait for others; say how long with batch.waitMs.");
  if (weight === undefined && maxWeight === undefined) return { max, min, waitMs, by, weighing: null };
  if (weight === undefined || maxWeight === undefined) {
    return refuse("batch.weight and batch.maxWeight go together; give both or neither.");
  }
  if (!Number.isFinite(maxWeight) || maxWeight <= 0) refuse(`batch.maxWeight is ${maxWeight}; give a number above 0.`);
  return { max, min, waitMs, by, weighing: { weight, maxWeight } };
}

function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

export function isTypeName(type: string): boolean {
  return /^[A-Za-z0-9._:-]{1,100}$/.test(type);
}

export interface EnqueueOptions {
  /** Runs no earlier than this many milliseconds from now. */
  readonly delayMs?: number;
  /** Runs no earlier than this instant. At most one of `delayMs` and `runAt`. */
  readonly runAt?: Date;
  /** Higher runs first. Default: the definition's. */
  readonly priority?: number;
  /** Executions in all. Default: those of the definition's retry policy. */
  readonly maxAttempts?: number;
  /** Added to the correlation that the definition derives. */
  readonly correlation?: Correlation;
  readonly trace?: TraceCarrier;
  /** A blob (`store.blobs.put`) that belongs to the job and is deleted with it. */
  readonly blob?: string;
  /** Who enqueues it, an API key for example: counts for `enqueueLimit.ratePerCaller`. At most 200 characters. */
  readonly caller?: string;
  /** Makes it safe to send the same request again: it adds at most one job. */
  readonly idempotency?: IdempotencyOptions;
}

/**
 * - `key`: of the request, 1 to 255 characters. One for all types and callers: put in who asks (`"api-key-7 2f1c…"`) where clients choose
 *   keys of their own.
 * - `fingerprint`: what the request is about, 1 to 255 characters; the same key with another one is refused
 *   (IDEMPOTENCY_KEY_REUSED). Default: made of type, version and payload.
 * - `periodMs`: how long the key is remembered, from its first use on. Default 24 hours, at most 90 days.
 */
export interface IdempotencyOptions {
  readonly key: string;
  readonly fingerprint?: string;
  readonly periodMs?: number;
}

export interface NewJobOptions extends EnqueueOptions {
  /** Of many payloads in one call, which it is, from 0 on: each has an idempotency key of its own. */
  readonly nth?: number;
}

/**
 * What the definition makes of a payload: the job to be stored. Answers a promise only when the schema does.
 * @throws {JobsError} INVALID_PAYLOAD with the issues, PAYLOAD_TOO_LARGE, INVALID_OPTIONS.
 */
export function toNewJob<Input, Payload>(
  definition: JobDefinition<Input, Payload>,
  input: Input,
  options: NewJobOptions,
  id: JobId,
): NewJob | Promise<NewJob> {
  const { type } = definition;
  const text = encode(type, input);
  // What is checked is what a worker will read: the JSON, not the object it was made from.
  const checked = validate(definition.payload, JSON.parse(text));
  return checked instanceof Promise ? checked.then(build) : build(checked);

  function build(payload: Validation<Payload>): NewJob {
    if (!payload.ok) throw invalidPayload(type, payload.issues);
    const correlation = mergeCorrelation(definition.correlation?.(payload.value), options.correlation, type);
    checkTexts(type, options);
    const priority = options.priority ?? definition.priority;
    checkPriority(priority, refuseOption(type));
    return {
      id,
      type,
      version: definition.version,
      payload: text,
      correlation,
      priority,
      due: dueOf(type, options),
      maxAttempts: checkRetryPolicy({ ...definition.retry, attempts: options.maxAttempts ?? definition.retry.attempts })
        .attempts,
      unique: uniqueClaim(definition, { payload: payload.value, text, correlation }),
      trace: options.trace ?? null,
      blob: options.blob ?? null,
      controls: definition.controlsOf?.(payload.value) ?? null,
      intake: intakeDefaults(definition),
      caller: options.caller ?? null,
      idempotency: idempotencyOf(definition, text, options),
    };
  }
}

function intakeDefaults({ enqueueLimit, whenOff }: Pick<AnyDefinition, "enqueueLimit" | "whenOff">): NewJob["intake"] {
  return enqueueLimit === null && whenOff === "hold" ? null : { limit: enqueueLimit, whenOff, isOn: null };
}

/**
 * Reads a stored payload with today's definition: upcast to its version, then checked.
 * A newer version cannot come here: claims leave it for a newer worker.
 */
export function readPayload(
  definition: AnyDefinition,
  stored: { readonly version: number; readonly payload: string },
): Validation<unknown> | Promise<Validation<unknown>> {
  try {
    let value: unknown = JSON.parse(stored.payload);
    for (let from = stored.version; from < definition.version; from++) {
      const step = definition.upcast[from];
      if (step) value = step(value as never);
    }
    return validate<unknown>(definition.payload, value);
  } catch (error) {
    return {
      ok: false,
      issues: [{ path: "", message: `upcast from version ${stored.version} failed: ${String(error)}` }],
    };
  }
}

export type Validation<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly issues: readonly Issue[] };

/** Standard Schema v1 (standardschema.dev), with paths as JSON Pointers. */
export function validate<T>(
  schema: StandardSchemaV1<unknown, T>,
  value: unknown,
): Validation<T> | Promise<Validation<T>> {
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then(toValidation) : toValidation(result);
}

function toValidation<T>(result: StandardSchemaV1.Result<T>): Validation<T> {
  if (!result.issues) return { ok: true, value: result.value };
  return {
    ok: false,
    issues: result.issues.slice(0, 20).map((issue) => ({
      path: (issue.path ?? [])
        .map(
          (step) =>
            `/${String(typeof step === "object" ? step.key : step)
              .replaceAll("~", "~0")
              .replaceAll("/", "~1")}`,
        )
        .join(""),
      message: issue.message.slice(0, 500),
    })),
  };
}

/** JSON text for a value that must survive it. */
function encode(type: string, value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw new JobsError("INVALID_PAYLOAD", `The payload of ${type} cannot be written as JSON: ${String(cause)}.`, {
      type,
      cause,
    });
  }
  if (text === undefined) {
    throw new JobsError("INVALID_PAYLOAD", `The payload of ${type} is ${typeof value}, which JSON cannot hold.`, {
      type,
    });
  }
  if (text.length > maxPayloadBytes / 4 && Buffer.byteLength(text) > maxPayloadBytes) {
    throw new JobsError(
      "PAYLOAD_TOO_LARGE",
      `The payload of ${type} is ${Buffer.byteLength(text)} bytes; at most ${maxPayloadBytes} fit a job. ` +
        `Stream it to store.blobs and put the blob's id in the payload.`,
      { type, bytes: Buffer.byteLength(text), maxBytes: maxPayloadBytes },
    );
  }
  return text;
}

/** A row that large slows every commit and every claim that meets it; blobs have no limit. */
const maxPayloadBytes = 1_048_576;

function invalidPayload(type: string, issues: readonly Issue[]): JobsError {
  const list = issues.map((issue) => `${issue.path || "(the whole payload)"}: ${issue.message}`).join("; ");
  return new JobsError("INVALID_PAYLOAD", `The payload of ${type} does not match its schema. ${list}`, {
    type,
    issues,
  });
}

function uniqueOf<Payload>(
  { unique, correlation }: Pick<DefinitionOptions<StandardSchemaV1<unknown, Payload>>, "unique" | "correlation">,
  refuse: (why: string) => never,
): Required<UniqueOptions<Payload>> | null {
  if (unique === false || (unique === undefined && correlation === undefined)) return null;
  const { by = "correlation", while: holdWhile = "active", onConflict = "keep" } = unique ?? {};
  if (by === "correlation" && correlation === undefined) {
    refuse("unique by correlation needs a correlation; derive one, or say unique: { by: 'payload' }.");
  }
  if (typeof holdWhile === "object" && !(holdWhile.periodMs > 0 && holdWhile.periodMs <= furthestMs)) {
    refuse(`unique.while.periodMs is ${holdWhile.periodMs}; give milliseconds above 0, at most ten years.`);
  }
  return { by, while: holdWhile, onConflict };
}

function uniqueClaim<Payload>(
  { type, unique }: Pick<JobDefinition<never, Payload>, "type" | "unique">,
  { payload, text, correlation }: { payload: Payload; text: string; correlation: Correlation | null },
): UniqueClaim | null {
  if (unique === null) return null;
  const subject =
    unique.by === "correlation"
      ? canonicalJson(correlation)
      : unique.by === "payload"
        ? // The stored JSON: what a schema makes of it may be something that JSON cannot tell apart.
          canonicalJson(JSON.parse(text))
        : String(unique.by(payload));
  const key = keyText(type, subject);
  const isPeriod = typeof unique.while === "object";
  return {
    key,
    holdWhile: isPeriod ? "period" : unique.while,
    periodMs: isPeriod ? (unique.while as { periodMs: number }).periodMs : null,
    onConflict: unique.onConflict,
  };
}

function keyText(type: string, subject: string): string {
  return `${type} ${shortText(subject)}`;
}

/** Readable while it is short; hashed when it would bloat the index, or when a driver might cut it at a NUL. */
function shortText(subject: string): string {
  const isReadable = subject.length <= 120 && !hasControlCharacters(subject);
  return isReadable ? subject : hashOf(subject);
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

/** JSON with sorted keys: the same value gives the same text, in whatever order it was written. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

function idempotencyOf(
  { type, version }: Pick<AnyDefinition, "type" | "version">,
  text: string,
  { idempotency, nth }: NewJobOptions,
): NewJob["idempotency"] {
  if (idempotency === undefined) return null;
  const refuse = refuseOption(type);
  const { key, fingerprint, periodMs = dayMs } = idempotency;
  if (!isShortText(key)) {
    refuse("idempotency.key must be a string of 1 to 255 characters, without control characters.");
  }
  if (fingerprint !== undefined && !isShortText(fingerprint)) {
    refuse("idempotency.fingerprint must be a string of 1 to 255 characters, without control characters.");
  }
  if (!(periodMs > 0 && periodMs <= 90 * dayMs)) {
    refuse(`idempotency.periodMs is ${periodMs}; give milliseconds above 0, at most 90 days.`);
  }
  return {
    key: nth === undefined ? key : `${key}/${nth}`,
    fingerprint: fingerprint ?? hashOf(canonicalJson([type, version, JSON.parse(text)])),
    periodMs,
  };
}

const dayMs = 24 * 60 * 60 * 1_000;

function isShortText(text: string): boolean {
  return typeof text === "string" && text.length >= 1 && text.length <= 255 && !hasControlCharacters(text);
}

function mergeCorrelation(
  derived: Correlation | undefined,
  given: Correlation | undefined,
  type: string,
): Correlation | null {
  if (derived === undefined && given === undefined) return null;
  const correlation = { ...derived, ...given };
  for (const [key, value] of Object.entries(correlation)) {
    const isFit = typeof value === "string" && value.length <= 200 && key.length <= 100;
    // Each apart: together two halves would be a character.
    if (!isFit || hasControlCharacters(key) || hasControlCharacters(value)) {
      refuseOption(type)(`correlation.${key} must be a string of at most 200 characters, without control characters.`);
    }
  }
  return correlation;
}

function checkTexts(type: string, { trace, blob, caller }: EnqueueOptions): void {
  const refuse = refuseOption(type);
  if (caller !== undefined && (typeof caller !== "string" || caller.length > 200 || hasControlCharacters(caller))) {
    refuse("caller must be a string of at most 200 characters, without control characters.");
  }
  if (blob !== undefined && typeof blob !== "string") refuse("blob must be the id that store.blobs.put answered.");
  if (trace === undefined) return;
  const { traceparent, tracestate } = trace;
  if (typeof traceparent !== "string" || (tracestate !== undefined && typeof tracestate !== "string")) {
    refuse("trace must hold the traceparent (and tracestate) headers as strings.");
  }
}

/** Or half of a surrogate pair, which no database can write as UTF-8. */
function hasControlCharacters(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  return /[\u0000-\u001f]|\p{Cs}/u.test(text);
}

function dueOf(type: string, { delayMs, runAt }: EnqueueOptions): NewJob["due"] {
  const refuse = refuseOption(type);
  if (delayMs !== undefined && runAt !== undefined) refuse("give delayMs or runAt, not both.");
  if (delayMs !== undefined) {
    if (!Number.isFinite(delayMs) || delayMs < 0 || delayMs > furthestMs) {
      refuse(`delayMs is ${delayMs}; give milliseconds from 0 to ten years.`);
    }
    return { afterMs: Math.round(delayMs) };
  }
  if (runAt === undefined) return null;
  const at = runAt instanceof Date ? runAt.getTime() : Number.NaN;
  if (!Number.isFinite(at) || at < 0 || at > 253_402_300_799_999) refuse("runAt is not a date before the year 10000.");
  return { at };
}

const furthestMs = 10 * 366 * 24 * 60 * 60 * 1_000;

function checkPriority(priority: number, refuse: (why: string) => never): void {
  if (!Number.isInteger(priority) || Math.abs(priority) > 1_000) {
    refuse(`priority is ${priority}; give a whole number from -1000 to 1000.`);
  }
}

function refuseOption(type: string): (why: string) => never {
  return (why) => {
    throw new JobsError("INVALID_OPTIONS", `Cannot enqueue ${type}: ${why}`, { type });
  };
}
