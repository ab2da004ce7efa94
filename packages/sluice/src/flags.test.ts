/**
 * Flags of a real OpenFeature SDK with a provider of the application's: what it is asked, and what becomes of its answers. Serves O2.
 */
import { InMemoryProvider, OpenFeature } from "@openfeature/server-sdk";
import { afterAll, expect, test } from "vitest";
import { contextOf, openFeature } from "./flags.js";

const seen: unknown[] = [];
const provider = new InMemoryProvider({
  "sluice.canon.embed": {
    disabled: false,
    variants: { on: true, off: false },
    defaultVariant: "off",
    contextEvaluator: (context) => {
      seen.push({ ...context });
      return context["correlation.game"] === "g1" ? "on" : "off";
    },
  },
});

afterAll(() => OpenFeature.close());

test("a provider is asked with type, group and correlation, and its answer stands", async () => {
  await OpenFeature.setProviderAndWait(provider);
  const flags = openFeature(OpenFeature.getClient());
  const of = (game: string) =>
    contextOf({ id: "job-1", type: "canon.embed", group: "small", correlation: { game, object: "o1" } });

  expect([await flags(of("g1")), await flags(of("g2"))]).toEqual([true, false]);
  expect(seen[0]).toMatchObject({
    targetingKey: "small",
    type: "canon.embed",
    group: "small",
    "correlation.game": "g1",
    "correlation.object": "o1",
  });
});

test("a flag that the provider does not know is left to the stored rollout", async () => {
  await OpenFeature.setProviderAndWait(provider);
  const flags = openFeature(OpenFeature.getClient());
  const context = contextOf({ id: "job-1", type: "unknown", group: null, correlation: null });
  expect(await flags(context)).toBeUndefined();
});
