/**
 * Nearest vectors without pgvector: the games that are asked about are kept in this process, and compared here. Before each answer
 * it reads what has changed since the last one, by the index versions of the objects (canon.games in migrations.ts), so that it
 * finds what was committed before the question.
 *
 * Memory is bounded. Past the bound the games that were asked about longest ago are let go; a game that alone is larger is read
 * from the database for every question: slow, and right. Measured with 50,000 chunks on two cores: 5 s to read a game the first
 * time, 45 ms to compare, in slices of 5 ms.
 */
import { setImmediate } from "node:timers/promises";
import { embeddingModel } from "../../embedding/identity.js";
import type { VectorQuery } from "../library.js";
import { rowsOf, type PostgresTx } from "./connection.js";
import { Nearest, type ObjectVectors } from "./nearest.js";
import type { Place, VectorSearch } from "./ranking.js";

/** 512 MiB: about 350,000 chunks. */
const defaultMaxBytes = 512 * 1024 ** 2;

export class VectorMemory implements VectorSearch {
  readonly #db: PostgresTx;
  readonly #maxBytes: number;
  /** Those asked about last at the end. */
  readonly #games = new Map<string, GameVectors>();

  constructor(db: PostgresTx, { maxBytes = defaultMaxBytes }: { maxBytes?: number } = {}) {
    this.#db = db;
    this.#maxBytes = maxBytes;
  }

  async nearest(query: VectorQuery): Promise<readonly Place[]> {
    const vectors = this.#vectorsOf(query);
    const nearest = new Nearest(query);
    if (await vectors.refresh()) await compareAll(nearest, vectors.objects);
    else await vectors.eachPage((objects) => compareAll(nearest, objects));
    return nearest.places();
  }

  #vectorsOf({ game, model }: VectorQuery): GameVectors {
    const key = JSON.stringify([game, model]);
    const vectors =
      this.#games.get(key) ??
      new GameVectors(this.#db, {
        game,
        model,
        maxBytes: this.#maxBytes,
        onGrown: (grown) => this.#makeRoomFor(grown),
      });
    this.#games.delete(key);
    this.#games.set(key, vectors);
    return vectors;
  }

  #makeRoomFor(grown: GameVectors): void {
    let bytes = 0;
    for (const vectors of this.#games.values()) bytes += vectors.bytes;
    for (const [key, vectors] of this.#games) {
      if (bytes <= this.#maxBytes) return;
      if (vectors === grown) continue;
      this.#games.delete(key);
      bytes -= vectors.bytes;
    }
  }
}

interface GameOptions {
  readonly game: string;
  readonly model: string;
  readonly maxBytes: number;
  /** Called when more is kept than before. */
  readonly onGrown: (grown: GameVectors) => void;
}

/** The vectors of one game and model, as of the last refresh. */
class GameVectors {
  bytes = 0;
  objects: Map<string, ObjectVectors> = new Map();
  readonly #db: PostgresTx;
  readonly #options: GameOptions;
  #at: Cursor = beginning;
  #isTooLarge = false;
  #reading: Promise<boolean> = Promise.resolve(true);
  #next: Promise<boolean> | null = null;

  constructor(db: PostgresTx, options: GameOptions) {
    this.#db = db;
    this.#options = options;
  }

  /**
   * Reads what has changed; false when the game is too large to be kept. Whoever asks while one is reading is served by the next,
   * which sees what was committed before they asked.
   */
  refresh(): Promise<boolean> {
    this.#next ??= this.#reading
      .catch(() => false)
      .then(() => {
        this.#reading = this.#next!;
        this.#next = null;
        return this.#read();
      });
    return this.#next;
  }

  /** Reads all of it and keeps nothing. */
  async eachPage(use: (objects: ReadonlyMap<string, ObjectVectors>) => Promise<void>): Promise<void> {
    let bytes = 0;
    for await (const { objects } of pagesOf(this.#db, this.#options)) {
      for (const vectors of objects.values()) bytes += bytesOf(vectors);
      await use(objects);
    }
    this.#isTooLarge = bytes > this.#options.maxBytes;
  }

  async #read(): Promise<boolean> {
    if (this.#isTooLarge) return false;
    for await (const { objects, end } of pagesOf(this.#db, this.#options, this.#at)) {
      for (const [id, vectors] of objects) this.#keep(id, vectors);
      this.#at = end;
      if (this.bytes > this.#options.maxBytes) {
        this.#isTooLarge = true;
        this.#forget();
        return false;
      }
      this.#options.onGrown(this);
    }
    return true;
  }

  #keep(id: string, vectors: ObjectVectors): void {
    this.bytes += bytesOf(vectors) - bytesOf(this.objects.get(id));
    if (vectors.ordinals.length === 0) this.objects.delete(id);
    else this.objects.set(id, vectors);
  }

  #forget(): void {
    this.objects = new Map();
    this.bytes = 0;
    this.#at = beginning;
  }
}

/** A little more than what the engine takes for the objects around the numbers. */
const bytesAround = 500;

function bytesOf(vectors: ObjectVectors | undefined): number {
  if (vectors === undefined || vectors.ordinals.length === 0) return 0;
  return vectors.numbers.byteLength + bytesAround;
}

/** Gives the thread away every few milliseconds: a large game takes tens of them. */
async function compareAll(nearest: Nearest, objects: Iterable<readonly [string, ObjectVectors]>): Promise<void> {
  let turnEndsAt = performance.now() + 5;
  let untilLook = 100;
  for (const [id, vectors] of objects) {
    nearest.compare(id, vectors);
    if (--untilLook > 0) continue;
    untilLook = 100;
    if (performance.now() < turnEndsAt) continue;
    await setImmediate();
    turnEndsAt = performance.now() + 5;
  }
}

// ── reading ─────────────────────────────────────────────────────────────────

interface Cursor {
  readonly version: number;
  readonly id: string;
}

const beginning: Cursor = { version: 0, id: "" };
const pageObjects = 250;

interface Page {
  /** An object without vectors has left the index. */
  readonly objects: ReadonlyMap<string, ObjectVectors>;
  readonly end: Cursor;
}

/** The objects that have changed since, in the order of their last change. */
async function* pagesOf(
  db: PostgresTx,
  { game, model }: { readonly game: string; readonly model: string },
  since: Cursor = beginning,
): AsyncGenerator<Page> {
  for (let at = since; ;) {
    const rows = await rowsOf<ChangedRow>(db, selectChanged, [game, model, at.version, at.id, pageObjects]);
    const last = rows.at(-1);
    if (last === undefined) return;
    at = { version: last.version, id: last.id };
    const objects = gather(rows);
    yield { objects, end: at };
    if (objects.size < pageObjects) return;
  }
}

/** One for each chunk; one without a chunk for an object that has none. */
interface ChangedRow {
  readonly id: string;
  readonly version: number;
  readonly ordinal: number | null;
  readonly isRestricted: boolean;
  readonly embedding: Uint8Array;
}

function gather(rows: readonly ChangedRow[]): Map<string, ObjectVectors> {
  const objects = new Map<string, ObjectVectors>();
  for (let first = 0, end; first < rows.length; first = end) {
    const { id } = rows[first]!;
    end = first;
    while (rows[end]?.id === id) end++;
    const chunks = rows.slice(first, end).filter(({ ordinal }) => ordinal !== null);
    const numbers = new Float32Array(chunks.length * embeddingModel.dimensions);
    chunks.forEach(({ embedding }, index) => copyNumbers(embedding, numbers, index * embeddingModel.dimensions));
    objects.set(id, {
      ordinals: chunks.map(({ ordinal }) => ordinal!),
      isRestricted: chunks.map(({ isRestricted }) => isRestricted),
      numbers,
    });
  }
  return objects;
}

/**
 * Reads what PostgreSQL's `array_send` gives for a real[]: 20 bytes about the array, then the length (4) and the number of each
 * element, big-endian. As text the same numbers take four times as long to read (10,000 vectors: 2.7 s, so 0.7 s).
 */
function copyNumbers(sent: Uint8Array, into: Float32Array, start: number): void {
  const view = new DataView(sent.buffer, sent.byteOffset, sent.byteLength);
  for (let n = 0; n < embeddingModel.dimensions; n++) into[start + n] = view.getFloat32(20 + n * 8 + 4);
}

// objects_by_index_version; then canon.vectors by primary key, object by object: without `offset 0` a planner that knows little of
// the table would read all of it for every page.
const selectChanged = `
  with changed as materialized (
    select id, index_version
    from canon.objects
    where game = $1
      and index_version is not null
      and (index_version, id) > ($3::bigint, $4::text)
    order by index_version, id
    limit $5
  )
  select changed.id, changed.index_version::float8 as version,
    vector.ordinal, vector.is_restricted as "isRestricted", array_send(vector.embedding) as embedding
  from changed
  left join lateral (
    select ordinal, is_restricted, embedding
    from canon.vectors
    where game = $1
      and object_id = changed.id
      and model = $2
    offset 0
  ) as vector on true
  order by changed.index_version, changed.id, vector.ordinal`;
