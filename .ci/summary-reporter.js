/** Leaves the counts of a vitest run where .ci/run finds them; vitest's own closing line is not one that CI reads. */
import { writeFileSync } from "node:fs";

export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state in counts) counts[state]++;
      }
      if (module.state() === "failed" && [...module.children.allTests()].length === 0) counts.failed++;
    }
    if (process.env.SLUICE_TEST_SUMMARY) writeFileSync(process.env.SLUICE_TEST_SUMMARY, JSON.stringify(counts));
  }
}
