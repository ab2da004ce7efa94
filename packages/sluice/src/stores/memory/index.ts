/**
 * A store that lives and ends with the process: for tests and for trying things out.
 */
import { systemClock } from "../../clock.js";
import type { Clock } from "../../clock.js";
import type { Store } from "../../store.js";
import { MemoryStore } from "./memory-store.js";

/** Opens an empty store in memory. Nothing in it survives the process; it has no transactions. */
export async function memory({ clock = systemClock }: { readonly clock?: Clock } = {}): Promise<Store> {
  return new MemoryStore({ clock });
}
