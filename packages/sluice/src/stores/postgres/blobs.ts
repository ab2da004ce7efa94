/**
 * Blobs as rows: pieces of one size, so that a read from any byte finds its piece. A blob can be read when all of it is there;
 * pieces are committed one by one, so that no transaction is as long as an upload.
 */
import { v7 as uuidv7 } from "uuid";
import { JobsError } from "../../errors.js";
import type { BlobRef, BlobStore } from "../../store.js";
import type { Database } from "./database.js";
import { isId } from "./rows.js";

const pieceBytes = 512 * 1_024;

export class PostgresBlobs implements BlobStore {
  readonly #database: Database;
  readonly #refuseWhenClosed: () => void;

  constructor(database: Database, refuseWhenClosed: () => void) {
    this.#database = database;
    this.#refuseWhenClosed = refuseWhenClosed;
  }

  async put(source: AsyncIterable<Uint8Array>): Promise<BlobRef> {
    this.#refuseWhenClosed();
    return this.#write(uuidv7(), source);
  }

  /** Under the id that it has elsewhere. What an import that was killed has left is written over. */
  async import(id: string, source: AsyncIterable<Uint8Array>): Promise<"imported" | "known"> {
    this.#refuseWhenClosed();
    if (!isId(id)) throw new JobsError("BLOB_NOT_FOUND", `${id} is no id of a blob.`, { id });
    if ((await this.#database.rows(selectBlob, [id])).length > 0) return "known";
    await this.#write(id, source);
    return "imported";
  }

  async #write(id: string, source: AsyncIterable<Uint8Array>): Promise<BlobRef> {
    await this.#database.rows(beginBlob, [id]);
    try {
      let bytes = 0;
      let n = 0;
      for await (const piece of inPieces(source)) {
        await this.#database.rows(insertPiece, [id, n, piece]);
        bytes += piece.length;
        n += 1;
      }
      const ended = await this.#database.rows(endBlob, [id, bytes, n]);
      if (ended.length === 0) {
        throw new JobsError("STORE_UNAVAILABLE", `Blob ${id} was swept while it was written. Put it again.`, { id });
      }
      return { id, bytes };
    } catch (error) {
      // Should this fail too, sweeping finds it.
      await this.#database.rows(deleteBlobs, [[id]]).catch(() => undefined);
      throw error;
    }
  }

  async *get(id: string, from = 0): AsyncGenerator<Uint8Array> {
    this.#refuseWhenClosed();
    const [found] = isId(id) ? await this.#database.rows<{ bytes: number | string }>(selectBlob, [id]) : [];
    if (found === undefined) {
      throw new JobsError("BLOB_NOT_FOUND", `No blob ${id}. Its job may have been pruned.`, { id });
    }
    const total = Number(found.bytes);
    let skip = from % pieceBytes;
    for (let n = Math.floor(from / pieceBytes); n * pieceBytes + skip < total; n += 1) {
      const [piece] = await this.#database.rows<{ bytes: Buffer }>(selectPiece, [id, n]);
      if (piece === undefined) {
        throw new JobsError("BLOB_NOT_FOUND", `Blob ${id} was removed while it was read.`, { id });
      }
      yield skip === 0 ? piece.bytes : piece.bytes.subarray(skip);
      skip = 0;
    }
  }

  async remove(ids: readonly string[]): Promise<void> {
    const known = ids.filter(isId);
    if (known.length > 0) await this.#database.rows(deleteBlobs, [known]);
  }
}

/** Pieces of exactly one size, but for the last. Copies: a source may use its buffer again. */
async function* inPieces(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let piece = Buffer.alloc(pieceBytes);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length;) {
      const taken = chunk.subarray(at, at + pieceBytes - filled);
      piece.set(taken, filled);
      filled += taken.length;
      at += taken.length;
      if (filled < pieceBytes) continue;
      yield piece;
      piece = Buffer.alloc(pieceBytes);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

// Primary keys, in all six.
const beginBlob = "insert into sluice.blobs (id, touched_at) values ($1::uuid, :now) on conflict (id) do nothing";
const insertPiece = `
  with touched as (
    update sluice.blobs set touched_at = :now where id = $1::uuid
  )
  insert into sluice.blob_pieces (blob, n, bytes)
  values ($1::uuid, $2, $3)
  on conflict (blob, n) do update
  set bytes = excluded.bytes`;
const endBlob = `
  update sluice.blobs
  set bytes = $2, touched_at = :now
  where id = $1::uuid
    and (select count(*) from sluice.blob_pieces where blob = $1::uuid) = $3
  returning id`;
const selectBlob = "select bytes from sluice.blobs where id = $1::uuid and bytes is not null";
const selectPiece = "select bytes from sluice.blob_pieces where blob = $1::uuid and n = $2";
const deleteBlobs = `
  with gone as (
    delete from sluice.blobs where id = any ($1::uuid[])
  )
  delete from sluice.blob_pieces where blob = any ($1::uuid[])`;
