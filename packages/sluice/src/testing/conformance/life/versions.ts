/**
 * Payloads of other versions, and types that a worker does not know.
 */
import assert from "node:assert/strict";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { defineJob } from "../../../definition.js";
import { handle } from "../../../processor.js";
import { aNewJob } from "../../builders.js";
import { aType } from "./stage.js";
import type { LifeCase } from "./stage.js";

export function versionCases(test: LifeCase): void {
  test("a stored payload that does not match its schema fails without an attempt", async (stage) => {
    const type = aType();
    let runs = 0;
    await stage.work([handle(type, () => void runs++)]);
    const bad = aNewJob({ payload: '{"n":"a word"}' });

    await stage.store.enqueue([bad]);
    const ended = await stage.failed(bad.id);

    assert.deepEqual([ended.reason, ended.attempt, runs], ["invalid_payload", 0, 0]);
    assert.deepEqual(ended.error.issues, [{ path: "/n", message: "expected a number" }]);
  });

  test("a job of a newer version waits for a newer worker", async (stage) => {
    const newer = aType({ version: 2 });
    const older = aType({ version: 1 });
    const { job } = await stage.queue.enqueue(newer, { n: 1 });
    const { job: known } = await stage.queue.enqueue(older, { n: 2 });
    const old = await stage.work([handle(older, () => "old worker")]);
    await stage.completed(known);

    const waiting = await stage.job(job.id);
    await stage.reach(old.stop(), "the old worker to stop");
    await stage.work([handle(newer, () => "new worker")]);
    const ended = await stage.completed(job);

    assert.deepEqual([waiting.state, waiting.attempt], ["pending", 0]);
    assert.deepEqual([ended.output, ended.attempt], ["new worker", 1]);
  });

  test("a job of an unknown type is left alone", async (stage) => {
    const known = aType({ type: "known" });
    const unknown = aType({ type: "unknown" });
    const { job: strange } = await stage.queue.enqueue(unknown, { n: 1 });
    const { job } = await stage.queue.enqueue(known, { n: 2 });

    await stage.work([handle(known, () => "done")]);
    await stage.completed(job);

    const left = await stage.job(strange.id);
    assert.deepEqual([left.state, left.attempt], ["pending", 0]);
  });

  test("an older payload is brought up to the version of the worker, step by step", async (stage) => {
    const type = defineJob({
      type: "example",
      payload: greeting,
      version: 3,
      upcast: {
        1: (old: { readonly n: number }) => ({ number: old.n }),
        2: (old: { readonly number: number }) => ({ text: `number ${old.number}` }),
      },
    });
    await stage.work([handle(type, (job) => job.payload.text)]);
    const old = aNewJob({ payload: '{"n":7}', version: 1 });

    await stage.store.enqueue([old]);

    assert.equal((await stage.completed(old.id)).output, "number 7");
  });

  test("an upcast that throws fails the job without an attempt", async (stage) => {
    const type = defineJob({
      type: "example",
      payload: greeting,
      version: 2,
      upcast: {
        1: () => {
          throw new Error("cannot read this");
        },
      },
    });
    await stage.work([handle(type, (job) => job.payload.text)]);
    const old = aNewJob({ payload: '{"n":7}', version: 1 });

    await stage.store.enqueue([old]);
    const ended = await stage.failed(old.id);

    assert.deepEqual([ended.reason, ended.attempt], ["invalid_payload", 0]);
  });
}

const greeting: StandardSchemaV1<{ readonly text: string }> = {
  "~standard": {
    version: 1,
    vendor: "sluice-conformance",
    validate: (value) =>
      typeof (value as { text?: unknown }).text === "string"
        ? { value: value as { readonly text: string } }
        : { issues: [{ message: "expected a string", path: ["text"] }] },
  },
};
