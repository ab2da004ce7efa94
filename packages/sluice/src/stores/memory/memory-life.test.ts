/** The life tier of the conformance suite on the memory store. */
import { describe, test } from "vitest";
import { describeLife } from "../../testing/conformance/life.js";
import { memory } from "./index.js";

describeLife({
  name: "memory",
  capabilities: { transactions: "none", sharedAcrossProcesses: false },
  open: async ({ clock }) => {
    const store = await memory({ clock });
    return { store, dispose: () => store.close() };
  },
  skip: [],
  framework: { describe, test: (name, body) => test(name, body) },
});
