/**
 * The limit of the end-to-end scenario on PostgreSQL: two processes that insert, notify, claim and complete with one statement each,
 * and nothing of what a job engine has to know. The shape of ../shared/ceiling, which has no second process. Forks itself.
 */
import { fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { atRate, preciseNow, quantiles, warmUpSeconds } from "./measure.js";

const file = fileURLToPath(import.meta.url);
if (process.argv[1] === file) await work(process.argv[2]!);

export async function rawEndToEnd(
  url: string,
  { perSecond, seconds }: { perSecond: number; seconds: number },
): Promise<{ p50: number; p95: number; p99: number; jobs: number }> {
  const pool = new pg.Pool({ connectionString: url, max: 3 });
  await pool.query(`
    drop schema if exists raw_bench cascade;
    create schema raw_bench;
    create table raw_bench.jobs (id uuid primary key, state smallint not null default 1, rank bigint not null, epoch int not null default 0,
      payload text not null, claimed_at timestamptz) with (fillfactor = 85);
    create index ready on raw_bench.jobs (rank) where state = 1;
    create table raw_bench.history (id uuid primary key, payload text not null, claimed_at timestamptz)`);
  const child = fork(file, [url]);
  await once(child, "message");
  let rank = 0;
  const notify = gathered(async () => void (await pool.query(notifyOne)));
  const insert = gathered(async (payloads: readonly string[]) => {
    const values = [payloads.map(() => randomUUID()), payloads.map(() => rank++), payloads];
    await pool.query({ name: "insert", text: insertMany, values });
    void notify("");
  });
  const text = "x".repeat(150);
  await atRate(perSecond, perSecond * (seconds + warmUpSeconds), () =>
    insert(JSON.stringify({ sentAt: preciseNow(), text })),
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  const answer = once(child, "message");
  child.send("stop");
  const [latencies] = (await answer) as [number[]];
  await once(child, "exit");
  await pool.query("drop schema raw_bench cascade");
  await pool.end();
  return { ...quantiles(latencies.slice(perSecond * warmUpSeconds)), jobs: perSecond * seconds };
}

async function work(url: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 3 });
  const listener = new pg.Client(url);
  await listener.connect();
  await listener.query("listen raw_bench");
  const latencies: number[] = [];
  let after = -1;
  const complete = gathered(async (jobs: readonly { id: string; epoch: number }[]) => {
    const values = [jobs.map(({ id }) => id), jobs.map(({ epoch }) => epoch)];
    await pool.query({ name: "complete", text: completeMany, values });
  });
  const claim = gathered(async () => {
    const { rows } = await pool.query<{ id: string; epoch: number; rank: string; payload: string }>(claimMany, [after]);
    for (const job of rows) {
      latencies.push(preciseNow() - (JSON.parse(job.payload) as { sentAt: number }).sentAt);
      // As far behind as commits may overtake each other.
      after = Math.max(after, Number(job.rank) - 256);
      void complete(job);
    }
  });
  listener.on("notification", () => void claim(""));
  process.on("message", () => process.send!(latencies, () => process.exit(0)));
  process.send!("ready");
}

/** One flush at a time, for everybody who waits when it begins. */
function gathered<Item>(flush: (items: readonly Item[]) => Promise<void>): (item: Item) => Promise<void> {
  let waiting: { item: Item; resolve: () => void }[] = [];
  let isBusy = false;
  const pump = async () => {
    if (isBusy) return;
    isBusy = true;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      await flush(batch.map(({ item }) => item));
      for (const { resolve } of batch) resolve();
    }
    isBusy = false;
  };
  return (item) =>
    new Promise((resolve) => {
      waiting.push({ item, resolve });
      setImmediate(() => void pump());
    });
}

const insertMany = `
  insert into raw_bench.jobs (id, rank, payload)
  select * from unnest($1::uuid[], $2::bigint[], $3::text[])`;
const notifyOne = `
  select pg_notify('raw_bench', '')
  from (select set_config('synchronous_commit', 'off', true) offset 0) as setting`;
const claimMany = `
  with picked as materialized (
    select id from raw_bench.jobs where state = 1 and rank >= $1 order by rank limit 100 for update skip locked
  )
  update raw_bench.jobs as job
  set state = 2, epoch = epoch + 1, claimed_at = now()
  from picked
  where job.id = picked.id
  returning job.id, job.epoch, job.rank, job.payload`;
const completeMany = `
  with gone as (
    delete from raw_bench.jobs as job
    using unnest($1::uuid[], $2::int[]) as sent (id, epoch)
    where job.id = sent.id and job.epoch = sent.epoch
    returning job.id, job.payload, job.claimed_at
  )
  insert into raw_bench.history select * from gone`;
