/**
 * The life tier of the conformance suite: a real Queue and real Workers on the given store, on a clock that the test moves.
 * Each topic has its file in life/; what they stand on is life/stage.ts.
 */
import { ManualClock } from "../manual-clock.js";
import type { ConformanceTarget } from "./index.js";
import { batchCases } from "./life/batches.js";
import { breakerCases } from "./life/breakers.js";
import { endingCases } from "./life/endings.js";
import { flowCases } from "./life/flow.js";
import { hookCases } from "./life/hooks.js";
import { idempotencyCases } from "./life/idempotency.js";
import { leaseCases } from "./life/leases.js";
import { operatorCases } from "./life/operators.js";
import { settingsCases } from "./life/settings.js";
import { slotCases } from "./life/slots.js";
import { Stage } from "./life/stage.js";
import type { LifeCase } from "./life/stage.js";
import { stoppingCases } from "./life/stopping.js";
import { suspectCases } from "./life/suspects.js";
import { toolCases } from "./life/tools.js";
import { transactionCases, withoutTransactionsCases } from "./life/transactions.js";
import { uniqueCases } from "./life/unique.js";
import { versionCases } from "./life/versions.js";
import { waitingCases } from "./life/waiting.js";

/**
 * Registers the life tier for one store, one group per topic. `skip` names cases of this tier only.
 * @throws {TypeError} when `skip` names a case that does not exist.
 */
export function describeLife(target: ConformanceTarget): void {
  const { name, capabilities, framework } = target;
  const unusedSkips = new Map(target.skip.map(({ test, reason }) => [test, reason]));

  const lifeCase: LifeCase = (behaviour, body) => {
    const reason = unusedSkips.get(behaviour);
    unusedSkips.delete(behaviour);
    if (reason !== undefined) return framework.test(`${behaviour} [skipped: ${reason}]`, async () => {});
    framework.test(behaviour, () => onFreshStage(target, body));
  };

  framework.describe(`life on the ${name} store`, () => {
    framework.describe("endings", () => endingCases(lifeCase));
    framework.describe("slots and turns", () => slotCases(lifeCase));
    framework.describe("batches", () => batchCases(lifeCase));
    framework.describe("settings of types", () => settingsCases(lifeCase));
    framework.describe("flow control", () => flowCases(lifeCase));
    framework.describe("circuit breakers", () => breakerCases(lifeCase));
    framework.describe("unique jobs", () => uniqueCases(lifeCase));
    framework.describe("repeated requests", () => idempotencyCases(lifeCase));
    framework.describe("stopping", () => stoppingCases(lifeCase));
    framework.describe("lost leases", () => leaseCases(lifeCase));
    framework.describe("suspects", () => suspectCases(lifeCase));
    framework.describe("tools of a handler", () => toolCases(lifeCase));
    framework.describe("versions", () => versionCases(lifeCase));
    framework.describe("why a job waits", () => waitingCases(lifeCase));
    framework.describe("hooks, middleware and subscribers", () => hookCases(lifeCase));
    framework.describe("operators and waiting", () => operatorCases(lifeCase));
    framework.describe("transactions", () =>
      capabilities.transactions === "none" ? withoutTransactionsCases(lifeCase) : transactionCases(lifeCase),
    );
    if (unusedSkips.size > 0) throw new TypeError(`No such case to skip: ${[...unusedSkips.keys()].join("; ")}`);
  });
}

/** Every case owns its store. What a case left running must still be able to stop. */
async function onFreshStage(target: ConformanceTarget, body: (stage: Stage) => Promise<void>): Promise<void> {
  const clock = new ManualClock();
  const opened = await target.open({ clock });
  const stage = new Stage(opened, clock);
  try {
    await opened.store.migrate();
    await body(stage);
    await stage.clear();
  } catch (error) {
    // The first failure is the one to see: a worker that cannot stop any more is most often its consequence.
    await stage.clear().catch(() => {});
    throw error;
  } finally {
    await opened.dispose();
  }
}
