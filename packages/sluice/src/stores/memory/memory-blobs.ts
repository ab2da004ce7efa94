/**
 * Blobs in a Map. "Never held in memory whole" cannot be said of this one.
 */
import { JobsError } from "../../errors.js";
import type { BlobRef, BlobStore } from "../../store.js";

export class MemoryBlobs implements BlobStore {
  readonly #blobs = new Map<string, Buffer>();
  #lastNumber = 0;

  async put(source: AsyncIterable<Uint8Array>): Promise<BlobRef> {
    const chunks: Buffer[] = [];
    // Copied at once: a stream may use its buffer again for the next chunk.
    for await (const chunk of source) chunks.push(Buffer.from(chunk));

    const bytes = Buffer.concat(chunks);
    this.#lastNumber += 1;
    const id = `blob-${this.#lastNumber}`;
    this.#blobs.set(id, bytes);
    return { id, bytes: bytes.length };
  }

  async *get(id: string, from = 0): AsyncGenerator<Uint8Array> {
    const bytes = this.#blobs.get(id);
    if (bytes === undefined) {
      throw new JobsError("BLOB_NOT_FOUND", `No blob ${id}. Its job may have been pruned.`, { id });
    }
    if (from < bytes.length) yield Uint8Array.from(bytes.subarray(from));
  }

  async remove(ids: readonly string[]): Promise<void> {
    ids.forEach((id) => this.removeNow(id));
  }

  /** For a store that deletes a blob together with its job. */
  removeNow(id: string | null): void {
    if (id !== null) this.#blobs.delete(id);
  }
}
