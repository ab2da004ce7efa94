/**
 * Hands pending jobs to a worker: one statement for all types, which skips what others are claiming at the same moment.
 */
import type { ClaimAnswer, ClaimedType, ClaimRequest } from "../../store.js";
import { agedAfterMs } from "../../aging.js";
import { Cursor, type Span } from "./cursor.js";
import type { Database } from "./database.js";
import { Effects } from "./effects.js";
import type { Landing } from "./effects.js";
import { claimGated, selectAged } from "./gated.js";
import { toClaimed } from "./rows.js";
import type { ClaimedRow } from "./rows.js";

interface Claims {
  readonly now: number | string;
  /** JSON: `[claimed job, rank, whether it has a unique key, the key whose next job must be woken]`, in turn. */
  readonly jobs: string | null;
  /** JSON: by type, when its next job is due. */
  readonly due: string | null;
  readonly cancels: string | null;
  readonly limited: readonly string[] | null;
  readonly gated: readonly string[] | null;
}

export type StartedRow = readonly [job: ClaimedRow, rank: number, isKeyed: boolean, keyToPass: string | null];

interface Started {
  readonly now: number;
  readonly rows: readonly StartedRow[];
  readonly due: Readonly<Record<string, number>>;
  readonly cancels: ClaimAnswer["cancels"];
  readonly limited: readonly string[];
  /** Types of which each job must be asked for; none was handed out. */
  readonly gated: readonly string[];
}

/** What a claim got of some of its types. */
interface Part {
  readonly now: number;
  readonly rows: readonly StartedRow[];
  /** Infinity: nobody knows of anything. */
  readonly nextAt: number;
  /** Null where nobody asked. */
  readonly cancels: ClaimAnswer["cancels"] | null;
  readonly limited: readonly string[];
  /** Types that were not known to be gated; of the whole part nothing was handed out. */
  readonly gated: readonly string[];
  readonly effects: readonly Effects[];
}

function merged(parts: readonly Part[]): Part {
  return {
    now: parts.at(-1)!.now,
    rows: parts.flatMap(({ rows }) => rows),
    nextAt: Math.min(...parts.map(({ nextAt }) => nextAt)),
    cancels: parts.find(({ cancels }) => cancels !== null)?.cancels ?? null,
    limited: parts.flatMap(({ limited }) => limited),
    gated: [],
    effects: parts.flatMap(({ effects }) => effects),
  };
}

/** A look costs as much as there are dead entries; it may take this part of the time. */
const lookShare = 20;
const lookEveryMs = 1_000;
/** A look that is over so soon met nothing in its way: where nobody waits, claims may as well begin at the head again. */
const cheapLookMs = 5;
const handedOutLimit = 20_000;

export class Claiming {
  readonly #database: Database;
  /** By type and the highest version that is claimed: a worker that leaves newer jobs alone must not lead others past them. */
  readonly #cursors = new Map<string, Map<number, Cursor>>();
  /** By type: no job is due before this instant, as far as this process knows. */
  readonly #nextDue = new Map<string, number>();
  /** Types that an operator has given rates or a concurrency per key. It may have been taken back: then they only cost more. */
  readonly #gated = new Set<string>();
  /** The server's time minus this process's steady clock. */
  #offset = 0;
  #nextLookAt = 0;
  #looking: Promise<boolean> | null = null;
  /** Jobs handed out without a unique key: bounded, as others may settle them. */
  readonly #unkeyed = new Set<string>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** @returns Besides the answer: keys that were given back by being claimed, with a job waiting behind; and what to tell others. */
  async claim(request: ClaimRequest): Promise<{
    readonly answer: ClaimAnswer;
    readonly keysToPass: readonly string[];
    readonly effects: readonly Effects[];
  }> {
    // Due jobs first, or they would come after pending ones of a lower priority.
    if (this.#isSomethingDue(request)) await this.#promote(request);
    const parts: Part[] = [];
    let left = request.limit;
    const asked = [...this.#inParts(request.types)];
    for (let types = asked.shift(); types !== undefined; types = asked.shift()) {
      const part = await this.#claimPart({ ...request, limit: left, types });
      left -= part.rows.length;
      parts.push(part);
      // Somebody has set a rate of a type that had none: from now on it is asked for in another way.
      for (const type of part.gated) this.#gated.add(type);
      if (part.gated.length > 0) asked.unshift(...this.#inParts(types).filter((each) => each.length > 0));
    }
    const { now, rows, nextAt, cancels, limited, effects } = merged(parts);
    const turnOf = new Map(request.types.map(({ type }, turn) => [type, turn]));
    return {
      answer: {
        jobs: rows.map(([job]) => toClaimed(job)).sort((a, b) => turnOf.get(a.type)! - turnOf.get(b.type)!),
        nextDueInMs: nextAt === Infinity ? null : Math.max(0, nextAt - now),
        cancels: cancels ?? [],
        limited: request.types.map(({ type }) => type).filter((type) => limited.includes(type)),
      },
      keysToPass: rows.flatMap(([, , , key]) => key ?? []),
      effects,
    };
  }

  /** Types are served in their order: those that one statement can claim of together, and each gated one by itself. */
  #inParts(types: readonly ClaimedType[]): readonly (readonly ClaimedType[])[] {
    const parts: ClaimedType[][] = [];
    for (const wanted of types) {
      const last = parts.at(-1);
      if (last === undefined || this.#isGated(wanted) || this.#isGated(last[0]!)) parts.push([wanted]);
      else last.push(wanted);
    }
    // One that asks for cancellations, whatever else there is.
    return parts.some(([first]) => !this.#isGated(first!)) ? parts : [...parts, []];
  }

  #isGated({ type, controls, company }: ClaimedType): boolean {
    return controls !== null || company !== null || this.#gated.has(type);
  }

  async #claimPart(request: ClaimRequest): Promise<Part> {
    const [first] = request.types;
    if (first !== undefined && this.#isGated(first)) return this.#claimGated(request, first);
    const started: Started[] = await this.#startAged(request);
    started.push(await this.#start(withoutThose(request, started)));
    const claimed = () => started.reduce((sum, { rows }) => sum + rows.length, 0);
    for (const more of [
      () => this.#promoteIfDue(request, started.at(-1)!),
      () => this.#lookIfDue(request, claimed()),
    ]) {
      if (await more()) started.push(await this.#start(withoutThose(request, started)));
    }
    const { now, due, cancels, limited, gated } = started.at(-1)!;
    return {
      now,
      rows: started.flatMap((each) => each.rows),
      nextAt: Math.min(...Object.values(due)),
      cancels,
      limited,
      gated,
      effects: [],
    };
  }

  async #claimGated({ workerId, limit }: ClaimRequest, wanted: ClaimedType): Promise<Part> {
    const effects = new Effects();
    const most = Math.min(limit, wanted.limit);
    const { now, rows, nextAt, isLimited } = await this.#database.transaction((sql) => {
      effects.clear();
      return claimGated(sql, wanted, { workerId, limit: most, effects });
    });
    this.#offset = now - performance.now();
    this.#nextDue.set(wanted.type, nextAt ?? Infinity);
    return {
      now,
      rows,
      nextAt: nextAt ?? Infinity,
      cancels: null,
      limited: isLimited ? [wanted.type] : [],
      gated: [],
      effects: [effects],
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
      this.#land(type, -priority, Math.floor(rank * 1_000));
    }
    for (const [type, at] of due) this.#nextDue.set(type, Math.min(at, this.#nextDue.get(type) ?? -Infinity));
  }

  /** Whether a job that this process claimed is known to have no unique key. A key, once given, stays with its job. */
  readonly isUnkeyed = (id: string): boolean => this.#unkeyed.has(id);

  forget(ids: readonly string[]): void {
    for (const id of ids) this.#unkeyed.delete(id);
  }

  /** Of types that ask for it, jobs of the lowest priority that have waited for long, before all others. */
  async #startAged(request: ClaimRequest): Promise<Started[]> {
    const types = request.types.filter(({ aged }) => aged > 0);
    if (types.length === 0 || request.limit === 0) return [];
    const agedBefore = Math.floor((this.#database.dialect.now ?? this.#offset + performance.now()) - agedAfterMs);
    const places = await this.#database.rows<{ type: string; urgency: number }>(selectAged, [
      types.map(({ type }) => type),
      types.map(({ maxVersion }) => maxVersion),
      agedBefore,
    ]);
    if (places.length === 0) return [];
    const urgencies = new Map(places.map(({ type, urgency }) => [type, urgency]));
    const wanted = types
      .filter(({ type }) => urgencies.has(type))
      .map((each) => ({ ...each, limit: Math.min(each.limit, each.aged) }));
    const spanOf = ({ type }: ClaimedType) => {
      const urgency = urgencies.get(type)!;
      return [{ fromUrgency: urgency, fromRank: 0, toUrgency: urgency }];
    };
    return [await this.#start({ ...request, types: wanted }, spanOf)];
  }

  // ── the statement ─────────────────────────────────────────────────────────

  async #start(
    { workerId, limit, types }: ClaimRequest,
    spansOf: (wanted: ClaimedType) => readonly Span[] = (wanted) => this.#cursor(wanted).spans(),
  ): Promise<Started> {
    const spans = types.flatMap((wanted, index) => spansOf(wanted).map((span) => ({ ...span, type: index + 1 })));
    const [row] = await this.#database.rows<Claims>(claimReady, [
      workerId,
      types.map(({ type }) => type),
      types.map((each) => Math.min(each.limit, limit)),
      types.map(({ maxVersion }) => maxVersion),
      types.some(({ concurrency }) => concurrency !== null) ? types.map(({ concurrency }) => concurrency) : null,
      spans.map(({ type }) => type),
      spans.map(({ fromUrgency }) => fromUrgency),
      spans.map(({ fromRank }) => fromRank),
      spans.map(({ toUrgency }) => toUrgency),
      limit,
    ]);
    const { now, jobs, due, cancels, limited, gated } = row!;
    const started: Started = {
      now: Number(now),
      rows: JSON.parse(jobs ?? "[]") as StartedRow[],
      due: JSON.parse(due ?? "{}") as Record<string, number>,
      cancels: JSON.parse(cancels ?? "[]") as ClaimAnswer["cancels"],
      limited: limited ?? [],
      gated: gated ?? [],
    };
    this.#note(started, types);
    return started;
  }

  #note({ now, rows, due }: Started, types: ClaimRequest["types"]): void {
    this.#offset = now - performance.now();
    const cursors = new Map(types.map((wanted) => [wanted.type, this.#cursor(wanted)]));
    for (const { type } of types) this.#nextDue.set(type, due[type] ?? Infinity);
    for (let at = 0; at < rows.length;) {
      const [job, rank] = rows[at]!;
      const { type, priority } = toClaimed(job);
      let end = at + 1;
      while (end < rows.length && rows[end]![0][2] === type && rows[end]![0][4] === priority) end += 1;
      cursors.get(type)!.claimed(-priority, rank, end - at);
      at = end;
    }
    for (const [job, , isKeyed] of rows) if (!isKeyed) this.#unkeyed.add(job[0]);
    for (const id of this.#unkeyed) {
      if (this.#unkeyed.size <= handedOutLimit) break;
      this.#unkeyed.delete(id);
    }
  }

  #cursor({ type, maxVersion }: Pick<ClaimedType, "type" | "maxVersion">): Cursor {
    let cursors = this.#cursors.get(type);
    if (cursors === undefined) this.#cursors.set(type, (cursors = new Map<number, Cursor>()));
    let cursor = cursors.get(maxVersion);
    if (cursor === undefined) cursors.set(maxVersion, (cursor = new Cursor()));
    return cursor;
  }

  #land(type: string, urgency: number, rank: number): void {
    for (const cursor of this.#cursors.get(type)?.values() ?? []) cursor.land(urgency, rank);
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
    for (const { type, priority, rank } of rows) this.#land(type, -priority, Number(rank));
    return rows.length > 0;
  }

  // ── jobs before the cursor ────────────────────────────────────────────────

  /** Waited for where there is nothing better to do, in the background where there is. */
  async #lookIfDue({ limit, types }: ClaimRequest, claimed: number): Promise<boolean> {
    if (limit === 0 || types.length === 0) return false;
    if (this.#looking === null && performance.now() >= this.#nextLookAt) {
      this.#looking = this.#look(types, claimed === 0).finally(() => (this.#looking = null));
      this.#looking.catch(() => undefined);
    }
    return claimed === 0 && this.#looking !== null ? this.#looking : false;
  }

  async #look(types: readonly ClaimedType[], isIdle: boolean): Promise<boolean> {
    const places = types.flatMap((wanted) =>
      this.#cursor(wanted)
        .places()
        .map((place) => ({ type: wanted.type, maxVersion: wanted.maxVersion, ...place })),
    );
    const startedAt = performance.now();
    const found =
      places.length === 0
        ? []
        : await this.#database.rows<{ type: string; urgency: number; rank: number | string }>(lookBefore, [
            places.map(({ type }) => type),
            places.map(({ urgency }) => urgency),
            places.map(({ rank }) => rank),
            places.map(({ maxVersion }) => maxVersion),
          ]);
    const tookMs = performance.now() - startedAt;
    this.#nextLookAt = performance.now() + Math.max(lookEveryMs, tookMs * lookShare);
    for (const { type, urgency, rank } of found) this.#land(type, urgency, Number(rank));
    if (isIdle && found.length === 0 && tookMs < cheapLookMs) for (const wanted of types) this.#cursor(wanted).clear();
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

const claimReady = `
  select out_now as now, out_jobs as jobs, out_due as due, out_cancels as cancels, out_limited as limited, out_gated as gated
  from sluice.claim_2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, :own_now)`;

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
    set state = 'pending',
      rank = case when job.controls is null or job.controls::json ->> 'group' is null then job.run_at * 1000 else job.rank end
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
  from unnest($1::text[], $2::int[], $3::bigint[], $4::int[]) as place (type, urgency, rank, max_version)
  cross join lateral (
    select job.rank
    from sluice.jobs as job
    where job.state = 'pending'
      and job.type = place.type
      and -job.priority = place.urgency
      and job.rank < place.rank
      and job.version <= place.max_version
    order by job.rank
    limit 1
  ) as first`;
