/** The table of the HTTP interface, row by row. Called once per store. */
import { Queue } from "sluice";
import { expect, test } from "vitest";
import { startDemo } from "./demo.js";
import { openStore, type Target } from "./service.test.bed.js";
import { walk } from "./walk.js";

/** @param withKey Whether the service asks for a key: everything must hold with one, too. */
export function describeWalk(target: Target, { withKey }: { readonly withKey: boolean }): void {
  test(`every row of the interface holds on ${target.name}`, { timeout: 120_000 }, async () => {
    const place = await target.make();
    const store = await openStore(place);
    const wanted = { name: "walker", roles: ["admin"] } as const;
    const key = withKey ? (await new Queue<unknown>({ store }).createAccessKey(wanted, { actor: "test" })).token : null;
    const demo = await startDemo(store);
    try {
      const rows = await walk({ baseUrl: demo.service.url, ...(key !== null && { key }) });

      expect(rows.filter(({ holds }) => !holds)).toEqual([]);
      expect(rows.length).toBeGreaterThanOrEqual(42);
    } finally {
      await demo.stop();
      await store.close();
      await target.remove(place);
    }
  });
}
