/**
 * The main job as its user meets it: over HTTP, with a real store and the real embedding model (AC1, US1). Called once per
 * database.
 */
import { pino } from "pino";
import type { AccessKeyOptions } from "sluice";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startCanon, type Canon } from "./app.js";
import type { AppPlace, AppTarget } from "./app.test.target.js";
import { readConfig } from "./config.js";
import type { ImportView } from "./imports.js";
import type { ImportFailure } from "./library/library.js";

export function describeApp(target: AppTarget): void {
  // Embedding runs at a low priority: on a busy machine it has to wait for whoever else works there.
  describe(`canon on ${target.name}`, { timeout: 120_000 }, () => cases(target));
}

function cases(target: AppTarget): void {
  let place: AppPlace;
  let canon: Canon;
  const start = (environment: NodeJS.ProcessEnv = {}) =>
    startCanon(
      readConfig({
        ...place.environment,
        SLUICE_PORT: "0",
        LOG_LEVEL: "silent",
        CANON_EMBED_THREADS: "1",
        ...environment,
      }),
      pino({ level: "silent" }),
    );

  beforeAll(async () => {
    place = await target.open();
    canon = await start();
  }, 120_000);

  afterAll(async () => {
    await canon.stop();
    await place.dispose();
  });

  describe("an import", () => {
    test("is answered 202 with its location, and ends complete with every object searchable", async () => {
      const response = await post("worlds", [
        {
          kind: "spell",
          name: "Revivify",
          description: "You touch a creature that has died within the last minute. It returns to life.",
        },
        {
          kind: "spell",
          name: "Fireball",
          description: ["A bright streak flashes.", "It blossoms into an explosion of flame."],
        },
        { kind: "monster", name: "Æther Wyrm", attributes: [{ path: "armor", value: 17 }] },
      ]);
      expect(response.status).toBe(202);

      const view = await finished(response.headers.get("location")!);
      const hits = await searchFor("worlds", "bring a dead person back to life");

      expect(view).toMatchObject({
        status: "completed",
        outcome: "complete",
        progress: { total: 3, done: 3, succeeded: 3, failed: 0, skipped: 0 },
      });
      expect(hits[0]).toMatchObject({ kind: "spell", name: "Revivify" });
    });

    test("with broken, invalid and repeated records imports the others and lists each with line and reason", async () => {
      const body = [
        '{"kind":"npc","name":"Anna"}',
        '{"kind":"npc","name":',
        '{"kind":"npc"}',
        '{"kind":"npc","name":"Anna"}',
        '{"kind":"npc","name":"Evil","__proto__":{"admin":true}}',
        '{"kind":"npc","name":"Björn"}',
      ].join("\n");

      const view = await finished((await post("broken", body)).headers.get("location")!);
      const { failures } = await get<{ failures: ImportFailure[] }>(view.links.failures);

      expect(view).toMatchObject({
        status: "completed",
        outcome: "partial",
        progress: { total: 6, succeeded: 2, failed: 4 },
      });
      expect(failures.map(({ line }) => line)).toEqual([2, 3, 4, 5]);
      expect(failures.every(({ reason }) => reason.length > 10)).toBe(true);
    });

    test.each([
      ["hello", /JSON/],
      ["[]", /no objects/],
      ['[{"kind":"npc"}]', /None of the 1 records/],
    ])("of %j fails with a plain sentence", async (body, sentence) => {
      const view = await finished((await post("nothing", body)).headers.get("location")!);

      expect(view).toMatchObject({ status: "failed", problem: expect.stringMatching(sentence) as unknown });
    });

    test("of the same world again skips what is searchable already; a whitespace edit too, a real edit not", async () => {
      const anna = { kind: "npc", name: "Anna", description: "A smith in Waterdeep." };
      const first = await finished((await post("again", [anna])).headers.get("location")!);
      const spaced = { ...anna, description: "A  smith in\n Waterdeep." };
      const edited = { ...anna, description: "A smith in Baldur's Gate." };

      const whitespace = await finished((await post("again", [spaced])).headers.get("location")!);
      const real = await finished((await post("again", [edited])).headers.get("location")!);

      expect(first.progress).toMatchObject({ succeeded: 1, skipped: 0 });
      expect(whitespace.progress).toMatchObject({ succeeded: 0, skipped: 1 });
      expect(real.progress).toMatchObject({ succeeded: 1, skipped: 0 });
    });

    test("keeps restricted attributes from search and from players, and shows them to the game master", async () => {
      const traitor = {
        id: "npc/vex",
        kind: "npc",
        name: "Vex",
        description: "A loyal guard.",
        attributes: [
          { path: "rank", value: "captain" },
          { path: "secret", value: "serves the zhentarim", restricted: true },
        ],
      };
      await finished((await post("secrets", [traitor])).headers.get("location")!);
      const address = `/v1/games/secrets/objects/${encodeURIComponent("npc/vex")}`;

      const asGm = JSON.stringify(await get(address));
      const asPlayer = JSON.stringify(await get(`${address}?as=player`));
      const hits = JSON.stringify(await searchFor("secrets", "zhentarim"));

      expect(asGm).toContain("zhentarim");
      expect(asPlayer).toContain("captain");
      expect(asPlayer + hits).not.toContain("zhentarim");
    });
  });

  test("an attribute that becomes restricted leaves the search before the object is embedded again", async () => {
    const guard = (restricted: boolean) => ({
      id: "npc/mole",
      kind: "npc",
      name: "Mole",
      attributes: [{ path: "secret", value: "spies for the harpers", restricted }],
    });
    await finished((await post("turned", [guard(false)])).headers.get("location")!);
    const before = JSON.stringify(await searchFor("turned", "harpers"));

    await finished((await post("turned", [guard(true)])).headers.get("location")!);
    const after = JSON.stringify(await searchFor("turned", "harpers"));

    expect(before).toContain("harpers");
    expect(after).not.toContain("harpers");
  });

  test("a port that is taken is said plainly, and the jobs stay with the process that has it", async () => {
    const { port } = new URL(canon.url!);

    await expect(start({ SLUICE_PORT: port })).rejects.toThrow(/Port \d+ .* another program listens there/);
  });

  test("an import can be followed by server-sent events to its end, and its reader then stays away", async () => {
    const response = await post("followed", [
      { kind: "npc", name: "Cleo" },
      { kind: "npc", name: "Dora" },
    ]);
    const address = `${canon.url}${response.headers.get("location")}/events`;

    const stream = await fetch(address);
    const text = await stream.text();

    expect(stream.headers.get("content-type")).toMatch("text/event-stream");
    const seen = [...text.matchAll(/^event: import\ndata: (.*)$/gm)].map(([, data]) => JSON.parse(data!) as ImportView);
    const done = seen.map(({ progress }) => progress.done);
    expect(seen.at(-1)).toMatchObject({ status: "completed", outcome: "complete", progress: { done: 2 } });
    expect(done).toEqual([...done].sort((a, b) => a - b));
    const lastId = [...text.matchAll(/^id: (.*)$/gm)].at(-1)![1]!;
    expect((await fetch(address, { headers: { "last-event-id": lastId } })).status).toBe(204);
    expect((await fetch(`${canon.url}/v1/games/followed/imports/none/events`)).status).toBe(404);
  });

  test("a job that no import has begun is given up, and makes nothing", async () => {
    const bogus = { game: "nowhere", importId: "none", blob: "none", bytes: 1 };
    const response = await fetch(`${canon.url}/v1/jobs`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ type: "canon.ingest", payload: bogus, maxAttempts: 1 }),
    });
    expect(response.status).toBe(202);
    const { id } = (await response.json()) as { id: string };

    const ended = async () => (await canon.queue.get(id))?.status;
    await expect.poll(ended, { timeout: 60_000 }).toBe("cancelled");
    expect((await get<{ imports: unknown[] }>("/v1/games/nowhere/imports")).imports).toEqual([]);
  });

  describe("bad requests", () => {
    test.each([
      ["GET", "/v1/games/x/imports/none", 404],
      ["GET", "/v1/games/x/search?q=", 422],
      ["GET", "/v1/games/x/search?q=a&limit=1000", 422],
      ["GET", "/v1/games/x/search?q=a&unknown=1", 422],
      ["GET", "/v1/games/..%2F..%2Fetc/imports", 422],
      ["POST", "/v1/games/x/imports", 422],
      ["GET", "/nowhere", 404],
      ["GET", "/v1/games/x/objects/%ZZ", 400],
      ["GET", `/v1/games/x/objects/${"a".repeat(150)}`, 404],
      ["GET", `/v1/games/x/objects/${"a".repeat(3_000)}`, 414],
    ])("%s %s is answered %i as problem+json", async (method, path, status) => {
      const response = await fetch(canon.url! + path, { method });

      expect(response.status).toBe(status);
      expect(response.headers.get("content-type")).toMatch("application/problem+json");
      expect(await response.json()).toMatchObject({
        status,
        detail: expect.any(String) as unknown,
        requestId: expect.any(String) as unknown,
      });
    });
  });

  // The last: from here on it asks everybody for a key.
  test("with API keys a stranger gets 401, a key to submit may import, and one for other types may not", async () => {
    const keyFor = async (more: Partial<AccessKeyOptions>) =>
      (await canon.queue.createAccessKey({ name: "test", roles: ["submit"], ...more }, { actor: "test" })).token;
    await keyFor({ roles: ["admin"] });
    const [submits, watches, mails] = await Promise.all([
      keyFor({}),
      keyFor({ roles: ["observe"] }),
      keyFor({ types: ["mail.*"] }),
    ]);
    const address = `${canon.url}/v1/games/guarded/imports`;
    const ask = (key: string | null, init: RequestInit = {}, url = address) =>
      fetch(url, { ...init, headers: key === null ? {} : { authorization: `Bearer ${key}` } });
    const world = () => ({ method: "POST", body: JSON.stringify([{ kind: "npc", name: "Eve" }]) });
    await expect.poll(async () => (await ask(null)).status, { timeout: 10_000 }).toBe(401);

    const strangers = await Promise.all([
      ask(null, world()),
      ...["/imports/x", "/imports/x/events", "/imports/x/failures", "/objects/x", "/search?q=a"].map((path) =>
        ask(null, {}, `${canon.url}/v1/games/guarded${path}`),
      ),
    ]);
    const submitted = await ask(submits, world());

    expect(strangers.map(({ status }) => status)).toEqual(strangers.map(() => 401));
    expect(submitted.status).toBe(202);
    expect((await ask(submits, {}, canon.url! + submitted.headers.get("location")!)).status).toBe(200);
    expect((await ask(watches)).status).toBe(200);
    expect((await ask(watches, world())).status).toBe(403);
    expect((await ask(mails, world())).status).toBe(403);
    expect((await ask(mails)).status).toBe(403);
  });

  function post(game: string, body: string | readonly unknown[]): Promise<Response> {
    return fetch(`${canon.url}/v1/games/${game}/imports`, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  }

  async function get<T>(path: string): Promise<T> {
    const response = await fetch(canon.url! + path);
    expect(response.status).toBe(200);
    return (await response.json()) as T;
  }

  async function searchFor(game: string, words: string): Promise<{ kind: string; name: string }[]> {
    const { hits } = await get<{ hits: { kind: string; name: string }[] }>(
      `/v1/games/${game}/search?q=${encodeURIComponent(words)}`,
    );
    return hits;
  }

  /** The end is signalled by nothing but the resource itself, as for any client: polling is the interface. */
  async function finished(path: string): Promise<ImportView> {
    for (;;) {
      const view = await get<ImportView>(path);
      if (view.status !== "processing") return view;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
