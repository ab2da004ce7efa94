/**
 * What is known of the types of jobs that are about to be added: what their limits leave room for, and whose turn it is between
 * their groups. Locked by type, so that two who add at once do not both take the last place; types without either lock nothing.
 */
import type { Turns } from "../../fairness.js";
import { intakeOf, rateNames } from "../../intake.js";
import type { Intake } from "../../intake.js";
import { defaultSettings, parseSettings } from "../../settings.js";
import type { TypeSettings } from "../../settings.js";
import type { NewJob } from "../../store.js";
import { keepSpent, spentOf } from "./rates.js";
import type { Sql } from "./sql.js";

export class Arrivals {
  readonly #sql: Sql;
  /** By type, where operators have set what it takes in. */
  readonly #settings = new Map<string, TypeSettings>();
  /** By type: how many of its jobs wait. Types that take in everything are not in it. */
  readonly #waiting = new Map<string, number>();
  readonly #turns = new Map<string, Turns & { readonly type: string; readonly priority: number }>();
  readonly #spent = new Map<string, number>();
  #spentBefore: ReadonlyMap<string, number> = new Map();

  private constructor(sql: Sql) {
    this.#sql = sql;
  }

  static async open(sql: Sql, jobs: readonly NewJob[]): Promise<Arrivals> {
    const arrivals = new Arrivals(sql);
    await arrivals.#load(jobs);
    return arrivals;
  }

  intakeOf(job: NewJob): Intake | null {
    const intake = intakeOf(this.#settings.get(job.type) ?? defaultSettings(job.type), job);
    return intake === null ? null : { ...intake, backlog: this.#waiting.get(job.type) ?? 0, spent: this.#spent };
  }

  /** A job of the type has been added. */
  added(type: string): void {
    const waiting = this.#waiting.get(type);
    if (waiting !== undefined) this.#waiting.set(type, waiting + 1);
  }

  turnsOf(type: string, priority: number): Turns {
    return this.#turns.get(nameOf(type, priority))!;
  }

  async #load(jobs: readonly NewJob[]): Promise<void> {
    const grouped = jobs.filter(({ controls }) => controls !== null && controls.group !== null);
    const limited = await this.#limited(jobs);
    const types = new Set([...grouped, ...limited].map(({ type }) => type));
    for (const type of [...types].sort()) await this.#sql.rows(lockArrivals, [type]);
    if (limited.length > 0) await this.#loadIntakes(limited);
    if (grouped.length > 0) await this.#loadTurns(grouped);
  }

  /** Those whose types do not take in everything. */
  async #limited(jobs: readonly NewJob[]): Promise<readonly NewJob[]> {
    const types = [...new Set(jobs.map(({ type }) => type))];
    const rows = await this.#sql.rows<{ type: string; settings: string }>(selectIntakeSettings, [types]);
    for (const { type, settings } of rows) this.#settings.set(type, parseSettings(type, settings));
    return jobs.filter((job) => this.intakeOf(job) !== null);
  }

  async #loadIntakes(jobs: readonly NewJob[]): Promise<void> {
    for (const { type } of jobs) this.#waiting.set(type, 0);
    const rows = await this.#sql.rows<{ type: string; waiting: number | string }>(sumWaiting, [
      [...this.#waiting.keys()],
    ]);
    for (const { type, waiting } of rows) this.#waiting.set(type, Number(waiting));
    const names = jobs.flatMap((job) => Object.values(rateNames(job)).filter((name) => name !== null));
    this.#spentBefore = await spentOf(this.#sql, [...new Set(names)]);
    for (const [name, until] of this.#spentBefore) this.#spent.set(name, until);
  }

  async #loadTurns(jobs: readonly NewJob[]): Promise<void> {
    const queues = new Map(jobs.map(({ type, priority }) => [nameOf(type, priority), { type, priority }]));
    const groups = new Map(
      jobs.map(({ type, priority, controls }) => [
        `${nameOf(type, priority)} ${controls!.group}`,
        { type, priority, group: controls!.group! },
      ]),
    );
    const heads = await this.#sql.rows<{ type: string; priority: number; head: number | string | null }>(selectHeads, [
      [...queues.values()].map(({ type }) => type),
      [...queues.values()].map(({ priority }) => priority),
    ]);
    for (const { type, priority, head } of heads) {
      this.#turns.set(nameOf(type, priority), {
        type,
        priority,
        head: head === null ? null : Number(head) / 1_000,
        last: null,
        tails: new Map(),
      });
    }
    const wanted = [...groups.values(), ...[...queues.values()].map((queue) => ({ ...queue, group: "" }))];
    const places = await this.#sql.rows<PlaceRow>(selectPlaces, [
      wanted.map(({ type }) => type),
      wanted.map(({ priority }) => priority),
      wanted.map(({ group }) => group),
    ]);
    for (const { type, priority, group_name: group, place } of places) {
      const turns = this.#turns.get(nameOf(type, priority))!;
      if (group === "") turns.last = Number(place) / 1_000;
      else turns.tails.set(group, Number(place) / 1_000);
    }
  }

  /** Writes down what was spent and which places were given. */
  async close(): Promise<void> {
    await keepSpent(this.#sql, this.#spent, this.#spentBefore);
    const places = [...this.#turns.values()].flatMap(({ type, priority, last, tails }) =>
      [...tails, ...(last === null ? [] : [["", last] as const])].map(([group, place]) => ({
        type,
        priority,
        group,
        place: Math.round(place * 1_000),
      })),
    );
    if (places.length === 0) return;
    await this.#sql.rows(keepPlaces, [
      places.map(({ type }) => type),
      places.map(({ priority }) => priority),
      places.map(({ group }) => group),
      places.map(({ place }) => place),
    ]);
  }
}

interface PlaceRow {
  readonly type: string;
  readonly priority: number;
  readonly group_name: string;
  readonly place: number | string;
}

function nameOf(type: string, priority: number): string {
  return `${priority} ${type}`;
}

const lockArrivals = "select pg_advisory_xact_lock(7562601, hashtext($1 || ' of :schema'))";

// Primary key.
const selectIntakeSettings = "select type, settings from sluice.settings where type = any ($1::text[]) and has_intake";

// Primary key of counts; all deltas, which upkeep.ts keeps few.
const sumWaiting = `
  select type, sum(n) as waiting
  from (
    select type, n
    from sluice.counts
    where type = any ($1::text[])
      and state in ('scheduled', 'pending', 'blocked', 'retrying')
    union all
    select type, n
    from sluice.deltas
    where type = any ($1::text[])
      and state in ('scheduled', 'pending', 'blocked', 'retrying')
  ) as changes
  group by type`;

// jobs_ready, the first of each.
const selectHeads = `
  select queue.type, queue.priority,
    (
      select job.rank
      from sluice.jobs as job
      where job.state = 'pending'
        and job.type = queue.type
        and -job.priority = -queue.priority
      order by -job.priority, job.rank, job.id
      limit 1
    ) as head
  from unnest($1::text[], $2::int[]) as queue (type, priority)`;

// Primary key.
const selectPlaces = `
  select type, priority, group_name, place
  from unnest($1::text[], $2::int[], $3::text[]) as wanted (type, priority, group_name)
  join sluice.turns using (type, priority, group_name)`;

// Primary key.
const keepPlaces = `
  insert into sluice.turns (type, priority, group_name, place)
  select * from unnest($1::text[], $2::int[], $3::text[], $4::bigint[])
  on conflict (type, priority, group_name) do update
  set place = excluded.place`;
