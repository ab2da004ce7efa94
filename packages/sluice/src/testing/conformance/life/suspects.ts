/**
 * Jobs under which workers have died: from the second crash on they run alone, so that a third is charged to nobody else
 * (docs/decisions/0020).
 */
import assert from "node:assert/strict";
import { handle } from "../../../processor.js";
import { suspectAfter } from "../../../settlement.js";
import { aBeat, aClaim } from "../../builders.js";
import { aType, crash, Gate, leaseMs, type LifeCase, type Stage, type Task } from "./stage.js";

const times = suspectAfter;

export function suspectCases(test: LifeCase): void {
  test("a suspect runs when nothing else does, and nothing starts beside it", async (stage) => {
    const { processor, company } = watched(stage);
    await stage.queue.enqueue(suspicious, { n: 0 });
    await crash(stage, { times, jobs: 1 });
    await stage.enqueueMany(suspicious, tasks(20));

    await stage.work([processor], { concurrency: 5 });
    await stage.allCompleted();

    assert.deepEqual(company.get(0), []);
    assert.ok(
      [...company.values()].some((others) => others.length === 4),
      "the others do run together",
    );
  });

  test("one crash does not make a suspect", async (stage) => {
    // Long: the one that was claimed before looks for its steps first, and on a slow store the others begin meanwhile.
    const { processor, company } = watched(stage, 10_000);
    await stage.queue.enqueue(suspicious, { n: 0 });
    await crash(stage, { times: times - 1, jobs: 1 });
    await stage.enqueueMany(suspicious, tasks(4));

    await stage.work([processor], { concurrency: 5 });
    await stage.allCompleted();

    assert.deepEqual([...company.get(0)!].sort(), [1, 2, 3, 4]);
  });

  test("several suspects run one after another", async (stage) => {
    const { processor, company } = watched(stage);
    await stage.enqueueMany(suspicious, tasks(3));
    await crash(stage, { times, jobs: 3 });
    await stage.enqueueMany(suspicious, [{ n: 4 }, { n: 5 }]);

    await stage.work([processor]);
    await stage.allCompleted();

    for (const n of [1, 2, 3]) assert.deepEqual(company.get(n), [], `suspect ${n} had company`);
  });

  test("a suspect waits in the store while others run, charged nothing if they take the worker with them", async (stage) => {
    const { gate, suspect } = await busyWorkerMeetsSuspect(stage);

    await stage.pass(3_000);
    const waiting = await stage.job(suspect.id);
    gate.open();
    const ended = await stage.completed(suspect);

    assert.deepEqual([waiting.state, waiting.attempt, waiting.crashes], ["pending", times, times]);
    assert.equal(ended.attempt, times + 1);
  });

  test("work that comes later does not pass a suspect for ever", async (stage) => {
    const { gate, suspect, ran } = await busyWorkerMeetsSuspect(stage);
    await stage.enqueueMany(suspicious, tasks(5));
    await stage.pass(3_000);
    const before = [...ran];

    gate.open();
    await stage.completed(suspect);

    assert.deepEqual(before, [], "the worker took up other work");
    assert.equal(ran[0], 0);
    await stage.allCompleted();
  });

  test("a worker that waits for a suspect is not asked for it again and again", async (stage) => {
    const { gate, suspect } = await busyWorkerMeetsSuspect(stage);
    await stage.pass(10_000);
    const [record] = await stage.store.get([suspect.id]);

    gate.open();
    await stage.completed(suspect);

    // Two claims that crashed, one that came too early.
    assert.equal(record?.epoch, times + 1);
  });

  test("a busy worker goes on with other work when another one takes the suspect", async (stage) => {
    const { gate, suspect, ran } = await busyWorkerMeetsSuspect(stage);
    const elsewhere = watched(stage);

    const free = await stage.work([elsewhere.processor]);
    await stage.completed(suspect);
    await stage.reach(free.stop(), "the free worker to stop");
    const { job } = await stage.queue.enqueue(suspicious, { n: 7 });
    await stage.completed(job);

    assert.deepEqual(ran, [7]);
    assert.deepEqual(elsewhere.company.get(0), []);
    gate.open();
    await stage.allCompleted();
  });

  test("a worker that waits for a suspect stops as ever, and leaves it in the store", async (stage) => {
    const { gate, suspect, worker } = await busyWorkerMeetsSuspect(stage);

    const stopping = worker.stop({ graceMs: 60_000 });
    await stage.pass(1_000);
    gate.open();
    await stage.reach(stopping, "the worker to stop");

    assert.equal((await stage.job(suspect.id)).state, "pending");
  });

  test("a job that crashed says what was last heard of it", async (stage) => {
    const type = aType({ maxCrashes: 2 });
    const { job } = await stage.queue.enqueue(type, { n: 1 });
    await crash(stage, { times: 1, jobs: 1 });
    await stage.store.heartbeat(aBeat({ workerId: "doomed", leaseMs }));
    const { jobs } = await stage.store.claim(aClaim({ workerId: "doomed" }));
    const line = { at: stage.clock.now(), level: "info", message: "page 41: opening the image" } as const;
    const { id, epoch } = jobs[0]!;
    await stage.store.annotate([{ hold: { id, epoch }, progress: { done: 40, total: 90 }, lines: [line] }]);

    await stage.work([handle(type, () => "done")]);
    const ended = await stage.failed(job);

    assert.equal(ended.reason, "crashed");
    assert.match(ended.error.message, /Last progress: 40 of 90\. Last log line, \S+Z: page 41: opening the image$/);
  });
}

const suspicious = aType({ maxCrashes: 100 });

/** A handler that notes, by number of the job, which others ran at the same time. */
/** @param ms How long each job runs. */
function watched(stage: Stage, ms = 100) {
  const running = new Set<number>();
  const company = new Map<number, number[]>();
  const processor = handle(suspicious, async (job) => {
    const { n } = job.payload;
    company.set(n, [...running]);
    for (const other of running) company.get(other)!.push(n);
    running.add(n);
    await new Promise<void>((resolve) => void stage.clock.setTimer(ms, resolve));
    running.delete(n);
  });
  return { processor, company };
}

/** A worker in which a job runs until the gate opens, and which has found a suspect since; `ran` are the jobs after that. */
async function busyWorkerMeetsSuspect(stage: Stage) {
  const gate = new Gate();
  const long = aType({ type: "long", timeoutMs: 3_600_000 });
  const ran: number[] = [];
  const { job: suspect } = await stage.queue.enqueue(suspicious, { n: 0 });
  await crash(stage, { times, jobs: 1 });
  const started = stage.next("job.started");
  const released = stage.next("job.released");
  await stage.queue.enqueue(long, { n: 1 });
  const worker = await stage.work([
    handle(long, () => gate.opened),
    handle(suspicious, (job) => void ran.push(job.payload.n)),
  ]);
  await stage.soon(Promise.all([started, released]), "the worker to give the suspect back");
  return { gate, suspect, ran, worker };
}

function tasks(count: number): Task[] {
  return Array.from({ length: count }, (_, index) => ({ n: index + 1 }));
}
