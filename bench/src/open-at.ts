/**
 * Opens in another process what a bed has opened here.
 */
import type { Store } from "sluice";
import { postgres } from "sluice/postgres";
import { sqlite } from "sluice/sqlite";

export async function openAt(address: string): Promise<Store<unknown>> {
  if (address.startsWith("sqlite:")) return sqlite({ path: address.slice("sqlite:".length) });
  const [url, schema] = address.split("#");
  return postgres({ url: url!, schema: schema! });
}
