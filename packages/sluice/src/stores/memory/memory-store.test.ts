import { describe, test } from "vitest";
import { describeStore } from "../../testing/conformance/index.js";
import { memory } from "./index.js";

describeStore({
  name: "memory",
  capabilities: { transactions: "none", sharedAcrossProcesses: false },
  open: async ({ clock }) => {
    const store = await memory({ clock });
    return { store, dispose: () => store.close() };
  },
  skip: [],
  framework: { describe, test },
});
