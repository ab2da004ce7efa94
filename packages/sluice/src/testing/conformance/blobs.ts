/**
 * Bytes too large for a row: streamed in and out, whole or from an offset, or not there at all.
 */
import assert from "node:assert/strict";
import type { BlobStore } from "../../store.js";
import type { TestCase } from "./scene.js";

export function blobCases(test: TestCase): void {
  test("a blob comes back byte by byte", async ({ store }) => {
    const bytes = someBytes(300_000);

    const { id, bytes: size } = await store.blobs.put(inChunks(bytes, 7_001));

    assert.equal(size, bytes.length);
    assert.ok((await read(store.blobs, id)).equals(bytes));
  });

  test("a blob of several megabytes comes back whole", async ({ store }) => {
    const bytes = someBytes(5_000_000);
    const { id } = await store.blobs.put(inChunks(bytes, 64 * 1_024));

    assert.ok((await read(store.blobs, id)).equals(bytes));
  });

  test("an empty blob is a blob", async ({ store }) => {
    const { id, bytes } = await store.blobs.put(inChunks(Buffer.alloc(0), 1));

    assert.equal(bytes, 0);
    assert.equal((await read(store.blobs, id)).length, 0);
  });

  for (const from of [1, 6_999, 7_000, 7_001, 20_999]) {
    test(`a blob is read from byte ${from}`, async ({ store }) => {
      const bytes = someBytes(21_000);
      const { id } = await store.blobs.put(inChunks(bytes, 7_000));

      assert.ok((await read(store.blobs, id, from)).equals(bytes.subarray(from)));
    });
  }

  test("a blob read from its end or beyond gives nothing", async ({ store }) => {
    const { id } = await store.blobs.put(inChunks(someBytes(10), 10));

    assert.equal((await read(store.blobs, id, 10)).length, 0);
    assert.equal((await read(store.blobs, id, 11)).length, 0);
  });

  test("a source may use its buffer again for the next chunk", async ({ store }) => {
    const { id } = await store.blobs.put(inOneBuffer(["abc", "def"]));

    assert.equal((await read(store.blobs, id)).toString(), "abcdef");
  });

  test("blobs put at once do not mix", async ({ store }) => {
    const contents = [someBytes(50_000, 1), someBytes(50_000, 2), someBytes(50_000, 3)];

    const refs = await Promise.all(contents.map((bytes) => store.blobs.put(inChunks(bytes, 1_000))));

    for (const [n, { id }] of refs.entries()) {
      assert.ok((await read(store.blobs, id)).equals(contents[n] ?? Buffer.alloc(0)));
    }
  });

  test("a source that throws rejects with what it threw", async ({ store }) => {
    const broken = new Error("The upload broke off.");

    await assert.rejects(store.blobs.put(breakingWith(broken)), broken);
  });

  test("a blob that does not exist is an error", async ({ store }) => {
    await assert.rejects(read(store.blobs, "no-such-blob"), { code: "BLOB_NOT_FOUND" });
  });

  test("an id that looks like a path reaches nothing", async ({ store }) => {
    await assert.rejects(read(store.blobs, "../../../../etc/hostname"), { code: "BLOB_NOT_FOUND" });
  });

  test("a removed blob is gone, and removing it twice is fine", async ({ store }) => {
    const { id } = await store.blobs.put(inChunks(someBytes(10), 10));
    const { id: kept } = await store.blobs.put(inChunks(someBytes(10), 10));

    await store.blobs.remove([id, id]);
    await store.blobs.remove([id, "no-such-blob"]);

    await assert.rejects(read(store.blobs, id), { code: "BLOB_NOT_FOUND" });
    assert.equal((await read(store.blobs, kept)).length, 10);
  });

  test("removing no blobs is no work", async ({ store }) => {
    await store.blobs.remove([]);
  });
}

/** Bytes without a pattern that chunks could hide behind. */
function someBytes(length: number, seed = 1): Buffer {
  let state = seed;
  return Buffer.from(
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 24;
    }),
  );
}

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function* inOneBuffer(words: readonly string[]): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(3);
  for (const word of words) {
    buffer.write(word);
    yield buffer;
  }
}

async function* breakingWith(error: Error): AsyncGenerator<Uint8Array> {
  yield Buffer.from("the first part");
  throw error;
}

async function read(blobs: BlobStore, id: string, from?: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of blobs.get(id, from)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
