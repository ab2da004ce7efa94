/**
 * What a search finds: which part of it a store can look up by itself (`JobFilter`), and which is looked at job by job. Pure, and the same in a
 * browser; whoever pages through a store with it is queue.ts. The language is grammar.ts's.
 */
import { idText, isUuid, type NumberRange, type Query, type Term, type Time } from "./grammar.js";
import { failReasons, jobStates, statusOf, type FailReason, type JobId, type JobRecord, type JobState } from "./job.js";
import type { JobFilter } from "./store.js";

export {
  maxQueryLength,
  parseQuery,
  printQuery,
  queryKeys,
  type NumberRange,
  type ParsedQuery,
  type Query,
  type QueryFault,
  type Term,
  type Time,
  type TypeName,
} from "./grammar.js";

export interface CompileOptions {
  /** What `24h` is counted from; milliseconds since the epoch. */
  readonly now: number;
  /** The names of all types that the store has, for prefixes and negations; null: not known, each job is looked at instead. */
  readonly types: readonly string[] | null;
  /** Finds nothing that was created, and nothing that ended, after `now`: the same jobs again, as long as nobody touches them. Default false. */
  readonly isFrozen?: boolean;
}

export interface CompiledQuery {
  /** False: no job can match, and no store need be asked. */
  readonly canMatch: boolean;
  /** Only these can match; null: any. */
  readonly ids: readonly JobId[] | null;
  /** Lets through every job that matches, and others besides. */
  readonly filter: JobFilter;
  /** Whether what the filter lets through matches, but for rare ones. */
  readonly isFilterEnough: boolean;
  /** Whether a job matches; needs no filter. */
  readonly accepts: (job: JobRecord) => boolean;
}

/** Whether `types` would make a difference: asking for them costs a statement. */
export function needsTypes({ terms }: Query): boolean {
  return terms.some((term) => {
    if (term.key === "type") return term.isNegated || term.values.some(({ isPrefix }) => isPrefix);
    return term.key === "text" && !term.isNegated && !isUuid(term.text);
  });
}

export function compileQuery(query: Query, { now, types, isFrozen = false }: CompileOptions): CompiledQuery {
  const bounds = new Bounds(types);
  for (const term of query.terms) bounds.narrow(term, now);
  if (isFrozen) bounds.created({ from: -Infinity, before: now + 1 });
  const isThen = ({ createdAt, finishedAt }: JobRecord) =>
    !isFrozen || (createdAt <= now && (finishedAt === null || finishedAt <= now));
  const accepts = (job: JobRecord) =>
    isThen(job) && query.terms.every((term) => term.isNegated !== matches(term, job, now));
  return { ...bounds.answer(), accepts };
}

/** The same query, of these types only. A name may end in `*`. */
export function withinTypes({ terms }: Query, types: readonly string[]): Query {
  const values = types.map((type) => ({ name: type.replace(/\*$/, ""), isPrefix: type.endsWith("*") }));
  return { terms: [...terms, { isNegated: false, key: "type", values }] };
}

/** What all terms together leave possible. Each may leave more than it finds, never less. */
class Bounds {
  readonly #known: readonly string[] | null;
  #ids: ReadonlySet<JobId> | null = null;
  #types: ReadonlySet<string> | null = null;
  #states: ReadonlySet<JobState> = new Set(jobStates);
  #reasons: ReadonlySet<FailReason> | null = null;
  #correlation = new Map<string, string>();
  #from = -Infinity;
  #before = Infinity;
  #isContradiction = false;
  #isEnough = true;

  constructor(known: readonly string[] | null) {
    this.#known = known;
  }

  narrow(term: Term, now: number): void {
    const { isNegated } = term;
    switch (term.key) {
      case "state":
      case "status": {
        const isNamed = (state: JobState) => matchesState(term, state);
        return this.#keepStates((state) => isNamed(state) !== isNegated);
      }
      case "reason":
        if (isNegated) break;
        this.#keepStates((state) => state === "failed");
        this.#reasons = both(this.#reasons ?? new Set(failReasons), term.values);
        return;
      case "type":
        return this.#narrowTypes(term);
      case "id":
        if (!isNegated) this.#ids = this.#ids === null ? new Set(term.values) : both(this.#ids, term.values);
        break;
      case "text":
        return this.#narrowText(term);
      case "error":
        if (!isNegated) this.#keepStates(showsError);
        break;
      case "since":
      case "until":
        return this.#narrowTime(term, now);
      case "correlation": {
        const [value, ...others] = term.values;
        if (isNegated || value === undefined || others.length > 0) break;
        if ((this.#correlation.get(term.name) ?? value) !== value) this.#isContradiction = true;
        this.#correlation.set(term.name, value);
        return;
      }
      case "attempt":
      case "priority":
      case "version":
      case "worker":
        break;
    }
    this.#isEnough = false;
  }

  created({ from, before }: Stretch): void {
    this.#from = Math.max(this.#from, from);
    this.#before = Math.min(this.#before, before);
  }

  answer(): Omit<CompiledQuery, "accepts"> {
    const [from, before] = [this.#from, this.#before];
    const isAnyState = this.#states.size === jobStates.length;
    const sets = [this.#ids, this.#types, this.#states, this.#reasons];
    return {
      canMatch: !this.#isContradiction && from < before && sets.every((set) => set === null || set.size > 0),
      ids: this.#ids && [...this.#ids],
      filter: {
        ...(this.#types !== null && { types: [...this.#types] }),
        ...(!isAnyState && { states: [...this.#states] }),
        ...(this.#reasons !== null && { failReasons: [...this.#reasons] }),
        ...(this.#correlation.size > 0 && { correlation: Object.fromEntries(this.#correlation) }),
        // A filter leaves its bounds out.
        ...(from > -Infinity && { createdAfter: from - 1 }),
        ...(before < Infinity && { createdBefore: before }),
      },
      isFilterEnough: this.#isEnough,
    };
  }

  #keepStates(isKept: (state: JobState) => boolean): void {
    this.#states = new Set([...this.#states].filter(isKept));
  }

  #narrowTypes(term: Extract<Term, { readonly key: "type" }>): void {
    const isKept = (type: string) => matchesType(term, type) !== term.isNegated;
    if (this.#types !== null) {
      this.#types = new Set([...this.#types].filter(isKept));
      return;
    }
    const isResolved = this.#known !== null || (!term.isNegated && term.values.every(({ isPrefix }) => !isPrefix));
    if (!isResolved) {
      this.#isEnough = false;
      return;
    }
    // A type that is named is looked for, known or not: it may have come a moment ago.
    const named = term.isNegated ? [] : term.values.filter(({ isPrefix }) => !isPrefix).map(({ name }) => name);
    this.#types = new Set([...named, ...(this.#known ?? []).filter(isKept)]);
  }

  #narrowText({ isNegated, text }: Extract<Term, { readonly key: "text" }>): void {
    if (isUuid(text)) {
      if (!isNegated) this.#ids = both(this.#ids ?? new Set([idText(text)]), [idText(text)]);
    } else if (!isNegated && this.#known?.some((type) => beginsWith(type, text)) === false) {
      this.#keepStates(showsError);
    }
    this.#isEnough = false;
  }

  #narrowTime(term: Extract<Term, { readonly key: "since" | "until" }>, now: number): void {
    const stretches = term.values.map((time) => stretchOf(term.key, time, now));
    const [only, ...others] = stretches;
    if (term.isNegated) {
      if (only === undefined || others.length > 0) this.#isEnough = false;
      else if (only.before === Infinity) this.created({ from: -Infinity, before: only.from });
      else if (only.from === -Infinity) this.created({ from: only.before, before: Infinity });
      else this.#isEnough = false;
      return;
    }
    this.created({
      from: Math.min(...stretches.map(({ from }) => from)),
      before: Math.max(...stretches.map(({ before }) => before)),
    });
    if (others.length > 0) this.#isEnough = false;
  }
}

function both<T>(set: ReadonlySet<T>, values: readonly T[]): ReadonlySet<T> {
  return new Set(values.filter((value) => set.has(value)));
}

// ── whether a job matches ───────────────────────────────────────────────────

/** As if the term were not negated. */
function matches(term: Term, job: JobRecord, now: number): boolean {
  switch (term.key) {
    case "text":
      if (isUuid(term.text)) return job.id === idText(term.text);
      return beginsWith(job.type, term.text) || hasError(job, term.text);
    case "id":
      return term.values.includes(job.id);
    case "type":
      return matchesType(term, job.type);
    case "state":
    case "status":
      return matchesState(term, job.state);
    case "reason":
      return job.state === "failed" && job.failReason !== null && term.values.includes(job.failReason);
    case "error":
      return term.values.some((text) => hasError(job, text));
    case "worker":
      return job.workerId !== null && term.values.includes(job.workerId);
    case "attempt":
    case "priority":
    case "version":
      return term.values.some((range) => isWithin(range, job[term.key]));
    case "since":
    case "until":
      return term.values.some((time) => {
        const { from, before } = stretchOf(term.key, time, now);
        return job.createdAt >= from && job.createdAt < before;
      });
    case "correlation": {
      const { correlation } = job;
      if (correlation === null || !Object.hasOwn(correlation, term.name)) return false;
      return term.values.includes(correlation[term.name]!);
    }
  }
}

function matchesState(term: Extract<Term, { readonly key: "state" | "status" }>, state: JobState): boolean {
  return term.key === "state" ? term.values.includes(state) : term.values.includes(statusOf(state));
}

function matchesType({ values }: Extract<Term, { readonly key: "type" }>, type: string): boolean {
  return values.some(({ name, isPrefix }) => (isPrefix ? type.startsWith(name) : type === name));
}

/** In other states an error is that of an attempt before, or of nobody's interest. */
function showsError(state: JobState): boolean {
  return state === "failed" || state === "retrying";
}

function hasError({ state, error }: JobRecord, text: string): boolean {
  return (
    showsError(state) && error !== null && `${error.name}: ${error.message}`.toLowerCase().includes(text.toLowerCase())
  );
}

/** Whatever the case: nobody who types a word knows how a type is spelled. */
function beginsWith(type: string, text: string): boolean {
  return type.toLowerCase().startsWith(text.toLowerCase());
}

function isWithin({ from, to }: NumberRange, value: number): boolean {
  return (from === null || value >= from) && (to === null || value <= to);
}

/** Of creation; `before` is not included. */
interface Stretch {
  readonly from: number;
  readonly before: number;
}

function stretchOf(key: "since" | "until", time: Time, now: number): Stretch {
  const { kind, from, before } =
    time.kind === "ago" ? { kind: "at", from: now - time.ms, before: now - time.ms + 1 } : time;
  if (kind === "between") return { from, before };
  return key === "since" ? { from, before: Infinity } : { from: -Infinity, before };
}
