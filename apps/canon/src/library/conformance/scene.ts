/**
 * What a case of the suite works with: a library, a game of its own in it, and short ways to bring an object where the case
 * begins.
 */
import { createHash } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { expect } from "vitest";
import { embeddingModel, embeddingModelId } from "../../embedding/identity.js";
import { search, type SearchHit, type SearchRequest } from "../../search/search.js";
import type { BatchRecord, IncomingObject, SavedBatch } from "../batch.js";
import { andThen, type Eventual } from "../eventual.js";
import type { Batch, ImportFailure, ImportRecord, IndexedChunk, Library, SearchableObject } from "../library.js";

/** An object on its way into the index. A chunk given as a string has the vector of axis 0. */
export interface ObjectFixture extends Partial<Pick<IncomingObject, "kind" | "name" | "hash" | "hasRestricted">> {
  readonly id: string;
  readonly model?: string;
  /** Default: the name. */
  readonly chunks?: readonly (string | IndexedChunk)[];
}

export class Scene {
  readonly library: Library;
  readonly game = `game-${uuidv7()}`;
  /** Stands still unless a case moves it. */
  now = 1_000;
  #index = 0;

  constructor(library: Library) {
    this.library = library;
  }

  /** The same library, as another game. */
  elsewhere(): Scene {
    return new Scene(this.library);
  }

  write<T>(work: (tx: unknown) => T): Promise<Awaited<T>> {
    return this.library.write(work);
  }

  // ── imports ───────────────────────────────────────────────────────────────

  async addImport({ bytes = 100 }: { bytes?: number } = {}): Promise<string> {
    const id = uuidv7();
    await this.write((tx) =>
      this.library.addImport(tx, { id, game: this.game, blob: `blob of ${id}`, bytes, now: this.now }),
    );
    return id;
  }

  saveBatch(importId: string, records: readonly BatchRecord[], batch: Partial<Batch> = {}): Promise<SavedBatch> {
    const { game, now } = this;
    return this.write((tx) =>
      this.library.saveBatch(tx, { game, importId, records, readBytes: 0, failedBefore: 0, now, ...batch }),
    );
  }

  async finishReading(importId: string): Promise<void> {
    await this.write((tx) => this.library.finishReading(tx, importId, this.now));
  }

  /** An import that has been read and holds these records. */
  async imported(...records: BatchRecord[]): Promise<string> {
    const id = await this.addImport();
    await this.saveBatch(id, records);
    await this.finishReading(id);
    return id;
  }

  async import(id: string): Promise<ImportRecord> {
    const found = await this.library.findImport(this.game, id);
    expect(found).toBeDefined();
    return found!;
  }

  failures(importId: string, page: { after?: number; limit?: number } = {}): Promise<readonly ImportFailure[]> {
    return this.library.listFailures(importId, { after: -1, limit: 1_000, ...page });
  }

  // ── records ───────────────────────────────────────────────────────────────

  anObject({ id, kind = "place", name = id, hash, hasRestricted = false }: ObjectFixture): BatchRecord {
    const index = this.#index++;
    const body = JSON.stringify({ id, kind, name });
    return {
      kind: "object",
      object: { id, kind, name, body, hash: hash ?? hashOf(name), hasRestricted, index, line: index + 1 },
    };
  }

  aFailure(failure: Partial<ImportFailure> = {}): BatchRecord {
    const index = this.#index++;
    return {
      kind: "refused",
      failure: { index, line: index + 1, name: null, pointer: "", reason: "is broken", ...failure },
    };
  }

  // ── objects ───────────────────────────────────────────────────────────────

  makeSearchable(object: ObjectFixture): Promise<"searchable" | "outdated"> {
    return this.write((tx) => this.searchable(tx, object));
  }

  searchable(tx: unknown, object: ObjectFixture): Eventual<"searchable" | "outdated"> {
    return this.library.makeSearchable(tx, this.#toSearchable(object));
  }

  /** Saves the object with an import of its own, which is done when this resolves, and puts it into the index. */
  async add(object: ObjectFixture): Promise<void> {
    await this.imported(this.anObject(object));
    expect(await this.makeSearchable(object)).toBe("searchable");
  }

  async giveUp(id: string, importId: string, reason = "no model"): Promise<void> {
    const { game, now } = this;
    await this.write((tx) => this.library.giveUpEmbedding(tx, { game, id, importId, reason, now }));
  }

  #toSearchable({ id, name = id, hash, model = embeddingModelId, chunks = [name] }: ObjectFixture): SearchableObject {
    return {
      game: this.game,
      id,
      name,
      hash: hash ?? hashOf(name),
      model,
      now: this.now,
      chunks: chunks.map((chunk) => (typeof chunk === "string" ? { text: chunk, vector: aVector(0) } : chunk)),
    };
  }

  // ── search ────────────────────────────────────────────────────────────────

  /** A game master's search by words only, ten hits. */
  search(request: Partial<SearchRequest>): Promise<SearchHit[]> {
    return search(this.library, { game: this.game, query: "castle", vector: null, limit: 10, as: "gm", ...request });
  }

  async found(request: Partial<SearchRequest>): Promise<string[]> {
    return (await this.search(request)).map(({ id }) => id);
  }
}

/** Does `first`, then fails: nothing of it may stay. */
export function thenFail<T>(first: Eventual<T>): unknown {
  return andThen(first, () => {
    throw new Error("the transaction fails");
  });
}

/** Two objects with the same axis are alike; with different axes they have nothing in common. */
export function aVector(axis: number): Float32Array {
  const vector = new Float32Array(embeddingModel.dimensions);
  vector[axis] = 1;
  return vector;
}

export function vectorBetween(a: number, b: number): Float32Array {
  const vector = new Float32Array(embeddingModel.dimensions);
  vector[a] = vector[b] = Math.SQRT1_2;
  return vector;
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
