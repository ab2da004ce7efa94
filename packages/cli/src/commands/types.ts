/**
 * `sluice types`: what operators have set about types of jobs, and changes of it. What a setting means and which may be, is the
 * library's to say (Queue.setType); here it is read from words and shown in words.
 */
import { InvalidArgumentError, type Command } from "commander";
import type { By, EnqueueLimit, Rate, SettingsPatch, TypeSettings } from "sluice";
import { notEmpty, notEmptyMany, Refusal } from "../address.js";
import { byOf, withByOptions, type ByOptions } from "../by.js";
import { withQueue, withStoreOptions, type StoreOptions } from "../open.js";
import type { Context } from "../program.js";
import { unitMs, untilTime } from "../times.js";
import { count, duration, instant } from "../words.js";

interface ChangeOptions extends StoreOptions, ByOptions {
  readonly json?: true;
}

/** Commander turns a parsed null into an empty text. */
type Default = "default";

interface SetOptions extends ChangeOptions {
  readonly concurrency?: number | Default;
  readonly concurrencyPerKey?: number | Default;
  readonly rate?: Rate | Default;
  readonly ratePerKey?: Rate | Default;
  readonly maxBacklog?: number | Default;
  readonly enqueueRate?: Rate | Default;
  readonly rollout?: number | Default;
  readonly allow?: readonly string[];
  readonly closeBreaker?: true;
  readonly ifVersion?: number;
}

export function addTypes(program: Command, context: Context): void {
  const types = program.command("types").description("see and change what operators have set about types of jobs");
  addList(types, context);
  addSet(types, context);
  addPause(types, context);
  addHistory(types, context);
}

function addList(types: Command, { output, finish }: Context): void {
  withStoreOptions(types.command("list"))
    .description("list the types that somebody has changed; all others are as their definitions say")
    .option("--json", "print the answer as JSON")
    .action(async (options: ChangeOptions) => {
      const settings = await withQueue(options, (queue) => queue.settings());
      if (options.json === true) output.json(settings);
      else if (settings.length === 0) output.line("Nobody has set anything: all types are as their definitions say.");
      else
        output.table(
          ["type", "version", "settings"],
          settings.map((each) => [each.type, each.version, inWords(each)]),
        );
      finish(0);
    });
}

function addSet(types: Command, context: Context): void {
  const orDefault = 'or "default" for what the definition says';
  changing(types.command("set"))
    .description("change settings of a type; in force at the next claim or enqueue of every process")
    .argument("<type>", "the type", notEmpty)
    .option("--concurrency <n>", `how many may be processing at once, ${orDefault}`, numberOrDefault)
    .option("--concurrency-per-key <n>", `the same of each concurrency key, ${orDefault}`, numberOrDefault)
    .option("--rate <n/time>", `how many may start: 50/s, 1000/min, 5/200ms; ${orDefault}`, rateOrDefault)
    .option("--rate-per-key <n/time>", `the same of each rate key, ${orDefault}`, rateOrDefault)
    .option("--max-backlog <n>", `how many may wait before more are refused, ${orDefault}`, numberOrDefault)
    .option("--enqueue-rate <n/time>", `how many may be enqueued, ${orDefault}`, rateOrDefault)
    .option(
      "--rollout <percent>",
      'for which part of the keys it is switched on, or "default" for everybody',
      percentOrDefault,
    )
    .option("--allow <key...>", "keys for which it is switched on whatever the percentage", notEmptyMany)
    .option("--close-breaker", "let everything run that a circuit breaker has stopped")
    .option("--if-version <n>", "only if the settings have still this version", wholeNumber)
    .action(async (type: string, options: SetOptions) => {
      const patch = patchOf(options);
      if (Object.keys(patch).length === 0)
        throw new Refusal("Nothing to change: say which setting, as --concurrency 5.");
      const ifVersion = options.ifVersion ?? null;
      await change(context, options, (queue, by) => queue.setType(type, patch, { ...by, ifVersion }));
    });
}

function addPause(types: Command, context: Context): void {
  changing(types.command("pause"))
    .description("let nothing of a type start; what runs goes on")
    .argument("<type>", "the type", notEmpty)
    .option("--until <time>", "when it ends by itself: 2026-12-01T08:00:00Z, or 30min from now", untilTime)
    .action(async (type: string, options: ChangeOptions & { readonly until?: Date }) => {
      const { until } = options;
      await change(context, options, (queue, by) => queue.pause(type, { ...by, ...(until && { until }) }));
    });
  changing(types.command("resume"))
    .description("end the pause of a type")
    .argument("<type>", "the type", notEmpty)
    .action(async (type: string, options: ChangeOptions) => {
      await change(context, options, (queue, by) => queue.resume(type, by));
    });
}

function addHistory(types: Command, { output, finish }: Context): void {
  withStoreOptions(types.command("history"))
    .description("say who changed what, newest first")
    .argument("[type]", "of this type only", notEmpty)
    .option("--json", "print the answer as JSON")
    .action(async (type: string | undefined, options: ChangeOptions) => {
      const records = await withQueue(options, (queue) => queue.settingsHistory(type === undefined ? {} : { type }));
      if (options.json === true) output.json(records);
      else {
        output.table(
          ["at", "type", "by", "reason", "settings since"],
          records.map(({ at, actor, reason, after }) => [instant(at), after.type, actor, reason ?? "", inWords(after)]),
        );
      }
      finish(0);
    });
}

function changing(command: Command): Command {
  return withByOptions(withStoreOptions(command)).option("--json", "print the settings as JSON");
}

async function change(
  { output, finish }: Context,
  options: ChangeOptions,
  run: (queue: Parameters<Parameters<typeof withQueue>[1]>[0], by: By) => Promise<TypeSettings>,
): Promise<void> {
  const settings = await withQueue(options, (queue) => run(queue, byOf(options)));
  if (options.json === true) output.json(settings);
  else output.line(`${settings.type}, version ${settings.version}: ${inWords(settings)}.`);
  finish(0);
}

// ── from words ──────────────────────────────────────────────────────────────

function patchOf(options: SetOptions): SettingsPatch {
  const { maxBacklog, enqueueRate, rollout, allow } = options;
  const limit: EnqueueLimit = {
    ...(maxBacklog !== undefined && maxBacklog !== "default" && { maxBacklog }),
    ...(enqueueRate !== undefined && enqueueRate !== "default" && { rate: enqueueRate }),
  };
  const isLimitGiven = maxBacklog !== undefined || enqueueRate !== undefined;
  const isRolloutGiven = rollout !== undefined || allow !== undefined;
  const percentage = rollout === undefined || rollout === "default" ? 0 : rollout;
  return {
    ...given("concurrency", options.concurrency),
    ...given("concurrencyPerKey", options.concurrencyPerKey),
    ...given("rate", options.rate),
    ...given("ratePerKey", options.ratePerKey),
    ...(isLimitGiven && { enqueueLimit: Object.keys(limit).length === 0 ? null : limit }),
    ...(isRolloutGiven && { rollout: rollout === "default" ? null : { percentage, ...(allow && { allow }) } }),
    ...(options.closeBreaker === true && { breaker: null }),
  };
}

function given<Name extends string, Value>(name: Name, value: Value | Default | undefined) {
  return value === undefined ? {} : ({ [name]: value === "default" ? null : value } as Record<Name, Value | null>);
}

function rateOrDefault(text: string): Rate | Default {
  if (text === "default") return text;
  const [, limit, times, unit] = /^(\d+(?:\.\d+)?)\/(\d*)(ms|s|min|h|day)$/.exec(text) ?? [];
  if (limit === undefined) throw new InvalidArgumentError('Write it as 50/s, 1000/min or 5/200ms, or "default".');
  return { limit: Number(limit), perMs: Number(times === "" ? 1 : times) * unitMs[unit!]! };
}

function numberOrDefault(text: string): number | Default {
  return text === "default" ? text : wholeNumber(text);
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Give a whole number.");
  return Number(text);
}

function percentOrDefault(text: string): number | Default {
  if (text === "default") return text;
  if (!/^\d+(\.\d+)?%?$/.test(text)) throw new InvalidArgumentError('Give a percentage from 0 to 100, or "default".');
  return Number(text.replace("%", ""));
}

// ── in words ────────────────────────────────────────────────────────────────

function inWords(settings: TypeSettings): string {
  const { pause, breaker, concurrency, concurrencyPerKey, rate, ratePerKey, enqueueLimit, rollout } = settings;
  const parts = [
    pause && `paused by ${pause.actor}${pause.reason === null ? "" : ` (${pause.reason})`}${pause.until === null ? "" : ` until ${instant(pause.until)}`}`, // prettier-ignore
    breaker && `its circuit breaker is not closed (${breaker.error}), since ${instant(breaker.openedAt)}`,
    concurrency && `concurrency ${count(concurrency)}`,
    concurrencyPerKey && `concurrency per key ${count(concurrencyPerKey)}`,
    rate && `rate ${rateInWords(rate)}`,
    ratePerKey && `rate per key ${rateInWords(ratePerKey)}`,
    enqueueLimit?.maxBacklog && `backlog at most ${count(enqueueLimit.maxBacklog)}`,
    enqueueLimit?.rate && `enqueues ${rateInWords(enqueueLimit.rate)}`,
    enqueueLimit?.ratePerCaller && `enqueues per caller ${rateInWords(enqueueLimit.ratePerCaller)}`,
    rollout && `switched on for ${rollout.percentage} %${rollout.allow ? ` and ${rollout.allow.join(", ")}` : ""}`,
  ].filter(Boolean);
  return parts.length === 0 ? "as its definition says" : parts.join("; ");
}

function rateInWords({ limit, perMs }: Rate): string {
  return `${count(limit)} per ${perMs < 1_000 ? `${perMs} ms` : duration(perMs / 1_000)}`;
}
