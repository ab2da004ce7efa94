/**
 * A process of its own on the store of sqlite-files.test.ts and race.test.ts. Takes an order on its command line, says what came of it,
 * and ends, if it is not killed first.
 */
import { aClaim, aBeat, aNewJob, anIdempotency, completeOf } from "../../testing/index.js";
import { sqlite } from "./index.js";

const [order, path] = process.argv.slice(2) as [string, string];
const workerId = `process-${process.pid}`;

switch (order) {
  // Opens as soon as it is told to, so that several open at once.
  case "open": {
    process.send!("ready");
    await new Promise((resolve) => process.once("message", resolve));
    const store = await sqlite({ path });
    const { results } = await store.amend({ action: "cancel", target: { ids: [] }, actor: "test", reason: null });
    await store.close();
    process.send!(results);
    break;
  }

  // Commits without end, and has one transaction open that it never commits.
  case "write": {
    const store = await sqlite({ path });
    for (let calls = 0; calls < 20; calls += 1) await store.enqueue(Array.from({ length: 50 }, () => aNewJob()));
    store.connection.exec("begin immediate");
    await store.enqueue([aNewJob({ type: "uncommitted" })], store.connection);
    const counted = store.connection.prepare("select count(*) as n from sluice_jobs where type = 'uncommitted'");
    process.send!(counted.get());
    setInterval(() => undefined, 1_000);
    break;
  }

  // Sends fifty requests with keys of their own, and one of them fifty times more; each in a call of its own.
  case "request": {
    const store = await sqlite({ path });
    process.send!("ready");
    await new Promise((resolve) => process.once("message", resolve));

    const keys = Array.from({ length: 50 }, (_, n) => [`request-${n}`, "one and the same"]).flat();
    const results = await Promise.all(
      keys.map((key) => store.enqueue([aNewJob({ idempotency: anIdempotency({ key }) })])),
    );
    await store.close();
    process.send!(results.flat());
    break;
  }

  // Enqueues its share, and claims and settles whatever it gets until nothing is left of anybody's.
  case "race": {
    const share = 500;
    const store = await sqlite({ path });
    await store.heartbeat(aBeat({ workerId }));
    process.send!("ready");
    await new Promise((resolve) => process.once("message", resolve));

    const enqueuing = Array.from({ length: share / 10 }, () =>
      store.enqueue(Array.from({ length: 10 }, () => aNewJob())),
    );
    const claimed: string[] = [];
    let emptyRounds = 0;
    while (emptyRounds < 20) {
      const { jobs } = await store.claim({ ...aClaim({ workerId }), limit: 7 });
      emptyRounds = jobs.length === 0 ? emptyRounds + 1 : 0;
      if (jobs.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      const results = await store.settle(jobs.map((job) => completeOf(job)));
      if (results.some((result) => result !== "applied")) throw new Error(`Settled as ${results.join(", ")}`);
      claimed.push(...jobs.map(({ id }) => id));
    }
    await Promise.all(enqueuing);
    await store.close();
    process.send!(claimed);
    break;
  }
}
if (order !== "write") process.disconnect();
