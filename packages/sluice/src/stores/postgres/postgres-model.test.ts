/**
 * The PostgreSQL store beside the memory store, under random commands.
 */
import { test } from "vitest";
import { expectLikeMemory, modelRuns } from "../../testing/model.test.suite.js";
import { postgresTarget } from "./suite.test.target.js";

/** Making a schema takes most of the time: long sequences find more per second than many. */
const extent = modelRuns(40);

test("the memory store and the PostgreSQL store cannot be told apart", { timeout: extent.limitMs + 10_000 }, () =>
  expectLikeMemory((clock) => postgresTarget("postgres").open({ clock }), extent),
);
