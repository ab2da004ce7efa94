/**
 * The types that a worker says it works on, as the stores keep them: JSON text in a row that workers of several versions of Sluice
 * write and read during a rolling upgrade.
 */
import type { WorkedType } from "./store.js";

/** A worker that names its types and no more, as those before this file did, says nothing else about them: null, not a guess. */
export function parseWorkedTypes(json: string): readonly WorkedType[] {
  const told = JSON.parse(json) as readonly (string | (Partial<WorkedType> & Pick<WorkedType, "type">))[];
  return told.map((each) => {
    if (typeof each === "string") return { type: each, version: null, concurrency: null, slots: null, rate: null };
    const { type, version = null, concurrency = null, slots = null, rate = null } = each;
    return { type, version, concurrency, slots, rate };
  });
}
