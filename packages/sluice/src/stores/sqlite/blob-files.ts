/**
 * The names of blob files, and how they are deleted: all that the store thread needs to know of blobs. (uuid, which file-blobs.ts
 * imports to make names, takes longer to load than everything else in that thread together.)
 */
import { rmSync } from "node:fs";
import { join } from "node:path";

/** Ids come from job rows and URLs: anything that cannot have been given out is nobody's blob, and no path. */
export function isBlobId(id: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id);
}

/** Answers which are gone now; for those that were gone before, too. Never throws: `prune` tries the others again. */
export function deleteBlobFiles(folder: string, ids: readonly string[]): readonly string[] {
  return ids.filter((id) => !isBlobId(id) || isDeleted(join(folder, id)));
}

/** A folder whose rights have changed or whose disk is read-only must not stop the jobs: their rows are what counts. */
function isDeleted(path: string): boolean {
  try {
    rmSync(path, { force: true });
    return true;
  } catch {
    return false;
  }
}
