/**
 * The module that `--jobs` names: exports definitions and processors, one by one, in lists, or under a default export. They may come from
 * another copy of the library than this program's, so what they are is seen by what they have.
 */
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";
import { existsSync } from "node:fs";
import type { AnyDefinition, Processor } from "sluice";
import { Refusal } from "./address.js";

export interface JobsModule {
  readonly definitions: readonly AnyDefinition[];
  readonly processors: readonly Processor<AnyDefinition>[];
}

/** @throws {Refusal} when it cannot be loaded, or has nothing of the kind. */
export async function loadJobs(path: string): Promise<JobsModule> {
  const file = resolve(path);
  if (!existsSync(file)) throw new Refusal(`--jobs names ${path}, and there is no such file.`);
  const exported: unknown = await import(pathToFileURL(file).href).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Refusal(`${path} cannot be loaded: ${why}`);
  });
  const definitions = new Map<string, AnyDefinition>();
  const processors = new Map<string, Processor<AnyDefinition>>();
  for (const value of valuesIn(exported, 3)) {
    if (isProcessor(value)) {
      processors.set(value.definition.type, value);
      definitions.set(value.definition.type, value.definition);
    } else if (!definitions.has(value.type)) definitions.set(value.type, value);
  }
  if (definitions.size === 0) {
    throw new Refusal(
      `${path} exports no job: export what defineJob or handle answers, for example "export const jobs = [handle(…)]".`,
    );
  }
  return { definitions: [...definitions.values()], processors: [...processors.values()] };
}

function* valuesIn(value: unknown, depth: number): Generator<AnyDefinition | Processor<AnyDefinition>> {
  if (isProcessor(value) || isDefinition(value)) yield value;
  else if (depth > 0 && typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) yield* valuesIn(inner, depth - 1);
  }
}

function isDefinition(value: unknown): value is AnyDefinition {
  const { type, version, payload, retry } = (value ?? {}) as Record<string, unknown>;
  return typeof type === "string" && typeof version === "number" && typeof retry === "object" && payload !== undefined;
}

function isProcessor(value: unknown): value is Processor<AnyDefinition> {
  const { definition, process } = (value ?? {}) as Record<string, unknown>;
  return isDefinition(definition) && typeof process === "function";
}
