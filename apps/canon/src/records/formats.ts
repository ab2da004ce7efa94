/**
 * Recognises bodies that cannot be read, by how they begin. Each has its own sentence because each has its own way out.
 */
import { UnreadableBody } from "./items.js";

/**
 * @param head The first four bytes, as Latin-1; fewer if there are no more.
 * @throws {UnreadableBody} when they are those of a well-known format that is not UTF-8 text.
 */
export function refuseKnownFormats(head: string): void {
  if (head.startsWith("\x1f\x8b")) {
    throw new UnreadableBody("The file is compressed with gzip. Unpack it and send the JSON file inside.");
  }
  if (head.startsWith("PK\x03\x04")) {
    throw new UnreadableBody("The file is a ZIP archive. Unpack it and send the JSON file inside.");
  }
  if (head.startsWith("\xff\xfe") || head.startsWith("\xfe\xff")) {
    throw new UnreadableBody("The file is saved as UTF-16. Save it as UTF-8 and send it again.");
  }
}

/** @param byte The first one that is not white space. */
export function notJson(byte: number): UnreadableBody {
  if (byte === "<".charCodeAt(0)) {
    return new UnreadableBody("The file is a web page or XML, not JSON. Export the world as JSON and send that file.");
  }
  return new UnreadableBody(
    "The file is not JSON: it begins with neither [ nor {. Export the world as JSON and send that file.",
  );
}
