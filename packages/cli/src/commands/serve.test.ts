/** The service and the worker as processes: what they answer, how they end, and that nothing is lost by it. */
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { sqlite } from "sluice/sqlite";
import { Queue, type Job } from "sluice";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { aFolder, sluice, sluiceHere, type Folder } from "../cli.test.process.js";
import { jobsModule, Up } from "./serve.test.bed.js";

// Processes of several threads each, on machines where others work, too.
vi.setConfig({ testTimeout: 90_000 });

interface JobSeen {
  readonly id: string;
  readonly state: string;
  readonly output?: unknown;
  readonly waiting?: { readonly reason: string } | null;
}

let folder: Folder;
let jobs: string;
let up: Up[];

beforeEach(() => {
  folder = aFolder();
  jobs = jobsModule(folder);
  up = [];
});

afterEach(async () => {
  await Promise.all(up.map((each) => each.kill()));
  folder.remove();
});

const env = () => ({ SLUICE_STORE: `sqlite:${folder.path("jobs.db")}`, SLUICE_PORT: "0" });

function start(verb: "serve" | "worker", ...more: readonly string[]): Up {
  const process = new Up([verb, "--jobs", jobs, ...more], env());
  up.push(process);
  return process;
}

async function enqueue(url: string, type: string, payload: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}/v1/jobs`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ type, payload }),
  });
  return { status: response.status, job: (await response.json()) as JobSeen };
}

async function reaches(url: string, id: string, state: string): Promise<void> {
  const seen = async () => ((await (await fetch(`${url}/v1/jobs/${id}`)).json()) as JobSeen).state;
  await expect.poll(seen, { timeout: 60_000, interval: 50 }).toBe(state);
}

/** The jobs as the store has them, when all processes are gone. */
async function left(...ids: readonly string[]): Promise<readonly (Job | null)[]> {
  const store = await sqlite({ path: folder.path("jobs.db") });
  const found = await new Queue<unknown>({ store }).getMany(ids);
  await store.close();
  return found;
}

describe("the end", () => {
  test("on SIGTERM what can end does, the rest is given back, nothing is lost, and the exit code is 0", async () => {
    const serve = start("serve", "--grace", "3");
    const url = await serve.url();
    const echoed = await enqueue(url, "echo", { text: "a" }, { prefer: "wait=60" });
    expect(echoed).toMatchObject({ status: 200, job: { state: "completed", output: { text: "a" } } });
    const ending = (await enqueue(url, "held", { until: folder.path("end") })).job.id;
    const endless = (await enqueue(url, "held", { until: folder.path("never") })).job.id;
    const deaf = (await enqueue(url, "deaf", {})).job.id;
    for (const id of [ending, endless, deaf]) await reaches(url, id, "processing");
    const waiting = (await enqueue(url, "orphan", {})).job.id;
    const follower = await fetch(`${url}/v1/jobs/${endless}/events`);

    serve.signal("SIGTERM");
    await serve.says(/^stopping: /m);
    writeFileSync(folder.path("end"), "");

    // The stream ends, so that its reader looks elsewhere.
    expect(await follower.text()).toContain('"state":"processing"');
    await expect(enqueue(url, "echo", { text: "late" })).rejects.toThrow();
    expect(await serve.ended()).toMatchObject({ code: 0, stderr: "" });
    expect(await left(ending, endless, deaf, waiting)).toMatchObject([
      { state: "completed", attempt: 1 },
      // Not charged: it is not the job's fault.
      { state: "pending", attempt: 0, crashes: 0 },
      { state: "pending", attempt: 0, crashes: 0 },
      { state: "pending", attempt: 0 },
    ]);
  });

  test.each(["SIGINT", "SIGTERM"] as const)(
    "after SIGTERM, %s ends it at once; another worker goes on",
    async (second) => {
      const serve = start("serve", "--lease-ms", "1000", "--grace", "3600");
      const url = await serve.url();
      const { id } = (await enqueue(url, "held", { until: folder.path("end") })).job;
      await reaches(url, id, "processing");

      serve.signal("SIGTERM");
      await serve.says(/^stopping: /m);
      serve.signal(second);

      expect(await serve.ended()).toMatchObject({ code: null, signal: second });
      expect(await left(id)).toMatchObject([{ state: "processing" }]);
      if (second === "SIGINT") return;
      writeFileSync(folder.path("end"), "");
      const worker = start("worker", "--lease-ms", "1000");
      await expect.poll(() => left(id), { timeout: 60_000 }).toMatchObject([{ state: "completed", crashes: 1 }]);
      worker.signal("SIGINT");
      expect(await worker.ended()).toMatchObject({ code: 0 });
    },
  );
});

test("a service that runs no jobs beside workers that do", async () => {
  const serve = start("serve", "--no-worker");
  const url = await serve.url();
  await serve.says(/It runs no jobs itself\./);
  const { id } = (await enqueue(url, "echo", { text: "b" })).job;
  const before = (await (await fetch(`${url}/v1/jobs/${id}`)).json()) as JobSeen;
  expect(before).toMatchObject({ state: "pending", waiting: { reason: "no_worker" } });

  const workers = [start("worker"), start("worker", "--concurrency", "1")];
  await reaches(url, id, "completed");
  for (const worker of workers) await worker.says(/^sluice runs jobs from .*jobs\.db\n/);
  for (const each of [serve, ...workers]) each.signal("SIGTERM");

  for (const each of [serve, ...workers]) expect(await each.ended()).toMatchObject({ code: 0, stderr: "" });
});

test("from the first key on it asks for one, and then it may listen for others", async () => {
  const serve = start("serve");
  const url = await serve.url();
  await serve.says(/There is no API key: it answers this machine only/);
  expect((await fetch(`${url}/v1/jobs`)).status).toBe(200);
  const stranger = await start("serve", "--host", "0.0.0.0").ended();
  expect(stranger).toMatchObject({ code: 1, stdout: "" });
  expect(stranger.stderr).toMatch(
    /^sluice: There is no API key that is good, .* 0\.0\.0\.0 is not\. .*sluice keys create[^\n]+\n$/,
  );

  const made = await sluice(["keys", "create", "--name", "ada", "--role", "admin"], env());
  const authorization = `Bearer ${made.stdout.trim()}`;

  const status = async (headers = {}) => (await fetch(`${url}/v1/jobs`, { headers })).status;
  await expect.poll(status, { timeout: 5_000, interval: 100 }).toBe(401);
  expect(await status({ authorization })).toBe(200);
  expect(await status({ authorization: `${authorization.slice(0, -1)}~` })).toBe(401);
  const open = start("serve", "--host", "0.0.0.0");
  await open.says(/is up at http:\/\/0\.0\.0\.0:\d+ /);
  expect(open.stdout).not.toContain("There is no API key");
});

describe("refused in one sentence", () => {
  const module = (name: string, text: string) => {
    writeFileSync(folder.path(name), text);
    return folder.path(name);
  };
  const store = () => ["--store", `sqlite:${folder.path("jobs.db")}`];
  const serve = (...args: readonly string[]) => sluiceHere(["serve", ...store(), ...args]);

  test.each([
    { title: "no such file", text: null, says: /--jobs names \S+jobs2\.mjs, and there is no such file/ },
    { title: "one that throws nothing", text: "throw undefined;", says: /cannot be loaded: undefined/ },
    { title: "one that is no JavaScript", text: "export const = 1;", says: /jobs2\.mjs cannot be loaded: / },
    { title: "one without jobs", text: "export const a = { b: [1] };", says: /jobs2\.mjs exports no job: export what/ },
  ])("jobs: $title", async ({ text, says }) => {
    const path = text === null ? folder.path("jobs2.mjs") : module("jobs2.mjs", text);

    const { code, stdout, stderr } = await serve("--jobs", path);

    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^sluice: [^\n]+\n$/);
    expect(stderr).toMatch(says);
    expect(existsSync(folder.path("jobs.db"))).toBe(false);
  });

  test("jobs: one that throws, with something left open", async () => {
    const path = module("jobs2.mjs", 'setInterval(() => undefined, 1_000);\nthrow new Error("no\\nconfiguration");');

    const { code, stderr } = await sluice(["serve", "--jobs", path], env());

    expect([code, stderr]).toEqual([1, `sluice: ${path} cannot be loaded: no configuration\n`]);
  });

  test("a port that is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;

    const { code, stdout, stderr } = await serve("--jobs", jobs, "--port", String(port));

    other.close();
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      `sluice: Port ${port} on 127.0.0.1 cannot be used: another program listens there. Give another port or host.\n`,
    );
  });

  test("a store that is none", async () => {
    const path = module("text.db", "no database, but long enough to be asked whether it is one");

    const { code, stderr } = await serve("--jobs", jobs, "--store", `sqlite:${path}`);

    expect(code).toBe(1);
    expect(stderr).toMatch(/^sluice: [^\n]*text\.db is not a SQLite database[^\n]*\n$/);
  });

  test("a worker with nothing to run", async () => {
    const text = `import { jobs } from "./jobs.mjs";\nexport const only = jobs[0].definition;`;

    const { code, stderr } = await sluiceHere(["worker", ...store(), "--jobs", module("only.mjs", text)]);

    expect(code).toBe(1);
    expect(stderr).toMatch(/^sluice: \S+only\.mjs exports no processors: [^\n]+\n$/);
  });

  test.each([
    [[]],
    [["--jobs", ""]],
    [["--jobs", "a.mjs", "--port", "70000"]],
    [["--jobs", "a.mjs", "--grace", "1.5"]],
  ])("used wrongly: %j", async (args) => {
    const { code, stderr } = await serve(...args);

    expect(code).toBe(2);
    expect(stderr).toMatch(/^sluice: .+\nAdd --help to see what there is\.\n$/);
  });
});
