/**
 * The conformance suite: everything a store must do, called once per store. Independent of the test framework;
 * assertions are node:assert.
 */
import type { StoreCapabilities } from "../../store.js";
import { ManualClock } from "../manual-clock.js";
import { blobCases } from "./blobs.js";
import { claimCases } from "./claim.js";
import { enqueueCases } from "./enqueue.js";
import { idempotencyCases } from "./idempotency.js";
import { leaseCases } from "./leases.js";
import { operatorCases } from "./operators.js";
import { readingCases } from "./reading.js";
import { Scene } from "./scene.js";
import type { OpenedStore, TestCase } from "./scene.js";
import { flowCases } from "./flow.js";
import { settingsCases } from "./settings.js";
import { settleCases } from "./settle.js";
import { stepCases } from "./steps.js";
import { transactionCases } from "./transactions.js";
import { uniqueCases } from "./unique.js";
import { upkeepCases } from "./upkeep.js";
import { waitingCases } from "./waiting.js";

export interface ConformanceTarget {
  /** For the names of the tests: "memory", "sqlite". */
  readonly name: string;
  /** Decides which cases apply. The suite checks that the store says the same of itself. */
  readonly capabilities: StoreCapabilities;
  /** Opens an empty store that takes its time from `clock`. Called once per case. */
  open(options: { readonly clock: ManualClock }): Promise<OpenedStore>;
  /** Cases that the store does not meet; the reason is printed in the name of the test. */
  readonly skip: readonly { readonly test: string; readonly reason: string }[];
  readonly framework: {
    describe(name: string, body: () => void): void;
    test(name: string, body: () => Promise<void>): void;
  };
}

/**
 * Registers the suite for one store, one group per topic.
 * @throws {TypeError} when `skip` names a case that does not exist, so that no skip outlives its case.
 */
export function describeStore(target: ConformanceTarget): void {
  const { name, capabilities, framework } = target;
  const unusedSkips = new Map(target.skip.map(({ test, reason }) => [test, reason]));

  const testCase: TestCase = (behaviour, body) => {
    const reason = unusedSkips.get(behaviour);
    unusedSkips.delete(behaviour);
    if (reason !== undefined) return framework.test(`${behaviour} [skipped: ${reason}]`, async () => {});
    framework.test(behaviour, () => onFreshStore(target, body));
  };

  framework.describe(`${name} store`, () => {
    framework.describe("enqueue", () => enqueueCases(testCase));
    framework.describe("unique keys", () => uniqueCases(testCase));
    framework.describe("idempotency keys", () => idempotencyCases(testCase));
    framework.describe("claim", () => claimCases(testCase));
    framework.describe("settle", () => settleCases(testCase));
    framework.describe("leases", () => leaseCases(testCase));
    framework.describe("steps and notes", () => stepCases(testCase));
    framework.describe("operators", () => operatorCases(testCase));
    framework.describe("settings of types", () => settingsCases(testCase));
    framework.describe("flow control", () => flowCases(testCase));
    framework.describe("reading", () => readingCases(testCase));
    framework.describe("standing", () => waitingCases(testCase));
    framework.describe("upkeep", () => upkeepCases(testCase, capabilities));
    framework.describe("blobs", () => blobCases(testCase));
    if (capabilities.transactions !== "none") {
      framework.describe("transactions", () => transactionCases(testCase, capabilities.transactions));
    }
    if (unusedSkips.size > 0) throw new TypeError(`No such case to skip: ${[...unusedSkips.keys()].join("; ")}`);
  });
}

/** Every case owns its store, with one worker registered. */
async function onFreshStore(target: ConformanceTarget, body: (scene: Scene) => Promise<void>): Promise<void> {
  const clock = new ManualClock();
  const opened = await target.open({ clock });
  try {
    await opened.store.migrate();
    const scene = new Scene(opened, clock);
    await scene.register();
    await body(scene);
  } finally {
    await opened.dispose();
  }
}
