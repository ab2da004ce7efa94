/**
 * Hands pending jobs to a worker: one statement for all types, which skips what others are claiming at the same moment.
 */
import type { ClaimAnswer, ClaimRequest } from "../../store.js";
import { Cursor } from "./cursor.js";
import type { Database } from "./database.js";
import type { Landing } from "./effects.js";
import { claimedColumns, toClaimed } from "./rows.js";
import type { ClaimedRow } from "./rows.js";

interface Claims {
  readonly now: number | string;
  /** JSON: `[claimed job, rank, whether it has a unique key, the key whose next job must be woken]`, in turn. */
  readonly jobs: string | null;
  /** JSON: by type, when its next job is due. */
  readonly due: string | null;
  readonly cancels: string | null;
}

type StartedRow = readonly [job: ClaimedRow, rank: number, isKeyed: boolean, keyToPass: string | null];

interface Started {
  readonly now: number;
  readonly rows: readonly StartedRow[];
  readonly due: Readonly<Record<string, number>>;
  readonly cancels: ClaimAnswer["cancels"];
}

/** A look costs as much as there are dead entries; it may take this part of the time. */
const lookShare = 20;
const lookEveryMs = 1_000;
/** A look that is over so soon met nothing in its way: where nobody waits, claims may as well begin at the head again. */
const cheapLookMs = 5;
const handedOutLimit = 20_000;

export class Claiming {
  readonly #database: Database;
  readonly #cursors = new Map<string, Cursor>();
  /** By type: no job is due before this instant, as far as this process knows. */
  readonly #nextDue = new Map<string, number>();
  /** The server's time minus this process's steady clock. */
  #offset = 0;
  #nextLookAt = 0;
  #looking: Promise<boolean> | null = null;
  /** Jobs handed out without a unique key: bounded, as others may settle them. */
  readonly #unkeyed = new Set<string>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** @returns Besides the answer: keys that were given back by being claimed, with a job waiting behind. */
  async claim(
    request: ClaimRequest,
  ): Promise<{ readonly answer: ClaimAnswer; readonly keysToPass: readonly string[] }> {
    // Due jobs first, or they would come after pending ones of a lower priority.
    if (this.#isSomethingDue(request)) await this.#promote(request);
    const started = [await this.#start(request)];
    const claimed = () => started.reduce((sum, { rows }) => sum + rows.length, 0);
    for (const more of [
      () => this.#promoteIfDue(request, started.at(-1)!),
      () => this.#lookIfDue(request, claimed()),
    ]) {
      if (await more()) started.push(await this.#start(withoutThose(request, started)));
    }

    const rows = started.flatMap((each) => each.rows);
    const { now, due, cancels } = started.at(-1)!;
    const nextDue = Math.min(...Object.values(due));
    return {
      answer: {
        jobs: rows.map(([job]) => toClaimed(job)),
        nextDueInMs: nextDue === Infinity ? null : Math.max(0, nextDue - now),
        cancels,
      },
      keysToPass: rows.flatMap(([, , , key]) => key ?? []),
    };
  }

  /** For jobs that may have landed before the cursor, or become due earlier than the next one known. */
  expect({
    landings,
    due,
  }: {
    readonly landings: readonly Landing[];
    readonly due: ReadonlyMap<string, number>;
  }): void {
    for (const { type, priority, rank } of landings) {
      this.#cursors.get(type)?.land(-priority, Math.floor(rank * 1_000));
    }
    for (const [type, at] of due) this.#nextDue.set(type, Math.min(at, this.#nextDue.get(type) ?? -Infinity));
  }

  /** Whether a job that this process claimed is known to have no unique key. A key, once given, stays with its job. */
  readonly isUnkeyed = (id: string): boolean => this.#unkeyed.has(id);

  forget(ids: readonly string[]): void {
    for (const id of ids) this.#unkeyed.delete(id);
  }

  // ── the statement ─────────────────────────────────────────────────────────

  async #start({ workerId, limit, types }: ClaimRequest): Promise<Started> {
    const spans = types.flatMap(({ type }, index) =>
      this.#cursor(type)
        .spans()
        .map((span) => ({ ...span, type: index + 1 })),
    );
    const [row] = await this.#database.rows<Claims>(claimReady, [
      workerId,
      types.map(({ type }) => type),
      types.map((each) => Math.min(each.limit, limit)),
      types.map(({ maxVersion }) => maxVersion),
      spans.map(({ type }) => type),
      spans.map(({ fromUrgency }) => fromUrgency),
      spans.map(({ fromRank }) => fromRank),
      spans.map(({ toUrgency }) => toUrgency),
      limit,
    ]);
    const { now, jobs, due, cancels } = row!;
    const started: Started = {
      now: Number(now),
      rows: JSON.parse(jobs ?? "[]") as StartedRow[],
      due: JSON.parse(due ?? "{}") as Record<string, number>,
      cancels: JSON.parse(cancels ?? "[]") as ClaimAnswer["cancels"],
    };
    this.#note(started, types);
    return started;
  }

  #note({ now, rows, due }: Started, types: ClaimRequest["types"]): void {
    this.#offset = now - performance.now();
    for (const { type } of types) this.#nextDue.set(type, due[type] ?? Infinity);
    for (let at = 0; at < rows.length;) {
      const [job, rank] = rows[at]!;
      const { type, priority } = toClaimed(job);
      let end = at + 1;
      while (end < rows.length && rows[end]![0][2] === type && rows[end]![0][4] === priority) end += 1;
      this.#cursor(type).claimed(-priority, rank, end - at);
      at = end;
    }
    for (const [job, , isKeyed] of rows) if (!isKeyed) this.#unkeyed.add(job[0]);
    for (const id of this.#unkeyed) {
      if (this.#unkeyed.size <= handedOutLimit) break;
      this.#unkeyed.delete(id);
    }
  }

  #cursor(type: string): Cursor {
    let cursor = this.#cursors.get(type);
    if (cursor === undefined) this.#cursors.set(type, (cursor = new Cursor()));
    return cursor;
  }

  // ── jobs whose time has come ──────────────────────────────────────────────

  #isSomethingDue({ types }: ClaimRequest): boolean {
    const now = this.#database.dialect.now ?? this.#offset + performance.now();
    return types.some(({ type }) => (this.#nextDue.get(type) ?? -Infinity) <= now);
  }

  async #promoteIfDue(request: ClaimRequest, { now, due }: Started): Promise<boolean> {
    if (!Object.values(due).some((at) => at <= now)) return false;
    return this.#promote(request);
  }

  /** Scheduled and retrying jobs whose time has come become pending, in the place that their due time gives them. */
  async #promote({ types }: ClaimRequest): Promise<boolean> {
    const rows = await this.#database.rows<{ type: string; priority: number; rank: number | string }>(promoteDue, [
      types.map(({ type }) => type),
    ]);
    for (const { type, priority, rank } of rows) this.#cursor(type).land(-priority, Number(rank));
    return rows.length > 0;
  }

  // ── jobs before the cursor ────────────────────────────────────────────────

  /** Waited for where there is nothing better to do, in the background where there is. */
  async #lookIfDue({ limit, types }: ClaimRequest, claimed: number): Promise<boolean> {
    if (limit === 0 || types.length === 0) return false;
    if (this.#looking === null && performance.now() >= this.#nextLookAt) {
      this.#looking = this.#look(
        types.map(({ type }) => type),
        claimed === 0,
      ).finally(() => (this.#looking = null));
      this.#looking.catch(() => undefined);
    }
    return claimed === 0 && this.#looking !== null ? this.#looking : false;
  }

  async #look(types: readonly string[], isIdle: boolean): Promise<boolean> {
    const places = types.flatMap((type) =>
      this.#cursor(type)
        .places()
        .map((place) => ({ type, ...place })),
    );
    const startedAt = performance.now();
    const found =
      places.length === 0
        ? []
        : await this.#database.rows<{ type: string; urgency: number; rank: number | string }>(lookBefore, [
            places.map(({ type }) => type),
            places.map(({ urgency }) => urgency),
            places.map(({ rank }) => rank),
          ]);
    const tookMs = performance.now() - startedAt;
    this.#nextLookAt = performance.now() + Math.max(lookEveryMs, tookMs * lookShare);
    for (const { type, urgency, rank } of found) this.#cursor(type).land(urgency, Number(rank));
    if (isIdle && found.length === 0 && tookMs < cheapLookMs) for (const type of types) this.#cursor(type).clear();
    return found.length > 0;
  }
}

/** What is left to ask for after the first answers. */
function withoutThose(request: ClaimRequest, started: readonly Started[]): ClaimRequest {
  const taken = new Map<string, number>();
  for (const { rows } of started) for (const [job] of rows) taken.set(job[2], (taken.get(job[2]) ?? 0) + 1);
  const total = [...taken.values()].reduce((sum, jobs) => sum + jobs, 0);
  return {
    ...request,
    limit: request.limit - total,
    types: request.types.map((each) => ({ ...each, limit: each.limit - (taken.get(each.type) ?? 0) })),
  };
}

// jobs_ready, read in its order from each span's place on; then primary key. Workers and jobs_cancel by worker; jobs_due by type.
const claimReady = `
  with picked as materialized (
    select candidate.id, wanted.turn
    from unnest($2::text[], $3::int[], $4::int[]) with ordinality as wanted (type, jobs, max_version, turn)
    cross join lateral (
      select job.id
      from unnest($5::int[], $6::int[], $7::bigint[], $8::int[]) as span (type, from_urgency, from_rank, to_urgency)
      cross join lateral (
        select ready.id
        from sluice.jobs as ready
        where ready.state = 'pending'
          and ready.type = wanted.type
          and (-ready.priority, ready.rank) >= (span.from_urgency, span.from_rank)
          and -ready.priority <= span.to_urgency
          and ready.version <= wanted.max_version
        order by -ready.priority, ready.rank, ready.id
        limit wanted.jobs
        for no key update skip locked
      ) as job
      where span.type = wanted.turn
      limit wanted.jobs
    ) as candidate
    where not exists (select 1 from sluice.workers where workers.id = $1 and workers.is_lost)
    limit $9
  ),
  started as (
    update sluice.jobs as job
    set state = 'processing', epoch = job.epoch + 1, attempt = job.attempt + 1, worker_id = $1, started_at = :now
    from picked
    where job.id = picked.id
    returning job.*, picked.turn
  ),
  counted as (
    insert into sluice.deltas (type, state, n)
    select started.type, change.state::sluice.job_state, change.sign * count(*)
    from started
    cross join (values ('pending', -1), ('processing', 1)) as change (state, sign)
    group by started.type, change.state, change.sign
  )
  select :now as now,
    (
      select json_agg(json_build_array(${claimedColumns}, job.rank, job.unique_key is not null,
        case
          when job.unique_while = 'pending' and exists (select 1 from sluice.keys where key = '>' || job.unique_key)
          then job.unique_key
        end) order by job.turn, -job.priority, job.rank, job.id)::text
      from started as job
    ) as jobs,
    (
      select json_object_agg(wanted.type, next.run_at)::text
      from unnest($2::text[]) as wanted (type)
      cross join lateral (
        select timed.run_at
        from sluice.jobs as timed
        where timed.type = wanted.type
          and timed.state in ('scheduled', 'retrying')
        order by timed.run_at
        limit 1
      ) as next
    ) as due,
    (
      select json_agg(json_build_object('id', asked.id, 'epoch', asked.epoch) order by asked.started_at, asked.id)::text
      from sluice.jobs as asked
      where asked.worker_id = $1
        and asked.state = 'processing'
        and asked.is_cancel_requested
    ) as cancels`;

// jobs_due, read in its order; then primary key. A bounded number at a time: a storm of jobs due in one second must not hold up others.
const promoteDue = `
  with due as materialized (
    select timed.id, timed.state
    from unnest($1::text[]) as wanted (type)
    cross join lateral (
      select job.id, job.state
      from sluice.jobs as job
      where job.type = wanted.type
        and job.state in ('scheduled', 'retrying')
        and job.run_at <= :now
      order by job.run_at
      limit 1000
      for no key update skip locked
    ) as timed
  ),
  ready as (
    update sluice.jobs as job
    set state = 'pending', rank = job.run_at * 1000
    from due
    where job.id = due.id
    returning job.type, job.priority, job.rank, due.state as left_state
  ),
  counted as (
    insert into sluice.deltas (type, state, n)
    select type, left_state, -count(*) from ready group by type, left_state
    union all
    select type, 'pending', count(*) from ready group by type
  )
  select type, priority, min(rank) as rank
  from ready
  group by type, priority`;

// jobs_ready, from the head to the first job that is really there.
const lookBefore = `
  select place.type, place.urgency, first.rank
  from unnest($1::text[], $2::int[], $3::bigint[]) as place (type, urgency, rank)
  cross join lateral (
    select job.rank
    from sluice.jobs as job
    where job.state = 'pending'
      and job.type = place.type
      and -job.priority = place.urgency
      and job.rank < place.rank
    order by job.rank
    limit 1
  ) as first`;
