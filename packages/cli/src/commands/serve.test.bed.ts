/** A service and a worker as processes, with jobs that a test can hold and let go. */
import { type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { startSluice, type Ended, type Folder } from "../cli.test.process.js";

/** `held` runs until there is a file at `until`, `deaf` does not hear that it should stop, and a timer is left open. */
export function jobsModule(folder: Folder): string {
  const at = (name: string) => pathToFileURL(createRequire(import.meta.url).resolve(name)).href;
  const path = folder.path("jobs.mjs");
  writeFileSync(
    path,
    `import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { defineJob, handle } from "${at("sluice")}";
import { z } from "${at("zod")}";

const echo = defineJob({ type: "echo", payload: z.object({ text: z.string() }), result: z.object({ text: z.string() }) });
const held = defineJob({ type: "held", payload: z.object({ until: z.string() }) });
const deaf = defineJob({ type: "deaf", payload: z.object({}) });
setInterval(() => undefined, 1_000);

export const jobs = [
  handle(echo, async ({ payload }) => ({ text: payload.text })),
  handle(held, async ({ payload }, { signal }) => {
    while (!existsSync(payload.until)) await sleep(20, undefined, { signal });
  }),
  handle(deaf, () => sleep(600_000)),
];
export default { orphan: defineJob({ type: "orphan", payload: z.object({}) }) };
`,
  );
  return path;
}

/** A process of the program that stays up. */
export class Up {
  readonly #child: ChildProcess;
  readonly #ended: Promise<[number | null, NodeJS.Signals | null]>;
  #stdout = "";
  #stderr = "";

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = startSluice(args, env);
    this.#ended = once(this.#child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => (this.#stdout += text));
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => (this.#stderr += text));
  }

  get stdout(): string {
    return this.#stdout;
  }

  /** What it says, once it does. @throws {Error} when it ends without. */
  async says(what: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = what.exec(this.#stdout);
      if (found !== null) return found;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`It has ended with ${this.#child.exitCode} and said ${this.#stdout}${this.#stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async url(): Promise<string> {
    return (await this.says(/is up at (\S+)/))[1]!;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async ended(): Promise<Ended & { readonly signal: NodeJS.Signals | null }> {
    const [code, signal] = await this.#ended;
    return { code, signal, stdout: this.#stdout, stderr: this.#stderr };
  }

  /** Whatever became of the test. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
