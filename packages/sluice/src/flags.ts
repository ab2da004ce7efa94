/**
 * Feature flags for types of jobs (O2): an OpenFeature client, or any function, may say for which jobs a type is switched on. The
 * stored rollout (rollout.ts) needs none of this: the store asks it. Here is what becomes of the jobs that wait for either.
 */
import type { Clock } from "./clock.js";
import type { Correlation } from "./job.js";
import { isRolledOut } from "./rollout.js";
import type { TypeSettings } from "./settings.js";
import type { Store } from "./store.js";

/** What a flag may decide by. */
export interface FlagContext {
  readonly type: string;
  /** Sticky: the same job, group or subject gets the same answer. */
  readonly targetingKey: string;
  readonly group: string | null;
  readonly correlation: Correlation | null;
}

/** Whether the type is switched on for such a job; undefined where the flag is not known: then the stored rollout decides. */
export type Flags = (context: FlagContext) => boolean | undefined | Promise<boolean | undefined>;

/** As much of an OpenFeature client as is needed (`OpenFeature.getClient()` of @openfeature/server-sdk). */
export interface FlagClient {
  getBooleanDetails(
    flag: string,
    standard: boolean,
    context: Readonly<Record<string, string>>,
  ): Promise<{ readonly value: boolean; readonly errorCode?: string | undefined }>;
}

/**
 * Flags of an OpenFeature provider. The flag of a type is `prefix` and its name, default `sluice.` (`sluice.canon.embed`); the
 * context has `targetingKey`, `type`, `group`, and the correlation as `correlation.<name>`. A flag that the provider does not know,
 * or cannot evaluate, leaves the decision to the stored rollout.
 */
export function openFeature(client: FlagClient, { prefix = "sluice." }: { readonly prefix?: string } = {}): Flags {
  return async ({ type, targetingKey, group, correlation }) => {
    const context: Record<string, string> = { targetingKey, type };
    if (group !== null) context["group"] = group;
    for (const [name, value] of Object.entries(correlation ?? {})) context[`correlation.${name}`] = value;
    const { value, errorCode } = await client.getBooleanDetails(`${prefix}${type}`, true, context);
    return errorCode === undefined ? value : undefined;
  };
}

/** A provider that takes longer than this has not answered. */
const patienceMs = 1_000;

/** Asks, and never throws nor waits for ever: a flag that is broken is a flag that is not known. */
export function patiently(
  flags: Flags,
  { clock, onTrouble }: { readonly clock: Clock; readonly onTrouble: (error: unknown) => void },
): (context: FlagContext) => Promise<boolean | undefined> {
  return async (context) => {
    let cancelTimer = () => {};
    const late = new Promise<never>((_resolve, reject) => {
      const error = new Error(`The flag of ${context.type} was not answered within ${patienceMs} ms.`);
      cancelTimer = clock.setTimer(patienceMs, () => reject(error));
    });
    try {
      // Called within the promise: one that throws at once is no other.
      const said = await Promise.race([Promise.resolve().then(() => flags(context)), late]);
      return typeof said === "boolean" ? said : undefined;
    } catch (error) {
      onTrouble(error);
      return undefined;
    } finally {
      cancelTimer();
    }
  };
}

const pageSize = 500;

/** Lets go of the jobs that the rollout of their type keeps, and that are in by now. Page by page. */
export async function releaseHeld(
  store: Store<unknown>,
  { type, rollout }: TypeSettings,
  flags: ((context: FlagContext) => Promise<boolean | undefined>) | null = null,
): Promise<void> {
  let before: string | null = null;
  do {
    const filter = { types: [type], states: ["blocked"] } as const;
    const { jobs, next } = await store.list({ filter, page: { before, limit: pageSize } });
    const ids: string[] = [];
    for (const { id, correlation, controls, heldBy } of jobs) {
      if (heldBy !== "rollout") continue;
      const subject = { id, type, correlation, group: controls?.group ?? null };
      const said = flags === null ? undefined : await flags(contextOf(subject));
      if (said ?? (rollout === null || isRolledOut(rollout, subject))) ids.push(id);
    }
    if (ids.length > 0) {
      const target = { ids };
      await store.amend({ action: "release", target, actor: "rollout", reason: "switched on", requestId: null });
    }
    before = next;
  } while (before !== null);
}

export function contextOf(subject: {
  readonly id: string;
  readonly type: string;
  readonly group: string | null;
  readonly correlation: Correlation | null;
}): FlagContext {
  const { id, type, group, correlation } = subject;
  const [first] = Object.entries(correlation ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return { type, targetingKey: group ?? first?.[1] ?? id, group, correlation };
}
