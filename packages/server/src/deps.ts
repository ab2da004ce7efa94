/** What the routes work with. */
import type { AnyDefinition, Queue, Store } from "sluice";
import type { KeyRing } from "./auth.js";
import type { Gate } from "./gate.js";
import type { Limits } from "./limits.js";
import type { Live } from "./live.js";
import type { Metrics } from "./metrics.js";
import type { Readiness } from "./routes/health.js";
import type { Place } from "./views.js";

export interface Deps extends Place {
  readonly queue: Queue<unknown>;
  readonly store: Store<unknown>;
  readonly definitions: ReadonlyMap<string, AnyDefinition>;
  readonly limits: Limits;
  readonly gate: Gate;
  readonly live: Live;
  /** Null: the application says itself who asks. */
  readonly ring: KeyRing | null;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
  readonly now: () => number;
}
