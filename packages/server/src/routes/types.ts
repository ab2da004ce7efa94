/** Types of jobs: what their definitions say, what operators have set, and how many jobs they have. */
import {
  covers,
  JobsError,
  jsonSchemaOf,
  defaultSettings,
  isAlive,
  isPaused,
  type AnyDefinition,
  type SettingsPatch,
  type TypeSettings,
} from "sluice";
import { types } from "../contract/index.js";
import type { SettingsBody } from "../contract/types.js";
import type { Deps } from "../deps.js";
import { etagOf, wantedStates } from "../negotiation.js";
import { byOf, isAdmin, requireType, type Principal } from "../principal.js";
import { Problem } from "../problem.js";
import type { Answer, Mount } from "../route.js";
import { settingsBody } from "../views.js";

export function typeRoutes(mount: Mount, deps: Deps): void {
  const { queue, definitions, now } = deps;

  mount(types.listTypes, async ({ principal }) => {
    const [counts, settings, workers] = await Promise.all([queue.counts(), queue.settings(), queue.workers()]);
    const byType = new Map(counts.map((each) => [each.type, each.counts]));
    const changed = new Map(settings.map((each) => [each.type, each]));
    const names = [...new Set([...byType.keys(), ...definitions.keys(), ...changed.keys()])].sort();
    const living = workers.filter((each) => isAlive(each, now()));
    return {
      status: 200,
      body: {
        types: names
          .filter((type) => covers(principal, type))
          .map((type) => {
            const { version, ...set } = changed.get(type) ?? defaultSettings(type);
            return {
              type,
              counts: byType.get(type) ?? {},
              isKnown: definitions.has(type),
              isPaused: isPaused({ version, ...set }, now()),
              settingsVersion: version,
              workers: living.filter((worker) => worker.types.some((worked) => worked.type === type)).length,
              links: linksOf(deps, type),
            };
          }),
      },
    };
  });

  mount(types.readType, async ({ params: { type }, principal }) => {
    return answerOf(deps, await settingsFor(deps, type, principal), principal);
  });

  mount(types.setType, async ({ params: { type }, body, principal, request }) => {
    requireType(principal, type);
    const { reason: _, ...patch } = body;
    const forAdmins = Object.keys(patch).filter((name) => name !== "pause" && name !== "breaker");
    if (forAdmins.length > 0 && !isAdmin(principal)) {
      throw new Problem("forbidden", `${forAdmins.join(", ")}: limits and rollouts are for keys with the role admin.`);
    }
    const before = await settingsFor(deps, type, principal);
    const wanted = wantedStates(request.headers);
    if (wanted !== null && !wanted.includes(etagFor(deps, before, principal))) throw stale();
    const by = byOf(principal, request, body);
    try {
      // What was compared is what is changed, or it is not changed at all.
      const ifVersion = wanted === null ? null : before.version;
      return answerOf(deps, await queue.setType(type, patchOf(body), { ...by, ifVersion }), principal);
    } catch (error) {
      if (error instanceof JobsError && error.code === "SETTINGS_STALE") throw stale();
      if (error instanceof JobsError && error.code === "INVALID_OPTIONS") throw named(error);
      throw error;
    }
  });
}

/** An option that the library refuses is a field of the body. */
function named(error: JobsError): Problem {
  const { option } = error.details;
  const pointer = typeof option === "string" ? `/${option.replaceAll(".", "/")}` : "";
  return new Problem("invalid_request", error.message, { cause: error, errors: [{ pointer, detail: error.message }] });
}

function stale(): Problem {
  return new Problem(
    "stale",
    "The settings of this type are not as If-Match has them any more. Read them and decide again.",
  );
}

async function settingsFor({ queue, definitions }: Deps, type: string, principal: Principal): Promise<TypeSettings> {
  if (covers(principal, type)) {
    const [settings, counts] = await Promise.all([queue.settings(), queue.counts({ types: [type] })]);
    const changed = settings.find((each) => each.type === type);
    if (changed !== undefined) return changed;
    if (definitions.has(type) || counts.length > 0) return defaultSettings(type);
  }
  throw new Problem(
    "type_not_found",
    "There is no type of this name: no definition here, no job, nothing that anybody has set.",
  );
}

function answerOf(deps: Deps, settings: TypeSettings, principal: Principal): Answer {
  return {
    status: 200,
    body: textFor(deps, settings, principal),
    headers: { etag: etagFor(deps, settings, principal) },
  };
}

function etagFor(deps: Deps, settings: TypeSettings, principal: Principal): string {
  return etagOf(textFor(deps, settings, principal));
}

function textFor(deps: Deps, settings: TypeSettings, principal: Principal): string {
  const { type } = settings;
  const definition = deps.definitions.get(type);
  return JSON.stringify({
    type,
    settings: settingsBody(settings, principal),
    definition: definition === undefined ? null : definitionBody(definition),
    links: linksOf(deps, type),
  });
}

function definitionBody(definition: AnyDefinition) {
  const { version, priority, timeoutMs, retry, maxCrashes, concurrency, controls, enqueueLimit, whenOff, batch } =
    definition;
  return {
    version,
    priority,
    timeoutMs,
    maxAttempts: retry.attempts,
    maxCrashes,
    concurrency,
    concurrencyPerKey: controls?.concurrencyPerKey ?? null,
    rate: controls?.rate ?? null,
    ratePerKey: controls?.ratePerKey ?? null,
    enqueueLimit,
    whenOff,
    hasBatches: batch !== null,
    schema: jsonSchemaOf(definition),
  };
}

function linksOf({ prefix }: Deps, type: string) {
  const name = encodeURIComponent(type);
  return { self: `${prefix}/v1/types/${name}`, jobs: `${prefix}/v1/jobs?q=${encodeURIComponent(`type:${type}`)}` };
}

/** Instants as the library has them; what is left out stays out. */
function patchOf({ reason: _, pause, ...patch }: SettingsBody): SettingsPatch {
  if (pause === undefined) return patch as SettingsPatch;
  if (pause === null) return { ...patch, pause } as SettingsPatch;
  const { reason = null, until = null } = pause;
  return { ...patch, pause: { reason, until: until === null ? null : Date.parse(until) } } as SettingsPatch;
}
