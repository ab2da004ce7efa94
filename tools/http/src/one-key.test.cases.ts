/** One Idempotency-Key, many clients, two processes, one job (I7). Called once per store. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Queue, type Store } from "sluice";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { enqueueSurely, openStore, ServiceProcess, type Place, type Target } from "./service.test.bed.js";

const clients = 50;

export function describeOneKey(target: Target): void {
  describe(`one key on ${target.name}`, { timeout: 120_000 }, () => cases(target));
}

function cases(target: Target): void {
  let place: Place;
  let store: Store<unknown>;
  let services: ServiceProcess[];

  beforeAll(async () => {
    place = await target.make();
    store = await openStore(place);
    services = await Promise.all([ServiceProcess.start(place), ServiceProcess.start(place)]);
  }, 120_000);

  afterAll(async () => {
    await Promise.all(services.map((each) => each.end("SIGKILL")));
    await store.close();
    await target.remove(place);
  });

  const jobsOf = async (key: string) =>
    (await new Queue<unknown>({ store }).search(`type:demo.orphan correlation.key:${key}`, { limit: 200 })).jobs;
  const jobOf = (key: string) => ({ type: "demo.orphan", payload: {}, correlation: { key } });
  const all = <T>(one: (client: number) => Promise<T>) =>
    Promise.all(Array.from({ length: clients }, (_, n) => one(n)));

  test("fifty at once: one is answered that it was created, all get the same job", async () => {
    const urls = services.map(({ url }) => url);
    const key = randomUUID();

    const answers = await all((n) => enqueueSurely(() => urls, { key, payload: jobOf(key), first: n }));

    expect(answers.filter(({ outcome }) => outcome === "created").length).toBe(1);
    expect(answers.filter(({ outcome }) => outcome === "duplicate").length).toBe(clients - 1);
    expect(answers.every(({ tries }) => tries === 0)).toBe(true);
    const jobs = await jobsOf(key);
    expect(jobs.length).toBe(1);
    expect(new Set(answers.map(({ id }) => id))).toEqual(new Set([jobs[0]!.id]));
  });

  // At once, and when the first answer is there: before, while and after the job becomes durable.
  test.each(["at once", "after the first answer"])("a process is killed %s: still one job", async (when) => {
    const [doomed, other] = services;
    const urls = [doomed!.url, other!.url];
    const key = randomUUID();
    let kill: () => void = () => undefined;
    const mayKill = new Promise<void>((resolve) => (kill = resolve));

    const answering = all(async (n) => {
      const answer = await enqueueSurely(() => urls, { key, payload: jobOf(key), first: n });
      kill();
      return answer;
    });
    if (when !== "at once") await mayKill;
    expect(await doomed!.end("SIGKILL")).toBe("SIGKILL");
    const answers = await answering;
    services[0] = await ServiceProcess.start(place);

    // The answer that said it was created may have died with the process.
    expect(answers.filter(({ outcome }) => outcome === "created").length).toBeLessThanOrEqual(1);
    const jobs = await jobsOf(key);
    expect(jobs.length).toBe(1);
    expect(new Set(answers.map(({ id }) => id))).toEqual(new Set([jobs[0]!.id]));
    if (when === "at once") expect(answers.some(({ tries }) => tries > 0)).toBe(true);
  });

  test("a rolling restart while clients enqueue: no job is lost or doubled, and all are run", async () => {
    const tag = randomUUID();
    let isRolling = true;
    const urls = () => services.map(({ url }) => url);
    const client = async (n: number): Promise<readonly string[]> => {
      const ids: string[] = [];
      while (isRolling || ids.length < 5) {
        const payload = { type: "demo.echo", payload: { text: "x" }, correlation: { tag } };
        ids.push((await enqueueSurely(urls, { key: randomUUID(), payload, first: n + ids.length })).id);
        // A few hundred jobs are enough.
        await sleep(25);
      }
      return ids;
    };

    const enqueuing = Promise.all(Array.from({ length: 6 }, (_, n) => client(n)));
    for (let at = 0; at < 2; at++) {
      const next = await ServiceProcess.start(place);
      const old = services[at]!;
      // Clients hear of the new one when the old one is going: until then, and a little longer, they ask it.
      const ended = old.end("SIGTERM");
      services[at] = next;
      expect(await ended).toBe(0);
    }
    isRolling = false;
    const ids = (await enqueuing).flat();

    expect(ids.length).toBeGreaterThanOrEqual(30);
    expect(new Set(ids).size).toBe(ids.length);
    const queue = new Queue<unknown>({ store });
    const count = async (state: string) => {
      let n = 0;
      for (let cursor: string | null = null, isFirst = true; isFirst || cursor !== null; isFirst = false) {
        const page = await queue.search(`correlation.tag:${tag} ${state}`, { limit: 200, cursor });
        n += page.jobs.length;
        cursor = page.next;
      }
      return n;
    };
    expect(await count("")).toBe(ids.length);
    await expect.poll(() => count("state:completed"), { timeout: 60_000, interval: 200 }).toBe(ids.length);
  });
}
