/**
 * The suite of the library: what every database must do, called once per database.
 */
import { afterAll, beforeAll, describe, test } from "vitest";
import type { Library } from "../library.js";
import { importCases } from "./imports.js";
import { indexCases } from "./index-cases.js";
import { objectCases } from "./objects.js";
import { Scene } from "./scene.js";
import { searchCases } from "./search.js";

export interface LibraryTarget {
  /** For the names of the tests. */
  readonly name: string;
  /** Opens a library. Called once: every case has a game of its own. */
  open(): Promise<{ readonly library: Library; dispose(): Promise<void> }>;
}

/** Registers one case: a behaviour in present tense, and the body that shows it in a game of its own. */
export type TestCase = (behaviour: string, body: (scene: Scene) => Promise<void>) => void;

export function describeLibrary(target: LibraryTarget): void {
  describe(`library in ${target.name}`, () => {
    let opened: Awaited<ReturnType<LibraryTarget["open"]>>;
    beforeAll(async () => {
      opened = await target.open();
    }, 120_000);
    afterAll(() => opened.dispose());
    const testCase: TestCase = (behaviour, body) => test(behaviour, () => body(new Scene(opened.library)));

    describe("imports", () => importCases(testCase));
    describe("objects", () => objectCases(testCase));
    describe("index", () => indexCases(testCase));
    describe("search", () => searchCases(testCase));
  });
}
