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

/** Deleting twice is fine. */
export function deleteBlobFiles(folder: string, ids: readonly string[]): void {
  for (const id of ids) if (isBlobId(id)) rmSync(join(folder, id), { force: true });
}
