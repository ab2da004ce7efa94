/**
 * What was counted, a row for each type and step.
 */
import { foldRollups, keptStepFor, keptSteps, mergeCounts, noCounts, stepOf } from "../../rollup.js";
import type { NewRollup, Rollup } from "../../rollup.js";
import type { RollupQuery } from "../../store.js";

export class MemoryRollups {
  readonly #rows = new Map<string, Rollup>();

  add(counted: readonly NewRollup[], now: number): void {
    for (const { stepMs } of keptSteps) {
      const at = stepOf(now, stepMs);
      for (const { type, ...counts } of counted) {
        const key = `${stepMs} ${at} ${type}`;
        this.#rows.set(key, { ...mergeCounts(this.#rows.get(key) ?? noCounts, counts), type, at, stepMs });
      }
    }
  }

  read({ types, from, to, stepMs }: RollupQuery): readonly Rollup[] {
    const kept = keptStepFor(stepMs);
    const rows = [...this.#rows.values()].filter(
      (row) =>
        row.stepMs === kept && row.at >= from && row.at < to && (types === undefined || types.includes(row.type)),
    );
    return structuredClone(foldRollups(rows, stepMs));
  }

  prune(now: number): void {
    for (const [key, row] of this.#rows) {
      const { keptMs } = keptSteps.find(({ stepMs }) => stepMs === row.stepMs)!;
      if (row.at < now - keptMs) this.#rows.delete(key);
    }
  }
}
