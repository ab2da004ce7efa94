/**
 * The plot of the fairness experiment: which part of the small group had begun after how long, with a group and without. Written by
 * hand, so that it needs no library; colours of Okabe and Ito, and a dash, so that it can be read without seeing colours.
 */

/** One job of the small group: how long it waited, and how many of the large group began meanwhile. */
export interface Wait {
  readonly ms: number;
  readonly largeBefore: number;
}

export interface Experiment {
  readonly with: readonly Wait[];
  readonly without: readonly Wait[];
  readonly large: number;
  readonly small: number;
}

const width = 760;
const height = 420;
const left = 70;
const right = width - 30;
const top = 70;
const bottom = height - 70;

export function plotOf(experiment: Experiment): string {
  const { large, small } = experiment;
  const all = [...experiment.with, ...experiment.without].map(({ ms }) => Math.max(1, ms));
  const from = Math.floor(Math.log10(Math.min(...all)));
  const to = Math.ceil(Math.log10(Math.max(...all)));
  const x = (ms: number) => left + ((Math.log10(Math.max(1, ms)) - from) / (to - from)) * (right - left);
  const y = (begun: number) => bottom - (begun / small) * (bottom - top);
  const decades = Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index));
  const parts = Array.from({ length: 6 }, (_, index) => (small / 5) * index);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" font-family="sans-serif" font-size="13" fill="#222">
<title>Wait of ${count(small)} jobs that come after ${count(large)} of another group, with and without a group</title>
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="${left}" y="26" font-size="16">${count(small)} jobs of a small group come while ${count(large)} of a large one wait</text>
${legend(experiment)}
${decades.map((ms) => `<path d="M${x(ms).toFixed(1)} ${top}V${bottom}" stroke="#ddd"/><text x="${x(ms).toFixed(1)}" y="${bottom + 20}" text-anchor="middle">${duration(ms)}</text>`).join("\n")}
${parts.map((begun) => `<path d="M${left} ${y(begun)}H${right}" stroke="#ddd"/><text x="${left - 8}" y="${y(begun) + 4}" text-anchor="end">${begun}</text>`).join("\n")}
<path d="M${left} ${top}V${bottom}H${right}" fill="none" stroke="#222"/>
<text x="${(left + right) / 2}" y="${bottom + 46}" text-anchor="middle">wait since they were enqueued (logarithmic)</text>
<text transform="translate(22 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">jobs of the small group begun</text>
<path d="${steps(experiment.without, x, y)}" fill="none" stroke="${colours.without}" stroke-width="2.5" stroke-dasharray="7 4"/>
<path d="${steps(experiment.with, x, y)}" fill="none" stroke="${colours.with}" stroke-width="2.5"/>
</svg>
`;
}

const colours = { with: "#0072B2", without: "#D55E00" };

function legend(experiment: Experiment): string {
  return (["with", "without"] as const)
    .map((name, index) => {
      const before = count(experiment[name].at(-1)!.largeBefore);
      const at = left + index * 320;
      const dash = name === "without" ? ' stroke-dasharray="7 4"' : "";
      return `<path d="M${at} 48h32" stroke="${colours[name]}" stroke-width="2.5"${dash}/><text x="${at + 40}" y="52">${name} a group: the last after ${before} large ones</text>`;
    })
    .join("\n");
}

function steps(waits: readonly Wait[], x: (ms: number) => number, y: (begun: number) => number): string {
  const sorted = waits.map(({ ms }) => ms).sort((a, b) => a - b);
  return `M${x(sorted[0]!).toFixed(1)} ${y(0)}${sorted.map((ms, index) => `H${x(ms).toFixed(1)}V${y(index + 1).toFixed(1)}`).join("")}`;
}

function duration(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`;
}

function count(value: number): string {
  return value.toLocaleString("en");
}
