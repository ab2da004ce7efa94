/**
 * The part of a body that is in memory, addressed by absolute byte offsets.
 * Keeps it contiguous, so that a record is always one slice; what to keep is decided by the parser.
 */

const firstCapacity = 256 * 1024;

export class ByteWindow {
  bytes = Buffer.allocUnsafe(firstCapacity);
  /** Absolute offset of `bytes[0]`. */
  base: number;
  /** How much of `bytes` is filled. */
  length = 0;
  #keepFrom: number;

  constructor(offset: number) {
    this.base = offset;
    this.#keepFrom = offset;
  }

  /** Absolute offset of the first byte that has not arrived. */
  get end(): number {
    return this.base + this.length;
  }

  /** Bytes before `offset` will not be asked for again. */
  keepFrom(offset: number): void {
    this.#keepFrom = offset;
  }

  append(chunk: Uint8Array): void {
    if (this.length + chunk.length > this.bytes.length) this.#makeRoom(chunk.length);
    this.bytes.set(chunk, this.length);
    this.length += chunk.length;
  }

  slice(from: number, to: number): Buffer {
    return this.bytes.subarray(from - this.base, to - this.base);
  }

  #makeRoom(wanted: number): void {
    const from = Math.min(Math.max(this.#keepFrom - this.base, 0), this.length);
    const kept = this.length - from;
    // Doubling keeps the copying linear when one large record arrives in small chunks.
    const isTooSmall = kept + wanted > this.bytes.length;
    const target = isTooSmall ? Buffer.allocUnsafe(Math.max(this.bytes.length * 2, kept + wanted)) : this.bytes;
    this.bytes.copy(target, 0, from, this.length);
    this.bytes = target;
    this.base += from;
    this.length = kept;
  }
}
