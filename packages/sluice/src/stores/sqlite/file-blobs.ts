/**
 * Blobs as files in a folder beside the database. A file appears under its name only when all of it is on the disk.
 */
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { v7 as uuidv7 } from "uuid";
import { JobsError } from "../../errors.js";
import type { BlobRef, BlobStore } from "../../store.js";
import { deleteBlobFiles, isBlobId } from "./blob-files.js";

const unfinishedSuffix = ".part";
const dayMs = 24 * 60 * 60 * 1_000;

export class FileBlobs implements BlobStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(source: AsyncIterable<Uint8Array>): Promise<BlobRef> {
    const id = uuidv7();
    const unfinished = join(this.#folder, `${id}${unfinishedSuffix}`);
    try {
      const firstMade = await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      if (firstMade !== undefined) await syncFolder(dirname(firstMade));
      const bytes = await this.#write(unfinished, source);
      await rename(unfinished, this.#pathOf(id));
      await syncFolder(this.#folder);
      return { id, bytes };
    } catch (error) {
      await rm(unfinished, { force: true });
      throw toBlobError(error, this.#folder);
    }
  }

  async *get(id: string, from = 0): AsyncGenerator<Uint8Array> {
    try {
      yield* createReadStream(this.#pathOf(id), { start: from }) as AsyncIterable<Uint8Array>;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") throw notFound(id);
      throw toBlobError(error, this.#folder);
    }
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) if (isBlobId(id)) await rm(join(this.#folder, id), { force: true });
  }

  /** As far as it can be done now; `prune` does the rest. */
  removeNow(ids: readonly string[]): void {
    deleteBlobFiles(this.#folder, ids);
  }

  /**
   * Deletes what a process that was killed while it wrote has left. Bytes are written without a pause: a file that nobody has
   * touched for a day is nobody's.
   * @param now The system's time, as that of the files is.
   */
  async removeUnfinished(now: number): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      if (!isUnfinished(name) || now - (await stat(path)).mtimeMs <= dayMs) continue;
      await rm(path, { force: true });
    }
  }

  async #write(path: string, source: AsyncIterable<Uint8Array>): Promise<number> {
    const file = await open(path, "wx", 0o600);
    try {
      let bytes = 0;
      for await (const chunk of source) {
        await file.writeFile(chunk);
        bytes += chunk.byteLength;
      }
      await file.sync();
      return bytes;
    } finally {
      await file.close();
    }
  }

  #pathOf(id: string): string {
    if (!isBlobId(id)) throw notFound(id);
    return join(this.#folder, id);
  }
}

/** The folder may have files in it that are not ours. */
function isUnfinished(name: string): boolean {
  return name.endsWith(unfinishedSuffix) && isBlobId(name.slice(0, -unfinishedSuffix.length));
}

/** Without it, a new name may not survive a power failure although the bytes behind it do. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function notFound(id: string): JobsError {
  return new JobsError("BLOB_NOT_FOUND", `No blob ${id}. Its job may have been pruned.`, { id });
}

/** What the source throws passes as it is; only errors of the disk get our name. */
function toBlobError(error: unknown, folder: string): unknown {
  switch ((error as NodeJS.ErrnoException | null)?.code) {
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "ENOTDIR":
      return new JobsError(
        "STORE_UNWRITABLE",
        `Cannot write blobs to ${folder}. Give this user the right to write there, or choose another blobDir.`,
        { path: folder, cause: error },
      );
    case "ENOSPC":
    case "EDQUOT":
    case "EIO":
    case "EMFILE":
      return new JobsError(
        "STORE_UNAVAILABLE",
        `The system could not read or write a blob in ${folder}. Check the disk and its space, then try again.`,
        { path: folder, cause: error },
      );
    default:
      return error;
  }
}
