/**
 * Reads JSON that a stranger wrote. Beside what JSON.parse refuses: duplicate names (two readers would see two things),
 * `__proto__`, depth, and the number of values. Nothing is rewritten.
 */
import { Problem, toPointer } from "./problem.js";

export const maxDepth = 32;
const maxValues = 100_000;

/** @throws {Problem} malformed_json, which names the place. */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The message of the engine repeats what was sent.
    throw new Problem("malformed_json", "The body is not JSON.", { errors: [{ pointer: "", detail: "is not JSON" }] });
  }
  checkNames(text);
  return value;
}

/** The fault of a JSON text that is known to parse: only what makes it unfit. */
function checkNames(text: string): void {
  /** For each level that is open: the names of an object so far, or how many elements of an array are past. */
  const levels: (Set<string> | number)[] = [];
  const path: PropertyKey[] = [];
  let values = 0;
  let isName = false;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: {
        const end = endOfString(text, at);
        if (isName) {
          const names = levels.at(-1) as Set<string>;
          const raw = text.slice(at + 1, end);
          const name = raw.includes("\\") ? (JSON.parse(`"${raw}"`) as string) : raw;
          path[levels.length - 1] = name;
          if (name === "__proto__") throw unfit(path, "is a name that is not taken");
          if (names.has(name)) throw unfit(path, "is there twice");
          names.add(name);
          isName = false;
        }
        at = end;
        break;
      }
      case 0x7b: // {
      case 0x5b: {
        // [
        const isObject = text.charCodeAt(at) === 0x7b;
        if (levels.length >= maxDepth) throw unfit(path, `is more than ${maxDepth} levels deep`);
        levels.push(isObject ? new Set<string>() : 0);
        path.length = levels.length - 1;
        if (!isObject) path[levels.length - 1] = 0;
        isName = isObject;
        values++;
        break;
      }
      case 0x7d: // }
      case 0x5d: // ]
        levels.pop();
        path.length = levels.length;
        isName = false;
        break;
      case 0x2c: {
        // ,
        if (++values > maxValues) throw unfit([], `has more than ${maxValues.toLocaleString("en")} values`);
        const level = levels.at(-1)!;
        if (typeof level === "number") path[levels.length - 1] = levels[levels.length - 1] = level + 1;
        else isName = true;
        break;
      }
    }
  }
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return at;
    at += code === 0x5c ? 2 : 1;
  }
}

function unfit(path: readonly PropertyKey[], detail: string): Problem {
  const pointer = toPointer(path);
  return new Problem("malformed_json", `The body cannot be used: ${pointer === "" ? "it" : pointer} ${detail}.`, {
    errors: [{ pointer, detail }],
  });
}
